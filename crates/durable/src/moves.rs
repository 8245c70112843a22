//! The moves: writes that may be interrupted anywhere.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::fs::{Attributes, FileKind, Fs};
use crate::{Doing, Result};

/// The directory that holds `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// Makes something under a name beside `path` that nothing has yet:
/// `.NAME.PID-N.tmp`. After a crash process numbers come again, and with them
/// the names of what was left lying, so a taken name is passed over.
fn under_new_name<T>(
    path: &Path,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-", std::process::id()));
    let mut tries = 0;
    loop {
        let mut name = name.clone();
        name.push(format!("{}.tmp", NEXT.fetch_add(1, Ordering::Relaxed)));
        let tmp = parent(path).join(name);
        match make(&tmp) {
            Ok(made) => return Ok((tmp, made)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && tries < 1000 => tries += 1,
            Err(e) => return Err(e),
        }
    }
}

/// Whether a name is one that an interrupted [`publish_file`], [`publish_symlink`]
/// or [`switch_symlink`] left behind: `.NAME.PID-N.tmp`.
#[must_use]
pub fn is_leftover(name: &OsStr) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let numbers = name
        .to_str()
        .and_then(|name| name.strip_prefix('.')?.strip_suffix(".tmp"))
        .and_then(|name| name.rsplit_once('.')?.1.split_once('-'));
    numbers.is_some_and(|(pid, n)| number(pid) && number(n))
}

/// Removes what interrupted moves left in a directory, where no other writer can
/// be at work: under the lock that writers hold. Answers how much that was.
///
/// # Errors
/// What failed.
pub fn remove_leftovers(fs: &dyn Fs, dir: &Path) -> Result<usize> {
    let mut removed = 0;
    for entry in fs.read_dir(dir).doing("list", dir)? {
        if entry.kind != FileKind::Dir && is_leftover(&entry.name) {
            remove_if_there(fs, &dir.join(&entry.name))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Replaces `path` by a file with these bytes and permission bits, whatever the
/// umask: written under a temporary name, synced, renamed, and the directory
/// synced. After a crash there is the old file or the new one, whole.
///
/// # Errors
/// What failed; `path` is as it was and the temporary file is removed, unless
/// only the last sync failed: then the new file is there and may be lost.
pub fn publish_file(fs: &dyn Fs, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let (tmp, mut file) =
        under_new_name(path, |tmp| fs.create(tmp, mode)).doing("create a file beside", path)?;
    let exactly = Attributes {
        mode: Some(mode),
        ..Attributes::default()
    };
    let written = (|| {
        file.write_all(bytes).doing("write", &tmp)?;
        file.set(&exactly).doing("set the mode of", &tmp)?;
        file.sync().doing("sync", &tmp)?;
        fs.rename(&tmp, path).doing("replace", path)
    })();
    if written.is_err() {
        // Best effort: the first error is the one that matters.
        let _ = fs.remove_file(&tmp);
    }
    written?;
    fs.sync_dir(parent(path))
        .doing("sync the directory of", path)
}

/// Makes `path` a symlink to `target`, replacing a symlink that is there. For a
/// symlink that a boot loader follows, use [`switch_symlink`].
///
/// # Errors
/// What failed; `path` is as it was unless only the last sync failed.
pub fn publish_symlink(fs: &dyn Fs, target: &Path, path: &Path) -> Result<()> {
    let (tmp, ()) = under_new_name(path, |tmp| fs.symlink(target, tmp))
        .doing("create a symlink beside", path)?;
    if let Err(e) = fs.rename(&tmp, path).doing("replace", path) {
        let _ = fs.remove_file(&tmp);
        return Err(e);
    }
    fs.sync_dir(parent(path))
        .doing("sync the directory of", path)
}

/// Makes `path` a symlink to `target` in the eyes of a boot loader that replays
/// no journal. Everything written to the filesystem before, and the symlink
/// itself, is put in its place by a checkpoint before the name is switched; the
/// old symlink keeps a second name, `.NAME.old`, until a checkpoint after it. So
/// whichever of the directory and the inodes such a reader sees old or new, it
/// finds the old target or the new one.
///
/// # Errors
/// What failed; `path` is as it was unless what failed came after the switch.
pub fn switch_symlink(fs: &dyn Fs, target: &Path, path: &Path) -> Result<()> {
    let (tmp, ()) = under_new_name(path, |tmp| fs.symlink(target, tmp))
        .doing("create a symlink beside", path)?;
    switch(fs, &tmp, path)
}

/// The same for a file, or for a symlink that becomes one: whoever replays no journal
/// reads what was there or these bytes.
///
/// # Errors
/// What failed; `path` is as it was unless what failed came after the switch.
pub fn switch_file(fs: &dyn Fs, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let (tmp, mut file) =
        under_new_name(path, |tmp| fs.create(tmp, mode)).doing("create a file beside", path)?;
    let written = file.write_all(bytes).doing("write", &tmp);
    if let Err(e) = written.and_then(|()| file.sync().doing("sync", &tmp)) {
        let _ = fs.remove_file(&tmp);
        return Err(e);
    }
    switch(fs, &tmp, path)
}

/// Gives what is at `tmp` the name `path`, between two checkpoints.
fn switch(fs: &dyn Fs, tmp: &Path, path: &Path) -> Result<()> {
    let dir = parent(path);
    let old = dir.join(with_affixes(path, ".old"));
    let switched = (|| {
        fs.checkpoint(dir).doing("checkpoint", dir)?;
        remove_if_there(fs, &old)?;
        keep(fs, path, &old)?;
        fs.rename(tmp, path).doing("replace", path)
    })();
    if let Err(e) = switched {
        let _ = fs.remove_file(tmp);
        return Err(e);
    }
    fs.checkpoint(dir).doing("checkpoint", dir)?;
    remove_if_there(fs, &old)?;
    fs.sync_dir(dir).doing("sync", dir)
}

/// `.NAME` and a suffix.
fn with_affixes(path: &Path, suffix: &str) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(suffix);
    name
}

/// Gives what is at `path`, if anything, a second name, so that its inode is not
/// freed when the first goes. Filesystems without hard links have to do without.
fn keep(fs: &dyn Fs, path: &Path, second: &Path) -> Result<()> {
    match fs.hard_link(path, second) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound) => Ok(()),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        other => other.doing("keep a second name of", path),
    }
}

