//! From an archive to a tree: tar (GNU, ustar, pax) and cpio (newc), as they are or
//! compressed with gzip. An OCI layer is a tar archive with whiteouts.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use durable::Xattr;
use flate2::bufread::MultiGzDecoder;

use crate::commit_options::CommitOptions;
use crate::cpio::{self, CpioEntry};
use crate::format::{
    DirMeta, FileHeader, TYPE_DIR, TYPE_FILE, TYPE_MASK, TYPE_SYMLINK, Xattrs, check_name,
};
use crate::layers::Layers;
use crate::modify::Modified;
use crate::store::{Content, Staging};
use crate::{Checksum, Error, ObjectKind, Result};

/// An archive to commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    /// Where it is; `-` is standard input.
    pub path: PathBuf,
    /// Directories that no entry describes are made, with mode 0755.
    pub make_parents: bool,
    /// How names are changed.
    pub filter: Option<PathFilter>,
    /// `.wh.NAME` removes what layers below have called `NAME`, `.wh..wh..opq` all
    /// that they have in its directory.
    pub whiteouts: bool,
}

/// A replacement in the names of an archive's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFilter {
    anchored: bool,
    pattern: String,
    replacement: String,
}

impl PathFilter {
    /// Reads `PATTERN,REPLACEMENT`. The pattern is plain text, after a `^` where it
    /// must be the beginning; no other regular expressions are known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pattern, replacement) = text.split_once(',')?;
        let (anchored, pattern) = match pattern.strip_prefix('^') {
            Some(rest) => (true, rest),
            None => (false, pattern),
        };
        if pattern.contains(|c| r"\.+*?()|[]{}^$".contains(c)) || replacement.contains('\\') {
            return None;
        }
        let (pattern, replacement) = (pattern.to_owned(), replacement.to_owned());
        Some(Self {
            anchored,
            pattern,
            replacement,
        })
    }

    fn apply(&self, name: &str) -> String {
        match (self.anchored, name.strip_prefix(&self.pattern)) {
            (true, Some(rest)) => format!("{}{rest}", self.replacement),
            (true, None) => name.to_owned(),
            (false, _) => name.replace(&self.pattern, &self.replacement),
        }
    }
}

/// What one entry is.
enum Kind {
    File(u64),
    Dir,
    Symlink(String),
    /// Another name of an earlier entry.
    Link(PathBuf),
}

/// Owner, mode and attributes of an entry.
struct Attributes {
    uid: u32,
    gid: u32,
    mode: u32,
    xattrs: Vec<Xattr>,
}

/// What taking in an archive needs.
struct Import<'a, 'l> {
    archive: &'a Archive,
    staging: &'a Staging<'a>,
    options: &'a CommitOptions,
    modified: &'a Modified<'a>,
    layers: &'a mut Layers<'l>,
}

/// Takes an archive in and lays it over what is there.
pub(crate) fn import(
    archive: &Archive,
    staging: &Staging<'_>,
    options: &CommitOptions,
    modified: &Modified<'_>,
    layers: &mut Layers<'_>,
) -> Result<()> {
    let broken = |source| Error::Archive {
        path: archive.path.clone(),
        source,
    };
    let file: Box<dyn Read> = match archive.path.as_os_str().as_bytes() {
        b"-" => Box::new(io::stdin()),
        _ => Box::new(staging.repo().fs().open(&archive.path).map_err(broken)?),
    };
    let mut reader = BufReader::with_capacity(64 << 10, file);
    let gzip = reader
        .fill_buf()
        .map_err(broken)?
        .starts_with(&[0x1f, 0x8b]);
    let inner: Box<dyn Read> = match gzip {
        true => Box::new(MultiGzDecoder::new(reader)),
        false => Box::new(reader),
    };
    let mut reader = BufReader::new(inner);
    let is_cpio = reader.fill_buf().map_err(broken)?.starts_with(cpio::MAGIC);
    let mut import = Import {
        archive,
        staging,
        options,
        modified,
        layers,
    };
    match is_cpio {
        true => import.cpio(&mut reader)?,
        false => import.tar(&mut reader)?,
    }
    import.ensure_root()
}

impl Import<'_, '_> {
    fn broken(&self, source: io::Error) -> Error {
        let path = self.archive.path.clone();
        Error::Archive { path, source }
    }

    fn tar(&mut self, reader: &mut dyn Read) -> Result<()> {
        let mut archive = tar::Archive::new(reader);
        archive.set_ignore_zeros(false);
        let entries = archive.entries().map_err(|e| self.broken(e))?;
        for entry in entries {
            let mut entry = entry.map_err(|e| self.broken(e))?;
            let Some(path) = self.path(&entry.path_bytes())? else {
                continue;
            };
            let kind = self.tar_kind(&entry, &path)?;
            let attributes = tar_attributes(&mut entry).map_err(|e| self.broken(e))?;
            self.entry(&path, kind, attributes, &mut entry)?;
        }
        Ok(())
    }

