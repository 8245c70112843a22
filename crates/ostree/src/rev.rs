//! Revisions: what a person may call a commit.

use std::io;

use durable::Doing;

use crate::{Checksum, Error, ObjectKind, Repo, Result};

impl Repo {
    /// The commit that a revision means: a ref (`NAME`, `REMOTE:NAME`), a checksum
    /// or the unique beginning of one; a ref that only a remote has may be called by
    /// its name alone, or as `REMOTE/NAME`. Each `^` at its end goes to the parent.
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
            Ok(None) => {
                if let Some(checksum) = self.remote_ref(rev)? {
                    return Ok(checksum);
                }
            }
            Err(Error::RefName(_)) => return Err(Error::NoSuchRev(rev.to_owned())),
            Err(other) => return Err(other),
        }
        let found = self.commits_starting(rev)?;
        match (found.as_slice(), self.parent()) {
            ([], Some(parent)) => parent.resolve(rev),
            ([], None) => Err(Error::NoSuchRev(rev.to_owned())),
            ([one], _) => Ok(*one),
            _ => Err(Error::Ambiguous {
                rev: rev.to_owned(),
                found,
            }),
        }
    }

    /// What `REMOTE/NAME` stands for: `REMOTE:NAME`, where there is such a ref.
    fn remote_ref(&self, rev: &str) -> Result<Option<Checksum>> {
        match rev.split_once('/') {
            Some((remote, name)) if !rev.contains(':') => {
                match self.read_ref(&format!("{remote}:{name}"))? {
                    Some(found) => Ok(Some(found)),
                    None => self.ref_of_any_remote(rev),
                }
            }
            None if !rev.contains(':') => self.ref_of_any_remote(rev),
            _ => Ok(None),
        }
    }

    /// What a ref is that only remotes have; the first of them, by name, counts.
    fn ref_of_any_remote(&self, rev: &str) -> Result<Option<Checksum>> {
        let has_it = |name: &String| name.split_once(':').is_some_and(|(_, n)| n == rev);
        match self.ref_names()?.into_iter().find(has_it) {
            Some(name) => self.read_ref(&name),
            None => Ok(None),
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
