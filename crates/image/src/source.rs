//! Where versions come from: a repository, and a ref in it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use durable::Fs;
use engine::VersionId;
use ostree::{Checksum, Repo};

use crate::kargs::commit_of;
use crate::{Error, Result};

/// A repository on this machine, or a remote of the host's own, and a revision in it;
/// written `REPOSITORY:REF` or `REMOTE:REF`. See [`crate::ImageHost::resolve`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The repository's directory, or the remote's name.
    pub repo: PathBuf,
    /// A ref, a commit, or the beginning of one.
    pub rev: String,
}

impl Source {
    /// Opens the repository.
    ///
    /// # Errors
    /// It isn't one, or can't be read.
    pub fn open(&self, fs: Arc<dyn Fs>) -> Result<Repo> {
        Repo::open(fs, &self.repo).map_err(|e| self.failed(e))
    }

    /// The version that the revision names now.
    ///
    /// # Errors
    /// The repository can't be read or lacks the revision.
    pub fn resolve(&self, fs: Arc<dyn Fs>) -> Result<VersionId> {
        let commit = self.open(fs)?.resolve(&self.rev);
        Ok(version(&commit.map_err(|e| self.failed(e))?))
    }

    fn failed(&self, source: ostree::Error) -> Error {
        Error::Source {
            path: self.repo.clone(),
            source,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repo.display(), self.rev)
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.rsplit_once(':') {
            Some((repo, rev)) if !repo.is_empty() && !rev.is_empty() => Ok(Self {
                repo: Path::new(repo).to_owned(),
                rev: rev.to_owned(),
            }),
            _ => Err(Error::BadSource(text.to_owned())),
        }
    }
}

/// The version that a commit is.
#[must_use]
pub fn version(commit: &Checksum) -> VersionId {
    VersionId::new(commit.to_string())
}

/// The commit that a version is.
///
/// # Errors
/// The version isn't one of an image host.
pub fn commit(version: &VersionId) -> Result<Checksum> {
    let parsed = commit_of(version.as_str()).parse();
    parsed.map_err(|_| Error::NotACommit(version.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_back() {
        for (text, repo, rev) in [
            ("/srv/repo:debian/12", "/srv/repo", "debian/12"),
            ("/a:b/repo:x", "/a:b/repo", "x"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!(
                (source.repo.as_path(), source.rev.as_str()),
                (Path::new(repo), rev)
            );
            assert_eq!(source.to_string(), text);
        }
        for bad in ["", "/srv/repo", ":x", "/srv/repo:"] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }
}
