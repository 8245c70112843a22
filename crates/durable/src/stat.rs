//! What the kernel knows of a file, with its version.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, SeekFrom, Statx, StatxFlags, StatxTimestamp};
use rustix::io::Errno;

use crate::fs::{FileKind, Metadata, Version};

/// `STATX_MNT_ID_UNIQUE` (`linux/stat.h`): the mount's number is one that is not used
/// again.
const MOUNT_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Told of an ext4 inode that is large enough for its own birth time, and so for the
/// fractions of a second of its change time, which come before that (`struct ext4_inode`).
const FINE_TIMES: StatxFlags = StatxFlags::BTIME;

/// Filesystems that set the change time at each write, and at the first store into each
/// clean page of a mapping: ext4 (`ext4_page_mkwrite`) and XFS (`xfs_write_fault`). By
/// `linux/magic.h`.
const TELLING: [u64; 2] = [0xEF53, 0x5846_5342];

/// Reads both with one call.
pub(crate) fn metadata_and_version(path: &Path) -> io::Result<(Metadata, Option<Version>)> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let wanted = StatxFlags::BASIC_STATS | FINE_TIMES | MOUNT_UNIQUE;
    let found = rustix::fs::statx(CWD, path, flags, wanted)?;
    let metadata = metadata(&found);
    let told = StatxFlags::from_bits_retain(found.stx_mask);
    let version = told.contains(wanted).then(|| Version {
        mount: found.stx_mnt_id,
        dev: metadata.dev,
        ino: metadata.ino,
        size: metadata.size,
        modified: time(&found.stx_mtime),
        changed: time(&found.stx_ctime),
    });
    Ok((metadata, version))
}

fn metadata(found: &Statx) -> Metadata {
    let mode = u32::from(found.stx_mode);
    let kind = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Dir,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    Metadata {
        kind,
        mode,
        uid: found.stx_uid,
        gid: found.stx_gid,
        size: found.stx_size,
        mtime: found.stx_mtime.tv_sec,
        dev: rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor),
        ino: found.stx_ino,
        nlink: u64::from(found.stx_nlink),
    }
}

fn time(time: &StatxTimestamp) -> (i64, u32) {
    (time.tv_sec, time.tv_nsec)
}

/// Whether the filesystem is one of those.
pub(crate) fn tells_changes(path: &Path) -> bool {
    let found = rustix::fs::statfs(path);
    found.is_ok_and(|fs| u64::try_from(fs.f_type).is_ok_and(|kind| TELLING.contains(&kind)))
}

/// Waits for calls that are writing to a file. Who writes to it holds the inode's lock from
/// the new change time to the last byte; ext4 looks for holes under that lock, and XFS
/// reads under it.
pub(crate) fn await_writers(file: &File) -> io::Result<()> {
    match rustix::fs::seek(file, SeekFrom::Hole(0)) {
        // Nothing in it, or not a file with holes.
        Ok(_) | Err(Errno::NXIO | Errno::INVAL) => {}
        Err(e) => return Err(e.into()),
    }
    rustix::fs::seek(file, SeekFrom::Start(0))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fs, RealFs};

    #[test]
    fn both_ways_to_ask_say_the_same() {
        for path in [
            "/",
            "/proc/self/exe",
            "/dev/null",
            "/etc/passwd",
            "/etc/mtab",
        ] {
            let path = Path::new(path);
            let plain = RealFs.metadata(path);
            let both = RealFs.metadata_and_version(path).map(|(m, _)| m);
            match (plain, both) {
                (Ok(plain), Ok(both)) => assert_eq!(plain, both, "{}", path.display()),
                (plain, both) => assert_eq!(plain.is_err(), both.is_err()),
            }
        }
    }
}
