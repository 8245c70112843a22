//! What a bundle says of itself.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The kind of version in a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Nix closure: what `nix-store --export` writes.
    Nix,
    /// An OSTree commit: its objects as an archive repository has them.
    Image,
}

/// How the content is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As it is.
    Plain,
    /// As one zlib stream.
    Zlib,
}

/// What a bundle says of itself: JSON, in the order of these fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    /// What it holds.
    pub kind: Kind,
    /// The version: a toplevel's store path, or a commit's digest.
    pub version: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// How the content is written.
    pub encoding: Encoding,
    /// The content's length when decoded, in bytes.
    pub unpacked: u64,
}

/// A version's name is no longer.
const LONGEST_NAME: usize = 512;

impl Description {
    /// Whether the version's name is one, for its kind.
    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |why: &str| Err(Error::Description(format!("{why}: `{}`", self.version)));
        if self.version.len() > LONGEST_NAME || self.label.len() > LONGEST_NAME {
            return wrong("a name is too long");
        }
        if self.label.chars().any(char::is_control) {
            return wrong("a label holds control characters");
        }
        match self.kind {
            Kind::Nix if is_store_path(&self.version) => Ok(()),
            Kind::Nix => wrong("no path in a Nix store"),
            Kind::Image if self.version.parse::<ostree::Checksum>().is_ok() => Ok(()),
            Kind::Image => wrong("no digest of a commit"),
        }
    }
}

/// `/nix/store/HASH-NAME`, with nothing after it. Stores elsewhere have their own
/// prefix before `/nix`.
fn is_store_path(path: &str) -> bool {
    let Some((_, name)) = path.rsplit_once("/nix/store/") else {
        return false;
    };
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"+-._?=".contains(&b);
    path.starts_with('/')
        && !path.split('/').any(|part| part == "..")
        && name.len() > 33
        && name.as_bytes()[32] == b'-'
        && name.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_names_of_their_kind() {
        let hash = "a".repeat(32);
        let digest = "0".repeat(64);
        let table: &[(Kind, &str, bool)] = &[
            (
                Kind::Nix,
                &format!("/nix/store/{hash}-nixos-system-x"),
                true,
            ),
            (Kind::Nix, &format!("/tmp/x/nix/store/{hash}-y"), true),
            (Kind::Nix, &format!("/nix/store/{hash}-x/bin"), false),
            (Kind::Nix, &format!("/nix/store/../{hash}-x"), false),
            (Kind::Nix, &format!("/../nix/store/{hash}-x"), false),
            (Kind::Nix, &format!("/nix/store/{hash}-x; reboot"), false),
            (Kind::Nix, &format!("nix/store/{hash}-x"), false),
            (Kind::Nix, "/nix/store/short-x", false),
            (Kind::Nix, &digest, false),
            (Kind::Image, &digest, true),
            (Kind::Image, "main", false),
        ];
        for (kind, version, good) in table {
            let description = Description {
                kind: *kind,
                version: (*version).to_owned(),
                label: String::new(),
                encoding: Encoding::Plain,
                unpacked: 0,
            };
            assert_eq!(description.check().is_ok(), *good, "{version}");
        }
    }
}
