//! Single objects and files, looked at from outside.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use durable::{Doing, FileKind, Fs};

use crate::format::{FileHeader, Xattrs};
use crate::gvariant::{Type, Value};
use crate::listing::Found;
use crate::store::{digest_long, digest_of};
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// As many symlinks are followed on the way to a file.
const MAX_LINKS: usize = 40;

impl Repo {
    /// Writes the content of a commit's file to `sink`, verified; symlinks are
    /// followed within the commit. The inner error is the sink's.
    ///
    /// # Errors
    /// Missing or damaged objects; a path that is not there, or a directory.
    pub fn copy_file(
        &self,
        commit: &Checksum,
        path: &Path,
        sink: &mut dyn Write,
    ) -> Result<io::Result<()>> {
        let mut path = Path::new("/").join(path);
        for _ in 0..MAX_LINKS {
            let checksum = match self.find(commit, &path)? {
                Found::File(checksum) => checksum,
                Found::Dir { .. } => {
                    let wanted = "a file";
                    return Err(Error::WrongKind { path, wanted });
                }
            };
            let file = self.open_file(&checksum)?;
            if !file.header.is_symlink() {
                return file.copy_verified(checksum, &mut Vec::new(), sink);
            }
            let dir = path.parent().unwrap_or(Path::new("/"));
            path = plain(&dir.join(&file.header.target));
        }
        Err(Error::NoSuchPath { path })
    }

    /// A metadata object as a value, verified.
    ///
    /// # Errors
    /// That it is missing or damaged, or a file.
    pub fn object_value(&self, object: &ObjectName) -> Result<Value> {
        let of: &[u8] = match object.kind {
            ObjectKind::Commit => b"(a{sv}aya(say)sstayay)",
            ObjectKind::DirTree => b"(a(say)a(sayay))",
            ObjectKind::DirMeta => b"(uuua(ayay))",
            ObjectKind::File => return Err(Error::Missing(*object)),
        };
        let damaged = |source| Error::Damaged {
            object: *object,
            source,
        };
        let data = self.load(*object)?;
        let of = Type::parse(of).map_err(damaged)?;
        Value::decode_typed(&data, &of).map_err(damaged)
    }

    /// The bytes of a metadata object, verified.
    ///
    /// # Errors
    /// That it is missing or damaged.
    pub fn object_bytes(&self, object: &ObjectName) -> Result<Vec<u8>> {
        self.load(*object)
    }

    /// All objects that a commit is made of, and the commit.
    ///
    /// # Errors
    /// Missing or damaged objects.
    pub fn reachable(&self, commit: &Checksum) -> Result<HashSet<ObjectName>> {
        self.reachable_from(commit)
    }
}

/// A path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => drop(plain.pop()),
            _ => {}
        }
    }
    plain
}

/// The checksum that a file would have as an object.
///
/// # Errors
/// The disk's; something that is neither a file nor a symlink.
pub fn checksum_of(fs: &dyn Fs, path: &Path, ignore_xattrs: bool) -> Result<Checksum> {
    let stat = fs.metadata(path).doing("look at", path)?;
    let xattrs = match ignore_xattrs {
        true => Vec::new(),
        false => fs.xattrs(path).doing("read the attributes of", path)?,
    };
    let mut header = FileHeader {
        uid: stat.uid,
        gid: stat.gid,
        mode: stat.mode,
        target: String::new(),
        xattrs: Xattrs::new(xattrs),
    };
    match stat.kind {
        FileKind::Symlink => {
            let target = fs.read_link(path).doing("read the symlink", path)?;
            header.target = target.to_string_lossy().into_owned();
            Ok(digest_of(&header).finish())
        }
        FileKind::File => {
            let mut reader = fs.open(path).doing("open", path)?;
            Ok(digest_long(
                &header,
                &mut *reader,
                &mut Vec::new(),
                path,
                &mut io::sink(),
            )?
            .0)
        }
        FileKind::Dir | FileKind::Other => Err(Error::Uncommittable {
            path: path.to_owned(),
            why: "it is neither a regular file nor a symlink",
        }),
    }
}
