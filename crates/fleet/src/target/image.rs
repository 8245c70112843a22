//! Taking in an image's objects.
//!
//! They go into a repository of their own, from which the host's staging pulls
//! them: it verifies each, so that nothing here has to be believed.

use std::path::Path;
use std::sync::Arc;

use durable::{Fs, NewFile};
use ostree::{ObjectKind, ObjectName, Repo, RepoMode};

use super::{Answers, Input};
use crate::source::objects::{Header, checksum};
use crate::wire::Frame;

/// More files than any system has.
const MOST_NAMES: usize = 32 * 5_000_000;

/// Answers with one byte for each digest: 1 where the host's repository lacks
/// that file.
pub(super) fn lacks(
    fs: &Arc<dyn Fs>,
    sysroot: &Path,
    input: &Input,
    answers: &Answers,
) -> Result<(), String> {
    let names = input.all(MOST_NAMES).map_err(|e| e.to_string())?;
    let repo = sysroot.join("ostree/repo");
    let repo = Repo::open(fs.clone(), &repo).map_err(|e| crate::chain(&e))?;
    let mut lacking = Vec::with_capacity(names.len() / 32);
    for name in names.chunks_exact(32) {
        let name: [u8; 32] = name.try_into().unwrap_or_default();
        let object = ObjectName::new(checksum(name), ObjectKind::File);
        let has = repo.has(&object).map_err(|e| crate::chain(&e))?;
        lacking.push(u8::from(!has));
    }
    for piece in lacking.chunks(1 << 16) {
        let sent = answers.send(&Frame::Output(piece.to_vec()));
        sent.map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// Takes objects into a new repository; one that an earlier attempt left is
/// removed first.
pub(super) fn take(fs: &Arc<dyn Fs>, repository: &Path, input: &Input) -> Result<(), String> {
    let taken = take_all(fs, repository, input);
    if taken.is_err() {
        input.drain();
    }
    taken
}

fn take_all(fs: &Arc<dyn Fs>, repository: &Path, input: &Input) -> Result<(), String> {
    let of = |e: &dyn std::error::Error| crate::chain(e);
    durable::remove_tree(&**fs, repository).map_err(|e| of(&e))?;
    if let Some(parent) = repository.parent() {
        durable::create_dir_all(&**fs, parent, 0o700).map_err(|e| of(&e))?;
    }
    let repo = Repo::create(fs.clone(), repository, RepoMode::Archive).map_err(|e| of(&e))?;
    let mut taking = Taking {
        fs: &**fs,
        repo: &repo,
        header: Vec::new(),
        open: None,
    };
    while let Some(piece) = input.piece().map_err(|e| e.to_string())? {
        taking.take(&piece)?;
    }
    if taking.open.is_none() && taking.header.is_empty() {
        Ok(())
    } else {
        Err("the last object broke off".to_owned())
    }
}

/// Objects as they arrive, in pieces of any size.
struct Taking<'a> {
    fs: &'a dyn Fs,
    repo: &'a Repo,
    header: Vec<u8>,
    /// The file that is being written, and how much of it is still to come.
    open: Option<(Box<dyn NewFile>, u64)>,
}

impl Taking<'_> {
    fn take(&mut self, piece: &[u8]) -> Result<(), String> {
        let mut rest = piece;
        while !rest.is_empty() {
            rest = if self.open.is_some() {
                self.content(rest)?
            } else {
                self.head(rest)?
            };
        }
        Ok(())
    }

    /// Takes a part of a header; begins the object once it is whole.
    fn head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], String> {
        let wanted = Header::LEN - self.header.len();
        let (own, rest) = bytes.split_at(wanted.min(bytes.len()));
        self.header.extend_from_slice(own);
        if self.header.len() == Header::LEN {
            let header = Header::decode(&self.header)?;
            self.header.clear();
            self.begin(&header)?;
        }
        Ok(rest)
    }

    fn begin(&mut self, header: &Header) -> Result<(), String> {
        let path = self.repo.object_path(&header.object);
        let made = (|| {
            if let Some(dir) = path.parent()
                && self.fs.metadata(dir).is_err()
            {
                self.fs.create_dir(dir, 0o755)?;
            }
            self.fs.create(&path, 0o644)
        })();
        let file = made.map_err(|e| format!("cannot create {}: {e}", path.display()))?;
        self.open = (header.len > 0).then_some((file, header.len));
        Ok(())
    }

    /// Unsynced: after a crash all of it is fetched again.
    fn content<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], String> {
        let Some((file, left)) = &mut self.open else {
            return Ok(bytes);
        };
        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        let (own, rest) = bytes.split_at(most.min(bytes.len()));
        file.write_all(own)
            .map_err(|e| format!("cannot write an object: {e}"))?;
        *left -= own.len() as u64;
        if *left == 0 {
            self.open = None;
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;

    #[test]
    fn objects_arrive_in_pieces_of_any_size() {
        let object = |n: u8, kind| ObjectName::new(checksum([n; 32]), kind);
        let all = [
            (object(1, ObjectKind::Commit), b"commit".to_vec()),
            (object(2, ObjectKind::File), vec![7; 1000]),
            (object(3, ObjectKind::File), Vec::new()),
            (object(1, ObjectKind::DirTree), b"tree".to_vec()),
        ];
        let mut stream = Vec::new();
        for (object, content) in &all {
            let len = content.len() as u64;
            stream.extend(
                Header {
                    object: *object,
                    len,
                }
                .encode(),
            );
            stream.extend(content);
        }
        for size in [1, 7, 40, 41, 5000] {
            let dir = tempfile::tempdir().unwrap();
            let fs: Arc<dyn Fs> = Arc::new(RealFs);
            let repo = Repo::create(fs, &dir.path().join("r"), RepoMode::Archive).unwrap();
            let mut taking = Taking {
                fs: &RealFs,
                repo: &repo,
                header: Vec::new(),
                open: None,
            };
            for piece in stream.chunks(size) {
                taking.take(piece).unwrap();
            }
            assert!(taking.open.is_none() && taking.header.is_empty());
            for (object, content) in &all {
                assert_eq!(&std::fs::read(repo.object_path(object)).unwrap(), content);
            }
        }
    }
}