    fn tar_kind<R: Read>(&self, entry: &tar::Entry<'_, R>, path: &Path) -> Result<Kind> {
        use tar::EntryType as T;
        let target = || match entry.link_name_bytes() {
            Some(name) => Ok(name.into_owned()),
            None => Err(wrong(path, "it is a link to nothing")),
        };
        Ok(match entry.header().entry_type() {
            T::Regular | T::Continuous | T::GNUSparse => Kind::File(entry.size()),
            T::Directory => Kind::Dir,
            T::Symlink => Kind::Symlink(text(target()?, path)?),
            T::Link => match self.path(&target()?)? {
                Some(target) => Kind::Link(target),
                None => return Err(wrong(path, "it is a link to the root")),
            },
            _ => {
                return Err(wrong(
                    path,
                    "it is neither a file, a symlink nor a directory",
                ));
            }
        })
    }

    /// Entries of `cpio` are links where they have the same inode; the last of them
    /// has the content.
    fn cpio(&mut self, reader: &mut dyn Read) -> Result<()> {
        let mut waiting: HashMap<(u32, u32, u32), Vec<PathBuf>> = HashMap::new();
        while let Some(entry) = CpioEntry::read(reader).map_err(|e| self.broken(e))? {
            let path = self
                .path(&entry.name)?
                .unwrap_or_else(|| PathBuf::from("/"));
            let attributes = Attributes {
                uid: entry.uid,
                gid: entry.gid,
                mode: entry.mode,
                xattrs: Vec::new(),
            };
            let mut content = reader.take(u64::from(entry.size));
            match entry.mode & TYPE_MASK {
                TYPE_DIR => self.entry(&path, Kind::Dir, attributes, &mut content)?,
                TYPE_FILE if entry.links > 1 && entry.size == 0 => {
                    waiting.entry(entry.inode).or_default().push(path);
                    continue;
                }
                TYPE_FILE => {
                    let size = u64::from(entry.size);
                    self.entry(&path, Kind::File(size), attributes, &mut content)?;
                    for other in waiting.remove(&entry.inode).unwrap_or_default() {
                        self.link(&other, &path)?;
                    }
                }
                TYPE_SYMLINK => {
                    let mut target = Vec::new();
                    content
                        .read_to_end(&mut target)
                        .map_err(|e| self.broken(e))?;
                    let kind = Kind::Symlink(text(target, &path)?);
                    self.entry(&path, kind, attributes, &mut io::empty())?;
                }
                _ => {
                    return Err(wrong(
                        &path,
                        "it is neither a file, a symlink nor a directory",
                    ));
                }
            }
            io::copy(&mut content, &mut io::sink()).map_err(|e| self.broken(e))?;
            entry.skip_padding(reader).map_err(|e| self.broken(e))?;
        }
        Ok(())
    }

    /// The path in the commit that an entry's name means; `None` for one that means
    /// nothing.
    fn path(&self, name: &[u8]) -> Result<Option<PathBuf>> {
        let shown = || PathBuf::from(String::from_utf8_lossy(name).into_owned());
        let bad = |why| Err(wrong(&shown(), why));
        let Ok(name) = std::str::from_utf8(name) else {
            return bad("its name is not UTF-8");
        };
        let mut name = name;
        while let Some(rest) = name.strip_prefix("./").or(name.strip_prefix('/')) {
            name = rest;
        }
        let name = match &self.archive.filter {
            Some(filter) => filter.apply(name),
            None => name.to_owned(),
        };
        let mut path = PathBuf::from("/");
        for component in Path::new(&name).components() {
            match component {
                Component::CurDir | Component::RootDir => {}
                Component::Normal(part) => match part.to_str().map(check_name) {
                    Some(Ok(())) => path.push(part),
                    _ => return bad("its name cannot be stored"),
                },
                _ => return bad("its name leads out of the archive"),
            }
        }
        Ok(Some(path))
    }

