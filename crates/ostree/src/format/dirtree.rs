//! The names in a directory: `(a(say)a(sayay))`, both sorted.

use std::collections::BTreeSet;

use super::check_name;
use crate::Checksum;
use crate::gvariant::{Layout, Malformed, Result, Writer, array, text, tuple};

const PARTS: [Layout; 2] = [Layout::BYTES; 2];
const FILE: [Layout; 2] = [Layout::BYTES; 2];
const DIR: [Layout; 3] = [Layout::BYTES; 3];

/// A file or symlink in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileRef {
    /// Its name.
    pub name: String,
    /// Its `file` object.
    pub checksum: Checksum,
}

/// A directory in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirRef {
    /// Its name.
    pub name: String,
    /// Its `dirtree` object.
    pub tree: Checksum,
    /// Its `dirmeta` object.
    pub meta: Checksum,
}

/// The content of a directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirTree {
    /// Files and symlinks, sorted by name.
    pub files: Vec<FileRef>,
    /// Directories, sorted by name.
    pub dirs: Vec<DirRef>,
}

impl DirTree {
    /// Reads a `dirtree` object.
    ///
    /// # Errors
    /// Where it is not canonical: wrong framing, names that are not sorted, are
    /// there twice, or could lead out of the directory.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let [files, dirs] = tuple(bytes, PARTS)?;
        let files = array(files, Layout::BYTES)?
            .into_iter()
            .map(|item| {
                let [name, checksum] = tuple(item, FILE)?;
                Ok(FileRef {
                    name: checked(name)?,
                    checksum: Checksum::decode(checksum)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let dirs = array(dirs, Layout::BYTES)?
            .into_iter()
            .map(|item| {
                let [name, tree, meta] = tuple(item, DIR)?;
                Ok(DirRef {
                    name: checked(name)?,
                    tree: Checksum::decode(tree)?,
                    meta: Checksum::decode(meta)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let tree = Self { files, dirs };
        tree.check_order()?;
        Ok(tree)
    }

    /// The first name in a `dirtree` object that cannot be one.
    pub(crate) fn bad_name(bytes: &[u8]) -> Option<String> {
        let [files, dirs] = tuple(bytes, PARTS).ok()?;
        let files = array(files, Layout::BYTES).ok()?.into_iter();
        let dirs = array(dirs, Layout::BYTES).ok()?.into_iter();
        let files = files.map(|item| tuple(item, FILE).map(|[name, _]| name));
        let dirs = dirs.map(|item| tuple(item, DIR).map(|[name, ..]| name));
        let mut names = files.chain(dirs).filter_map(|name| text(name.ok()?).ok());
        names
            .find(|name| check_name(name).is_err())
            .map(str::to_owned)
    }

    /// Checks that both lists rise strictly and share no name.
    fn check_order(&self) -> Result<()> {
        let files_rise = self.files.windows(2).all(|w| w[0].name < w[1].name);
        let dirs_rise = self.dirs.windows(2).all(|w| w[0].name < w[1].name);
        let names: BTreeSet<_> = self.files.iter().map(|f| &f.name).collect();
        if !files_rise || !dirs_rise || self.dirs.iter().any(|d| names.contains(&d.name)) {
            return Err(Malformed::Order);
        }
        Ok(())
    }

    /// Brings both lists into their order.
    pub(crate) fn sort(&mut self) {
        self.files.sort();
        self.dirs.sort();
    }

    /// The file of this name.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileRef> {
        let at = self.files.binary_search_by(|f| f.name.as_str().cmp(name));
        at.ok().map(|i| &self.files[i])
    }

    /// The directory of this name.
    #[must_use]
    pub fn dir(&self, name: &str) -> Option<&DirRef> {
        let at = self.dirs.binary_search_by(|d| d.name.as_str().cmp(name));
        at.ok().map(|i| &self.dirs[i])
    }

    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&PARTS, |w, part| match part {
            0 => w.array(Layout::BYTES, &self.files, |w, file| {
                w.tuple(&FILE, |w, i| match i {
                    0 => w.text(&file.name),
                    _ => w.raw(file.checksum.as_bytes()),
                });
            }),
            _ => w.array(Layout::BYTES, &self.dirs, |w, dir| {
                w.tuple(&DIR, |w, i| match i {
                    0 => w.text(&dir.name),
                    1 => w.raw(dir.tree.as_bytes()),
                    _ => w.raw(dir.meta.as_bytes()),
                });
            }),
        });
        w.finish()
    }
}

fn checked(name: &[u8]) -> Result<String> {
    let name = text(name)?;
    check_name(name)?;
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> FileRef {
        FileRef {
            name: name.into(),
            checksum: Checksum::of(name.as_bytes()),
        }
    }

    fn dir(name: &str) -> DirRef {
        DirRef {
            name: name.into(),
            tree: Checksum::of(name.as_bytes()),
            meta: Checksum::of(b"meta"),
        }
    }

    #[test]
    fn order_and_names() {
        let ok = DirTree {
            files: vec![file("a"), file("b")],
            dirs: vec![dir("A"), dir("c")],
        };
        assert_eq!(DirTree::decode(&ok.encode()), Ok(ok.clone()));
        assert_eq!(ok.file("b"), Some(&ok.files[1]));
        assert_eq!(ok.dir("b"), None);
        let cases = [
            (vec![file("b"), file("a")], vec![], Malformed::Order),
            (vec![file("a"), file("a")], vec![], Malformed::Order),
            (vec![], vec![dir("b"), dir("a")], Malformed::Order),
            (vec![file("x")], vec![dir("x")], Malformed::Order),
            (vec![file("..")], vec![], Malformed::Name),
            (vec![], vec![dir("a/b")], Malformed::Name),
            (vec![file("")], vec![], Malformed::Name),
        ];
        for (files, dirs, why) in cases {
            let bytes = DirTree { files, dirs }.encode();
            assert_eq!(DirTree::decode(&bytes), Err(why));
        }
    }

    #[test]
    fn empty_directory_is_one_zero_byte() {
        assert_eq!(DirTree::default().encode(), [0]);
        assert_eq!(DirTree::decode(&[0]), Ok(DirTree::default()));
    }
}
