//! The moves: writes that may be interrupted anywhere.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::fs::{FileKind, Fs};
use crate::{Doing, Result};

/// The directory that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

/// A name beside `path` that no other writer uses: `.NAME.PID-N.tmp`.
fn temporary(path: &Path) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{}-{n}.tmp", std::process::id()));
    parent(path).join(name)
}

/// Replaces `path` by a file with these bytes and permission bits: written under
/// a temporary name, synced, renamed, and the directory synced. After a crash
/// there is the old file or the new one, whole.
///
/// # Errors
/// What failed; the temporary file is removed and `path` is as it was.
pub fn publish_file(fs: &dyn Fs, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let tmp = temporary(path);
    let written = (|| {
        let mut file = fs.create(&tmp, mode).doing("create", &tmp)?;
        file.write_all(bytes).doing("write", &tmp)?;
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

/// Makes `path` a symlink to `target`, replacing a symlink that is there.
///
/// # Errors
/// What failed; `path` is as it was unless only the last sync failed.
pub fn publish_symlink(fs: &dyn Fs, target: &Path, path: &Path) -> Result<()> {
    let tmp = temporary(path);
    fs.symlink(target, &tmp).doing("create the symlink", &tmp)?;
    if let Err(e) = fs.rename(&tmp, path).doing("replace", path) {
        let _ = fs.remove_file(&tmp);
        return Err(e);
    }
    fs.sync_dir(parent(path))
        .doing("sync the directory of", path)
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

/// Adds one record to the end of a file and syncs it, with its directory when
/// the file is new. A crash may leave a part of the record: frame it.
///
/// # Errors
/// What failed; on a full disk the file is cut back to its former length.
pub fn append_record(fs: &dyn Fs, path: &Path, record: &[u8]) -> Result<()> {
    let before = match fs.metadata(path) {
        Ok(m) => Some(m.size),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).doing("look at", path),
    };
    if let Err(e) = fs.append(path, record).doing("append to", path) {
        // A half-written record would hide the ones after it.
        let _ = fs.truncate(path, before.unwrap_or(0));
        return Err(e);
    }
    fs.sync_file(path).doing("sync", path)?;
    if before.is_none() {
        fs.sync_dir(parent(path))
            .doing("sync the directory of", path)?;
    }
    Ok(())
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

/// Creates a directory and those above it, each synced into its parent.
/// Existing ones are left as they are.
///
/// # Errors
/// What failed.
pub fn create_dir_all(fs: &dyn Fs, path: &Path, mode: u32) -> Result<()> {
    match fs.create_dir(path, mode) {
        Ok(()) => fs
            .sync_dir(parent(path))
            .doing("sync the directory of", path),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound && path.parent().is_some() => {
            create_dir_all(fs, parent(path), mode)?;
            fs.create_dir(path, mode)
                .doing("create the directory", path)?;
            fs.sync_dir(parent(path))
                .doing("sync the directory of", path)
        }
        Err(e) => Err(e).doing("create the directory", path),
    }
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