    fn entry(
        &mut self,
        path: &Path,
        kind: Kind,
        attributes: Attributes,
        content: &mut dyn Read,
    ) -> Result<()> {
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return match kind {
                Kind::Dir => self.dir(path, attributes),
                _ => Err(wrong(path, "the root is no directory")),
            };
        };
        if self.skips(path) {
            return Ok(());
        }
        if self.archive.whiteouts
            && let Some(gone) = name.as_bytes().strip_prefix(b".wh.")
        {
            return match gone {
                b".wh..opq" => self.layers.clear(dir),
                _ => self
                    .layers
                    .remove(&dir.join(std::ffi::OsStr::from_bytes(gone))),
            };
        }
        let checksum = match kind {
            Kind::Dir => return self.dir(path, attributes),
            Kind::Link(target) => return self.link(path, &target),
            Kind::Symlink(target) => {
                let header = self.header(path, attributes, TYPE_SYMLINK, target)?;
                let none = Content::Memory(&[]);
                self.staging.file(&header, none, &mut Vec::new(), path)?
            }
            Kind::File(size) => {
                let header = self.header(path, attributes, TYPE_FILE, String::new())?;
                self.staging.stream(&header, content, size, path)?
            }
        };
        self.make_parents(path)?;
        self.layers.put_file(path, checksum)
    }

    /// Whether a path, or one above it, is left out.
    fn skips(&self, path: &Path) -> bool {
        let skips = |p: &Path| match (p.parent(), p.file_name()) {
            (Some(dir), Some(name)) => self.modified.skips(dir, name),
            _ => false,
        };
        path.ancestors().any(skips)
    }

    fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        let checksum = self.layers.file(target)?;
        let checksum = checksum.ok_or_else(|| wrong(path, "it is a link to what is not there"))?;
        self.make_parents(path)?;
        self.layers.put_file(path, checksum)
    }

    fn header(&self, path: &Path, a: Attributes, kind: u32, target: String) -> Result<FileHeader> {
        let mode = kind
            | if kind == TYPE_SYMLINK {
                0o777
            } else {
                a.mode & 0o7777
            };
        let (repo, owner) = (self.staging.repo(), (a.uid, a.gid));
        let (uid, gid, mode) = self
            .modified
            .attributes(repo, self.options, path, owner, mode);
        Ok(FileHeader {
            uid,
            gid,
            mode,
            target,
            xattrs: self.xattrs((path, mode), a.xattrs)?,
        })
    }

    fn xattrs(&self, at: (&Path, u32), xattrs: Vec<Xattr>) -> Result<Xattrs> {
        let repo = self.staging.repo();
        self.options.xattrs(repo, at, || Ok(Xattrs::new(xattrs)))
    }

    fn dir(&mut self, path: &Path, attributes: Attributes) -> Result<()> {
        let meta = self.dirmeta(path, attributes)?;
        self.make_parents(path)?;
        self.layers.put_dir(path, meta)
    }

    fn dirmeta(&self, path: &Path, a: Attributes) -> Result<Checksum> {
        let mode = TYPE_DIR | (a.mode & 0o7777);
        let (repo, owner) = (self.staging.repo(), (a.uid, a.gid));
        let (uid, gid, mode) = self
            .modified
            .attributes(repo, self.options, path, owner, mode);
        let meta = DirMeta {
            uid,
            gid,
            mode,
            xattrs: self.xattrs((path, mode), a.xattrs)?,
        };
        self.staging.metadata(ObjectKind::DirMeta, &meta.encode())
    }

    /// Makes the directories above a path that no entry described, where such are made.
    fn make_parents(&mut self, path: &Path) -> Result<()> {
        if !self.archive.make_parents {
            return Ok(());
        }
        let above: Vec<&Path> = path.ancestors().skip(1).collect();
        for dir in above.into_iter().rev() {
            self.make_dir(dir)?;
        }
        Ok(())
    }

    fn make_dir(&mut self, path: &Path) -> Result<()> {
        if self.layers.has_dir(path)? {
            return Ok(());
        }
        let plain = Attributes {
            uid: 0,
            gid: 0,
            mode: 0o755,
            xattrs: Vec::new(),
        };
        let meta = self.dirmeta(path, plain)?;
        self.layers.put_dir(path, meta)
    }

    /// An archive without entries is an empty directory, where directories are made.
    fn ensure_root(&mut self) -> Result<()> {
        match self.archive.make_parents && self.layers.is_empty() {
            true => self.make_dir(Path::new("/")),
            false => Ok(()),
        }
    }
}

fn wrong(path: &Path, why: &'static str) -> Error {
    let path = path.to_owned();
    Error::ArchiveEntry { path, why }
}

fn text(bytes: Vec<u8>, path: &Path) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| wrong(path, "its target is not UTF-8"))
}

fn tar_attributes<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<Attributes> {
    let id = |n: u64| u32::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
    let mut xattrs = Vec::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Some(name) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.") {
                xattrs.push((name.to_vec(), extension.value_bytes().to_vec()));
            }
        }
    }
    let header = entry.header();
    Ok(Attributes {
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mode: header.mode()?,
        xattrs,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters() {
        let cases = [
            ("^usr/bin/,usr/sbin/", "usr/bin/a", "usr/sbin/a"),
            ("^usr/bin/,usr/sbin/", "x/usr/bin/a", "x/usr/bin/a"),
            ("/bin/,/sbin/", "usr/bin/a", "usr/sbin/a"),
            ("^,foo/", "a", "foo/a"),
        ];
        for (filter, name, becomes) in cases {
            assert_eq!(PathFilter::parse(filter).unwrap().apply(name), becomes);
        }
        for bad in ["a", "a.*,b", "(a),b", r"a,\\1"] {
            assert_eq!(PathFilter::parse(bad), None, "{bad}");
        }
    }
}
