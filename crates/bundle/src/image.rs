//! An image version as content: the objects of its commit, as an archive
//! repository has them.
//!
//! Each object is one byte for its kind (`f`, `t`, `m` or `c`), 32 of its digest,
//! 8 of its length (big-endian), and its content.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Doing, FileKind, Fs};
use monitor::Monitor;
use ostree::{Checksum, ObjectKind, ObjectName, PullFiles, PullOptions, Repo, RepoMode};

use crate::{Bundle, Description, Encoding, Error, Kind, Result};

/// What stands before an object.
const HEADER: usize = 41;
/// So much is copied at a time.
const STEP: usize = 1 << 16;
/// The kinds and their letters.
const KINDS: [(ObjectKind, u8); 4] = [
    (ObjectKind::File, b'f'),
    (ObjectKind::DirTree, b't'),
    (ObjectKind::DirMeta, b'm'),
    (ObjectKind::Commit, b'c'),
];
/// The ref that keeps an unpacked version until another one is unpacked.
const KEPT_BY: &str = "backstop/bundle";

/// A commit on its way into a bundle. Its scratch repository goes with it.
#[derive(Debug)]
pub struct Export {
    fs: Arc<dyn Fs>,
    scratch: PathBuf,
    objects: std::vec::IntoIter<(ObjectName, PathBuf)>,
    header: io::Cursor<Vec<u8>>,
    content: Option<io::Take<Reader>>,
}

/// An object's file.
struct Reader(Box<dyn durable::ReadSeek>);

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Reader")
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// What a bundle of this commit says of itself. Its objects are compressed
/// already.
#[must_use]
pub fn describe(commit: &Checksum, label: &str) -> Description {
    Description {
        kind: Kind::Image,
        version: commit.to_string(),
        label: label.to_owned(),
        encoding: Encoding::Plain,
        unpacked: 0,
    }
}

impl Export {
    /// Gathers a commit's objects in a new repository at `scratch`.
    ///
    /// # Errors
    /// Missing or damaged objects; the disk's.
    pub fn start(
        from: &Repo,
        commit: &Checksum,
        fs: Arc<dyn Fs>,
        scratch: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        durable::remove_tree(&*fs, scratch)?;
        let repo = Repo::create(Arc::clone(&fs), scratch, RepoMode::Archive)?;
        // Dropped on any error, and the scratch repository with it.
        let mut export = Self {
            fs,
            scratch: scratch.to_owned(),
            objects: Vec::new().into_iter(),
            header: io::Cursor::default(),
            content: None,
        };
        repo.pull_local(from, &[commit.to_string()], &only_this(), monitor)?;
        export.objects = objects(&*export.fs, &scratch.join("objects"))?.into_iter();
        Ok(export)
    }

