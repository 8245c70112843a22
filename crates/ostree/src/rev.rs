//! Revisions: what a person may call a commit.

use std::io;

use durable::Doing;

use crate::{Checksum, Error, ObjectKind, Repo, Result};

impl Repo {
    /// The commit that a revision means: a ref (`NAME`, `REMOTE:NAME`), a checksum
    /// or the unique beginning of one; each `^` at its end goes to the parent.
    ///
    /// # Errors
    /// That it means nothing, or several commits.
    pub fn resolve(&self, rev: &str) -> Result<Checksum> {
        if let Some(child) = rev.strip_suffix('^') {
            let child = self.resolve(child)?;
            let parent = self.load_commit(&child)?.parent;
            return parent.ok_or(Error::NoParent(child));
        }
        if let Ok(checksum) = rev.parse() {
            return Ok(checksum);
        }
        match self.read_ref(rev) {
            Ok(Some(checksum)) => return Ok(checksum),
            // What can be no ref's name can be no checksum either.
            Ok(None) => {}
            Err(Error::RefName(_)) => return Err(Error::NoSuchRev(rev.to_owned())),
            Err(other) => return Err(other),
        }
        let found = self.commits_starting(rev)?;
        match found.as_slice() {
            [] => Err(Error::NoSuchRev(rev.to_owned())),
            [one] => Ok(*one),
            _ => Err(Error::Ambiguous {
                rev: rev.to_owned(),
                found,
            }),
        }
    }

    /// The commits whose checksum starts with these digits (two at least).
    fn commits_starting(&self, prefix: &str) -> Result<Vec<Checksum>> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if prefix.len() < 2 || !prefix.bytes().all(hex) {
            return Ok(Vec::new());
        }
        let (first, rest) = prefix.split_at(2);
        let dir = self.path().join("objects").join(first);
        let entries = match self.fs().read_dir(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.doing("list", &dir)?,
        };
        let extension = format!(".{}", ObjectKind::Commit);
        Ok(entries
            .iter()
            .filter_map(|e| e.name.to_str()?.strip_suffix(&extension))
            .filter(|name| name.starts_with(rest))
            .filter_map(|name| format!("{first}{name}").parse().ok())
            .collect())
    }
}