/// Removes a name that is not a directory, if it is there.
fn remove_if_there(fs: &dyn Fs, path: &Path) -> Result<()> {
    match fs.remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing("remove", path),
    }
}

/// Overwrites a file with bytes of exactly its length, in the blocks it has, and
/// syncs it. For one 512-byte sector this is atomic on every disk; a longer
/// file may be left with some sectors new and some old.
///
/// # Errors
/// What failed; `InvalidInput` when the lengths differ (nothing is written).
pub fn overwrite_in_place(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Result<()> {
    let len = fs.metadata(path).doing("look at", path)?.size;
    if len != bytes.len() as u64 {
        let why = format!("it is {len} bytes long, not {}", bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why)).doing("overwrite", path);
    }
    fs.overwrite(path, 0, bytes).doing("overwrite", path)?;
    fs.sync_file(path).doing("sync", path)
}

/// Adds one record to the end of a file and syncs the file and its directory. A
/// crash may leave a part of the record: frame it, and cut such a part off before
/// the next one is added.
///
/// # Errors
/// What failed. The file is cut back to its former length then, as well as that
/// goes: a part of a record would hide the ones after it, and so would one whose
/// sync failed, for the kernel counts its pages as written and will not try again.
pub fn append_record(fs: &dyn Fs, path: &Path, record: &[u8]) -> Result<()> {
    let before = match fs.metadata(path) {
        Ok(m) => m.size,
        Err(e) if e.kind() == io::ErrorKind::NotFound => 0,
        Err(e) => return Err(e).doing("look at", path),
    };
    let added = (|| {
        fs.append(path, record).doing("append to", path)?;
        fs.sync_file(path).doing("sync", path)?;
        // Not only for a new file: whoever created it may have died before this.
        fs.sync_dir(parent(path))
            .doing("sync the directory of", path)
    })();
    if added.is_err() {
        let _ = fs.truncate(path, before);
        let _ = fs.sync_file(path);
    }
    added
}

