//! Names of deltas, and where they lie.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64_NOPAD;

use super::DeltaError;
use crate::Checksum;

/// From which commit to which; from nothing where there is no first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeltaName {
    /// The commit that must be there.
    pub from: Option<Checksum>,
    /// The commit that it makes.
    pub to: Checksum,
}

/// A checksum as it stands in paths: base64 without padding, `_` for `/`.
fn in_path(checksum: &Checksum) -> String {
    BASE64_NOPAD.encode(checksum.as_bytes()).replace('/', "_")
}

fn from_path(text: &str) -> Option<Checksum> {
    let bytes = BASE64_NOPAD
        .decode(text.replace('_', "/").as_bytes())
        .ok()?;
    bytes.try_into().ok().map(Checksum::from_bytes)
}

impl DeltaName {
    /// A name from its parts.
    #[must_use]
    pub const fn new(from: Option<Checksum>, to: Checksum) -> Self {
        Self { from, to }
    }

    /// The directory in a repository: `deltas/XX/YYY…` or `deltas/XX/YYY…-ZZZ…`.
    #[must_use]
    pub fn relative_dir(&self) -> String {
        let to = in_path(&self.to);
        match self.from {
            None => format!("deltas/{}/{}", &to[..2], &to[2..]),
            Some(from) => {
                let from = in_path(&from);
                format!("deltas/{}/{}-{to}", &from[..2], &from[2..])
            }
        }
    }

    /// The path of the superblock in a repository.
    #[must_use]
    pub fn superblock_path(&self) -> String {
        self.relative_dir() + "/superblock"
    }

    /// The path of a part in a repository.
    #[must_use]
    pub fn part_path(&self, part: usize) -> String {
        format!("{}/{part}", self.relative_dir())
    }

    /// The path in a repository of the list of deltas to the same commit.
    #[must_use]
    pub fn index_path(&self) -> String {
        index_path(&self.to)
    }

    /// The key in a superblock of the commit's detached metadata.
    pub(super) fn detached_key(&self) -> String {
        self.relative_dir() + "/commitmeta"
    }

    /// The name of the delta in the directory `deltas/DIR/NAME`.
    pub(super) fn from_dirs(dir: &str, name: &str) -> Option<Self> {
        let whole = format!("{dir}{name}");
        match whole.split_once('-') {
            None => Some(Self::new(None, from_path(&whole)?)),
            Some((from, to)) => Some(Self::new(Some(from_path(from)?), from_path(to)?)),
        }
    }
}

/// The path in a repository of the list of deltas to a commit.
#[must_use]
pub(super) fn index_path(to: &Checksum) -> String {
    let to = in_path(to);
    format!("delta-indexes/{}/{}.index", &to[..2], &to[2..])
}

/// The commit whose list of deltas is `delta-indexes/DIR/NAME`.
pub(super) fn of_index(dir: &str, name: &str) -> Option<Checksum> {
    from_path(&format!("{dir}{}", name.strip_suffix(".index")?))
}

impl fmt::Display for DeltaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            None => write!(f, "{}", self.to),
            Some(from) => write!(f, "{from}-{}", self.to),
        }
    }
}

impl FromStr for DeltaName {
    type Err = DeltaError;
    fn from_str(text: &str) -> Result<Self, DeltaError> {
        let bad = |_| DeltaError::Name(text.to_owned());
        Ok(match text.split_once('-') {
            None => Self::new(None, text.parse().map_err(bad)?),
            Some((from, to)) => {
                Self::new(Some(from.parse().map_err(bad)?), to.parse().map_err(bad)?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        // The digest whose base64 has both of the letters that are not alphanumeric.
        let a = Checksum::from_bytes([0xff; 32]);
        let b = Checksum::from_bytes([0xfb; 32]);
        let name = DeltaName::new(Some(a), b);
        let dir = name.relative_dir();
        let (from, to) = dir
            .strip_prefix("deltas/")
            .unwrap()
            .split_once('-')
            .unwrap();
        assert_eq!((from.len(), to.len()), (44, 43));
        assert!(!to.contains('/') && from.starts_with("__/"), "{dir}");
        let mut parts = dir.split('/').skip(1);
        let found = DeltaName::from_dirs(parts.next().unwrap(), parts.next().unwrap());
        assert_eq!(found, Some(name));
        assert_eq!(name.to_string().parse::<DeltaName>().unwrap(), name);
        let scratch = DeltaName::new(None, a);
        assert_eq!(scratch.to_string().parse::<DeltaName>().unwrap(), scratch);
        let index = index_path(&a);
        let mut parts = index.split('/').skip(1);
        assert_eq!(
            of_index(parts.next().unwrap(), parts.next().unwrap()),
            Some(a)
        );
        for bad in [
            "",
            "x",
            "a-b",
            &format!("{a}-"),
            &format!("-{a}"),
            &format!("{a}-{a}-{a}"),
        ] {
            assert!(bad.parse::<DeltaName>().is_err(), "{bad}");
        }
        for (dir, name) in [("", ""), ("__", "x"), ("..", "superblock"), ("a", "b-c")] {
            assert_eq!(DeltaName::from_dirs(dir, name), None);
        }
    }
}
