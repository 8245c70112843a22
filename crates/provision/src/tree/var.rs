//! The content of `/var` moves to `/usr`: a host's first boot copies it back.
//!
//! `/var` belongs to the host and outlives versions, so a version ships none of
//! it. Directories and links are made, and files copied where missing, by
//! `systemd-tmpfiles` from the list written here.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use durable::{Attributes, Doing, FileKind, Fs, Metadata};

use crate::Result;

/// Where the files go, relative to the tree; `systemd-tmpfiles` looks there.
pub(super) const FACTORY: &str = "usr/share/factory/var";
/// Where the package database goes, relative to the tree.
pub(super) const DPKG: &str = "usr/lib/sysimage/dpkg";
/// The list, relative to the tree.
const LIST: &str = "usr/lib/tmpfiles.d/backstop-var.conf";
/// Files below these are made anew by whoever needs them.
const DROPPED: &[&str] = &[
    "cache",
    "log",
    "tmp",
    "lib/apt/lists",
    "lib/systemd/random-seed",
];

/// Moves everything below `var` of the tree; leaves it empty.
pub(super) fn to_factory(fs: &dyn Fs, tree: &Path) -> Result<()> {
    let mut walk = Walk {
        fs,
        tree,
        declared: declared(fs, tree)?,
        lines: String::from("# What /var holds at first, by `backstop tree prepare`.\n"),
    };
    walk.keep_earlier()?;
    walk.dir(Path::new(""))?;
    if fs.metadata(&tree.join(DPKG)).is_ok() {
        walk.lines
            .push_str("L+ /var/lib/dpkg - - - - /usr/lib/sysimage/dpkg\n");
    }
    let list = tree.join(LIST);
    durable::create_dir_all(fs, &tree.join("usr/lib/tmpfiles.d"), 0o755)?;
    durable::publish_file(fs, &list, walk.lines.as_bytes(), 0o644)?;
    for entry in fs.read_dir(&tree.join("var")).doing("list", tree)? {
        durable::remove_tree(fs, &tree.join("var").join(entry.name))?;
    }
    Ok(())
}

/// A walk over `var`, writing the list as it goes.
struct Walk<'a> {
    fs: &'a dyn Fs,
    tree: &'a Path,
    declared: BTreeSet<String>,
    lines: String,
}

impl Walk<'_> {
    /// Keeps the lines of a list that is there already: what it names has left
    /// `var` before.
    fn keep_earlier(&mut self) -> Result<()> {
        let list = self.tree.join(LIST);
        if self.fs.metadata(&list).is_ok() {
            let text = durable::read(self.fs, &list)?;
            let text = String::from_utf8_lossy(&text).into_owned();
            self.declared.extend(paths(&text));
            self.lines = text;
        }
        Ok(())
    }

    fn dir(&mut self, below: &Path) -> Result<()> {
        let dir = self.tree.join("var").join(below);
        for entry in self.fs.read_dir(&dir).doing("list", &dir)? {
            let path = below.join(&entry.name);
            let at = dir.join(&entry.name);
            let meta = self.fs.metadata(&at).doing("look at", &at)?;
            match entry.kind {
                FileKind::Dir => {
                    self.line("d", &path, &owned(&meta));
                    self.dir(&path)?;
                }
                FileKind::Symlink => {
                    let target = self.fs.read_link(&at).doing("read the link", &at)?;
                    let target = escape(target.as_os_str());
                    self.line("L", &path, &format!("- - - - {target}"));
                }
                FileKind::File if !dropped(&path) => {
                    self.move_file(&at, &path)?;
                    self.line("C", &path, "- - - -");
                }
                FileKind::File | FileKind::Other => {}
            }
        }
        Ok(())
    }

    fn line(&mut self, kind: &str, below: &Path, rest: &str) {
        let path = escape(Path::new("/var").join(below).as_os_str());
        if self.declared.insert(path.clone()) {
            // Writing to a string cannot fail.
            let _ = writeln!(self.lines, "{kind} {path} {rest}");
        }
    }

    fn move_file(&self, from: &Path, below: &Path) -> Result<()> {
        let to = self.tree.join(FACTORY).join(below);
        let mut made = PathBuf::new();
        durable::create_dir_all(self.fs, &self.tree.join(FACTORY), 0o755)?;
        for part in below.parent().into_iter().flatten() {
            made.push(part);
            self.mirror_dir(&made)?;
        }
        self.fs.rename(from, &to).doing("move", from)?;
        Ok(())
    }

    /// Makes a directory of the factory as private as the one it stands for.
    fn mirror_dir(&self, below: &Path) -> Result<()> {
        let made = self.tree.join(FACTORY).join(below);
        if self.fs.metadata(&made).is_ok() {
            return Ok(());
        }
        let of = self.tree.join("var").join(below);
        let meta = self.fs.metadata(&of).doing("look at", &of)?;
        self.fs.create_dir(&made, 0o700).doing("create", &made)?;
        let attributes = Attributes {
            owner: Some((meta.uid, meta.gid)),
            mode: Some(meta.mode & 0o7777),
            ..Attributes::default()
        };
        Ok(self
            .fs
            .set_attributes(&made, &attributes)
            .doing("set the owner of", &made)?)
    }
}

fn owned(meta: &Metadata) -> String {
    format!("{:04o} {} {} -", meta.mode & 0o7777, meta.uid, meta.gid)
}

fn dropped(below: &Path) -> bool {
    DROPPED.iter().any(|d| below.starts_with(d))
}

/// The paths that other lists of the tree declare.
fn declared(fs: &dyn Fs, tree: &Path) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::from(["/var/lib/dpkg".to_owned()]);
    for dir in ["usr/lib/tmpfiles.d", "etc/tmpfiles.d", "usr/etc/tmpfiles.d"] {
        let dir = tree.join(dir);
        for entry in fs.read_dir(&dir).unwrap_or_default() {
            let path = dir.join(&entry.name);
            if entry.kind == FileKind::File && path.extension() == Some(OsStr::new("conf")) {
                let text = durable::read(fs, &path)?;
                all.extend(paths(&String::from_utf8_lossy(&text)));
            }
        }
    }
    Ok(all)
}

/// The paths that a list declares by lines that make something.
fn paths(list: &str) -> impl Iterator<Item = String> + '_ {
    list.lines().filter_map(|l| {
        let mut words = l.split_whitespace();
        let makes = words
            .next()?
            .starts_with(['d', 'D', 'L', 'C', 'f', 'F', 'q', 'Q', 'v']);
        words.next().filter(|_| makes).map(str::to_owned)
    })
}

/// A path as tmpfiles.d has it: blanks, `%` and odd bytes escaped.
fn escape(path: &OsStr) -> String {
    let mut text = String::new();
    for byte in path.as_bytes() {
        match byte {
            b'%' => text.push_str("%%"),
            b'!'..=b'~' if !matches!(byte, b'\\' | b'"' | b'\'') => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_tmpfiles_would_read_otherwise() {
        assert_eq!(escape(OsStr::new("/a b%c")), "/a\\x20b%%c");
        assert_eq!(escape(OsStr::new("/var/x:y")), "/var/x:y");
    }

    #[test]
    fn knows_which_lines_make_something() {
        let list = "# c\nd /var/log 0755 - - -\nx /var/tmp/y\nL+ /var/run - - - - /run\n";
        let got: Vec<_> = paths(list).collect();
        assert_eq!(got, ["/var/log", "/var/run"]);
    }
}