/// Makes sure that a file that is there, and its name, are on the disk: who wrote
/// it may have been killed before that was so.
///
/// # Errors
/// What failed.
pub fn make_sure(fs: &dyn Fs, path: &Path) -> Result<()> {
    fs.sync_file(path).doing("sync", path)?;
    fs.sync_dir(parent(path))
        .doing("sync the directory of", path)
}

/// Renames, replacing what is at `to`, and syncs both directories.
///
/// # Errors
/// What failed.
pub fn rename_and_sync(fs: &dyn Fs, from: &Path, to: &Path) -> Result<()> {
    fs.rename(from, to).doing("rename", from)?;
    fs.sync_dir(parent(to)).doing("sync the directory of", to)?;
    if parent(from) != parent(to) {
        fs.sync_dir(parent(from))
            .doing("sync the directory of", from)?;
    }
    Ok(())
}

/// Gives each of two paths what the other has, in one step, and syncs both
/// directories. What either holds must be on the disk before.
///
/// # Errors
/// What failed.
pub fn exchange_and_sync(fs: &dyn Fs, one: &Path, other: &Path) -> Result<()> {
    fs.exchange(one, other).doing("exchange", one)?;
    fs.sync_dir(parent(one))
        .doing("sync the directory of", one)?;
    if parent(one) != parent(other) {
        fs.sync_dir(parent(other))
            .doing("sync the directory of", other)?;
    }
    Ok(())
}

/// Creates a directory and those above it, with these permission bits whatever
/// the umask, each synced into its parent. Existing ones are left as they are.
///
/// # Errors
/// What failed.
pub fn create_dir_all(fs: &dyn Fs, path: &Path, mode: u32) -> Result<()> {
    let mut created = fs.create_dir(path, mode);
    if let Err(e) = &created
        && e.kind() == io::ErrorKind::NotFound
        && path.parent().is_some_and(|p| !p.as_os_str().is_empty())
    {
        create_dir_all(fs, parent(path), mode)?;
        created = fs.create_dir(path, mode);
    }
    match created {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) => return Err(e).doing("create the directory", path),
    }
    let exactly = Attributes {
        mode: Some(mode),
        ..Attributes::default()
    };
    fs.set_attributes(path, &exactly)
        .doing("set the mode of", path)?;
    fs.sync_dir(parent(path))
        .doing("sync the directory of", path)
}

/// Removes a file or a whole tree, clearing immutable flags on the way; a path
/// that is not there is no error. Not atomic: a crash leaves a part of the tree.
///
/// # Errors
/// What failed.
pub fn remove_tree(fs: &dyn Fs, path: &Path) -> Result<()> {
    let kind = match fs.metadata(path) {
        Ok(m) => m.kind,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).doing("look at", path),
    };
    if kind != FileKind::Dir {
        return fs.remove_file(path).doing("remove", path);
    }
    fs.set_immutable(path, false).doing("make mutable", path)?;
    for entry in fs.read_dir(path).doing("list", path)? {
        let child = path.join(&entry.name);
        if entry.kind == FileKind::Dir {
            remove_tree(fs, &child)?;
        } else {
            fs.remove_file(&child).doing("remove", &child)?;
        }
    }
    fs.remove_dir(path).doing("remove", path)
}

/// Reads a whole file that this program wrote itself.
///
/// # Errors
/// What failed.
pub fn read(fs: &dyn Fs, path: &Path) -> Result<Vec<u8>> {
    read_bounded(fs, path, u64::MAX)
}

/// Reads a whole file, refusing one longer than `limit` bytes.
///
/// # Errors
/// What failed; `InvalidData` when it is too long.
pub fn read_bounded(fs: &dyn Fs, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = fs.open(path).doing("open", path)?;
    let mut bytes = Vec::new();
    let read = file.take(limit.saturating_add(1)).read_to_end(&mut bytes);
    if read.doing("read", path)? as u64 > limit {
        let why = format!("it is longer than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, why)).doing("read", path);
    }
    Ok(bytes)
}

/// Reads a whole text file of at most 1 MiB.
///
/// # Errors
/// What failed; `InvalidData` when it is too long or not UTF-8.
pub fn read_to_string(fs: &dyn Fs, path: &Path) -> Result<String> {
    let bytes = read_bounded(fs, path, 1 << 20)?;
    String::from_utf8(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        .doing("read as text", path)
}