    /// Goes on to the next object; answers whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let Some((object, path)) = self.objects.next() else {
            return Ok(false);
        };
        let len = self.fs.metadata(&path)?.size;
        let mut header = Vec::with_capacity(HEADER);
        let letter = KINDS.iter().find(|(kind, _)| *kind == object.kind);
        header.push(letter.map_or(b'?', |(_, letter)| *letter));
        header.extend(object.checksum.as_bytes());
        header.extend(len.to_be_bytes());
        self.header = io::Cursor::new(header);
        self.content = Some(Reader(self.fs.open(&path)?).take(len));
        Ok(true)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // What is left is removed by the next export to the same place.
        let _ = durable::remove_tree(&*self.fs, &self.scratch);
    }
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.header.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            if let Some(content) = &mut self.content {
                let n = content.read(buffer)?;
                if n > 0 {
                    return Ok(n);
                }
                if content.limit() > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

fn only_this() -> PullOptions {
    PullOptions {
        depth: Some(0),
        files: PullFiles::Copies,
        ..PullOptions::default()
    }
}

/// The objects of an archive repository, with their files.
fn objects(fs: &dyn Fs, dir: &Path) -> Result<Vec<(ObjectName, PathBuf)>> {
    let mut found = Vec::new();
    for outer in fs.read_dir(dir).doing("list", dir)? {
        let below = dir.join(&outer.name);
        if outer.kind != FileKind::Dir {
            continue;
        }
        for inner in fs.read_dir(&below).doing("list", &below)? {
            if let Some(object) = name(&outer.name.to_string_lossy(), &inner.name.to_string_lossy())
            {
                found.push((object, below.join(&inner.name)));
            }
        }
    }
    Ok(found)
}

fn name(outer: &str, inner: &str) -> Option<ObjectName> {
    let (rest, extension) = inner.split_once('.')?;
    let (kind, _) = KINDS
        .iter()
        .find(|(kind, _)| kind.extension(RepoMode::Archive) == extension)?;
    let checksum = format!("{outer}{rest}").parse().ok()?;
    Some(ObjectName::new(checksum, *kind))
}

/// Puts a bundle's commit into a repository, by way of a new one at `scratch`
/// from which every object is verified.
///
/// # Errors
/// Damage, or the disk's; the repository is as before then.
pub fn unpack(
    bundle: &mut Bundle,
    into: &Repo,
    fs: &Arc<dyn Fs>,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Checksum> {
    bundle.verify()?;
    let unpacked = unpack_by(bundle, into, fs, scratch, monitor);
    // What is left is removed before the next one.
    let _ = durable::remove_tree(&**fs, scratch);
    unpacked
}

fn unpack_by(
    bundle: &mut Bundle,
    into: &Repo,
    fs: &Arc<dyn Fs>,
    scratch: &Path,
    monitor: &dyn Monitor,
) -> Result<Checksum> {
    let version = bundle.description().version.clone();
    let commit: Checksum = version
        .parse()
        .map_err(|_| Error::Description(version.clone()))?;
    durable::remove_tree(&**fs, scratch)?;
    let repo = Repo::create(Arc::clone(fs), scratch, RepoMode::Archive)?;
    take_objects(&**fs, &repo, &mut bundle.content()?)?;
    into.pull_local(&repo, &[version], &only_this(), monitor)?;
    into.set_ref(KEPT_BY, Some(&commit))?;
    Ok(commit)
}

/// Takes objects into a scratch repository, unsynced and unverified.
fn take_objects(fs: &dyn Fs, repo: &Repo, content: &mut dyn Read) -> Result<()> {
    let mut buffer = vec![0; STEP];
    while let Some((object, len)) = header(content).map_err(Error::Unpack)? {
        let path = repo.object_path(&object);
        if let Some(dir) = path.parent()
            && fs.metadata(dir).is_err()
        {
            fs.create_dir(dir, 0o755).doing("create", dir)?;
        }
        let mut file = fs.create(&path, 0o644).doing("create", &path)?;
        let mut left = content.take(len);
        loop {
            let n = left.read(&mut buffer).map_err(Error::Unpack)?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).doing("write", &path)?;
        }
        if left.limit() > 0 {
            return Err(Error::Unpack(io::ErrorKind::UnexpectedEof.into()));
        }
    }
    Ok(())
}

/// The next object's name and length; `None` at the end.
fn header(content: &mut dyn Read) -> io::Result<Option<(ObjectName, u64)>> {
    let mut bytes = Vec::with_capacity(HEADER);
    content.take(HEADER as u64).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let damaged = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let bytes: [u8; HEADER] = bytes
        .try_into()
        .map_err(|_| damaged("an object's header breaks off"))?;
    let (kind, _) = KINDS
        .iter()
        .find(|(_, letter)| *letter == bytes[0])
        .ok_or_else(|| damaged("an object of an unknown kind"))?;
    let (mut digest, mut len) = ([0; 32], [0; 8]);
    digest.copy_from_slice(&bytes[1..33]);
    len.copy_from_slice(&bytes[33..]);
    let object = ObjectName::new(Checksum::from_bytes(digest), *kind);
    Ok(Some((object, u64::from_be_bytes(len))))
}
