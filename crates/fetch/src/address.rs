//! Where a remote is.

use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::{Error, Result};

/// The longest list of mirrors that is read, in bytes.
pub(crate) const MAX_MIRROR_LIST: u64 = 1 << 20;
/// The most mirrors that are used.
const MAX_MIRRORS: usize = 32;

/// What an address says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    /// A repository on this machine.
    File(PathBuf),
    /// One behind HTTP.
    Http(Base),
    /// A file there with a list of addresses.
    MirrorList(Url),
    /// A file there with digests of the summary, and where that is.
    Metalink(Url),
}

/// The address of a repository, to which paths are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base(Url);

impl Base {
    /// The address of one file.
    pub(crate) fn exactly(url: Url) -> Self {
        Self(url)
    }

    /// The address of the repository that a file at its top is of.
    pub(crate) fn of_file(url: &Url) -> Self {
        let mut url = url.clone();
        let dir = url.path().rsplit_once('/').map_or("", |(dir, _)| dir);
        let dir = dir.to_owned();
        url.set_path(&dir);
        Self(url)
    }

    /// The address of a file of the repository; of the address itself, for an empty
    /// path.
    pub(crate) fn join(&self, path: &str) -> Url {
        let mut url = self.0.clone();
        if path.is_empty() {
            return url;
        }
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    /// The address of several objects at once, by their paths; `None` where the address
    /// has a query of its own.
    pub(crate) fn many(&self, paths: &[String]) -> Option<Url> {
        let mut url = self.join("objects");
        if url.query().is_some() {
            return None;
        }
        let names = paths.iter().map(|path| path.strip_prefix("objects/"));
        let names: Option<Vec<&str>> = names.collect();
        url.set_query(Some(&format!("of={}", names?.join(","))));
        Some(url)
    }
}

impl Address {
    /// Reads an address.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let bad = |why| Error::Address {
            url: text.to_owned(),
            why,
        };
        if let Some(list) = text.strip_prefix("mirrorlist=") {
            return match Self::parse(list)? {
                Self::Http(Base(url)) => Ok(Self::MirrorList(url)),
                _ => Err(bad("a list of mirrors is fetched over HTTP")),
            };
        }
        if let Some(metalink) = text.strip_prefix("metalink=") {
            return match Self::parse(metalink)? {
                Self::Http(Base(url)) => Ok(Self::Metalink(url)),
                _ => Err(bad("a metalink is fetched over HTTP")),
            };
        }
        let url = Url::parse(text).map_err(|_| bad("it is no URL"))?;
        match url.scheme() {
            "http" | "https" if url.has_host() => Ok(Self::Http(Base(url))),
            "file" => {
                let path = url.to_file_path();
                path.map(Self::File)
                    .map_err(|()| bad("it is no path of this machine"))
            }
            _ => Err(bad("it is neither http, https nor file")),
        }
    }

    /// Whether a connection there is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Http(Base(url)) | Self::MirrorList(url) | Self::Metalink(url) => {
                url.scheme() == "https"
            }
        }
    }
}

/// The address of a directory of this machine.
///
/// # Errors
/// A path that does not begin at the root.
pub fn file_url(path: &Path) -> Result<String> {
    let url = Url::from_file_path(path).map_err(|()| Error::Address {
        url: path.display().to_string(),
        why: "it is no absolute path",
    })?;
    Ok(url.into())
}

/// The addresses in a list of mirrors: one a line, those that cannot be used left out.
pub(crate) fn mirrors(list: &str, from: &Url) -> Result<Vec<Base>> {
    let lines = list.lines().map(str::trim);
    let wanted = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let bases = wanted.filter_map(|line| match Address::parse(line) {
        Ok(Address::Http(base)) => Some(base),
        _ => None,
    });
    let found: Vec<_> = bases.take(MAX_MIRRORS).collect();
    match found.is_empty() {
        true => Err(Error::Address {
            url: from.to_string(),
            why: "the list of mirrors there names none that can be used",
        }),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str) -> Base {
        match Address::parse(text).unwrap() {
            Address::Http(base) => base,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn addresses() {
        for url in ["http://h/r", "http://h/r/"] {
            assert_eq!(base(url).join("objects/a").as_str(), "http://h/r/objects/a");
        }
        let with_user = base("https://u:p@h:1/r?x=1").join("summary");
        assert_eq!(with_user.as_str(), "https://u:p@h:1/r/summary?x=1");
        let file = Address::parse("file:///srv/re%20po").unwrap();
        assert_eq!(file, Address::File("/srv/re po".into()));
        assert!(
            Address::parse("mirrorlist=https://h/l")
                .unwrap()
                .is_encrypted()
        );
        for (file, of) in [
            ("http://h/r/summary", "http://h/r/x"),
            ("http://h/s?q=1", "http://h/x?q=1"),
        ] {
            let base = Base::of_file(&Url::parse(file).unwrap());
            assert_eq!(base.join("x").as_str(), of);
        }
        let bad = [
            "",
            "h/r",
            "ftp://h/r",
            "http://",
            "mirrorlist=file:///x",
            "metalink=mirrorlist=http://h/",
        ];
        for bad in bad {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn mirror_lists() {
        let from = Url::parse("http://h/list").unwrap();
        let list = "# mirrors\nhttp://a/r\n\nftp://b/\n  https://c/r/ \nnonsense\n";
        let found = mirrors(list, &from).unwrap();
        assert_eq!(found, [base("http://a/r"), base("https://c/r/")]);
        assert!(mirrors("# none\n", &from).is_err());
        let many = "http://a/\n".repeat(1000);
        assert_eq!(mirrors(&many, &from).unwrap().len(), MAX_MIRRORS);
    }
}
