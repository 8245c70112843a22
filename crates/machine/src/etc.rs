//! The `/etc` of the running system: the booted deployment's own, or that of another
//! one, mounted over it.
//!
//! A mount takes its place at once and as a whole, programs that have files of the
//! old one open go on with them, and a reboot forgets it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, metadata};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};

use crate::{MachineError, Result};

/// Where the system looks for its configuration.
const ETC: &str = "/etc";
/// Where a mount is made ready.
const ASIDE: &str = "/run/backstop/etc";
const MOUNTS: &str = "/proc/self/mountinfo";

/// Whether `/etc` is the directory `etc`.
pub(crate) fn is(etc: &Path) -> Result<bool> {
    let of = |path: &Path| metadata(path).map_err(failed("look at", path));
    let (there, here) = (of(etc)?, of(Path::new(ETC))?);
    Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
}

/// Mounts the directory `etc` over `/etc`; once only.
pub(crate) fn lay(etc: &Path) -> Result<()> {
    if is(etc)? {
        return Ok(());
    }
    let inside = keep_mounts()?;
    mount_alone(etc)?;
    mount_again(inside)
}

/// Mounts `etc` over `/etc` by way of another place. A mount made directly would be
/// a peer of the one that `etc` lies on: what is mounted over it later would
/// appear on the deployment's own directory as well.
fn mount_alone(etc: &Path) -> Result<()> {
    let aside = Path::new(ASIDE);
    std::fs::create_dir_all(aside).map_err(failed("create", aside))?;
    mount_bind(etc, aside).map_err(|e| failed("mount aside", etc)(e.into()))?;
    let mounted = mount_change(aside, MountPropagationFlags::PRIVATE)
        .and_then(|()| mount_bind(aside, ETC))
        .map_err(|e| failed("mount over /etc", etc)(e.into()));
    unmount(aside, UnmountFlags::DETACH).map_err(|e| failed("unmount", aside)(e.into()))?;
    mounted
}

/// Takes away what is mounted over the directory `etc`. Where it does not lie beneath,
/// it is mounted instead.
pub(crate) fn lift(etc: &Path) -> Result<()> {
    let inside = keep_mounts()?;
    while !is(etc)? {
        if !is_mounted()? {
            return lay(etc);
        }
        unmount(ETC, UnmountFlags::DETACH).map_err(|e| failed("unmount", ETC)(e.into()))?;
    }
    mount_again(inside)
}

/// Mounts on files and directories in `/etc` what was mounted on them before.
fn mount_again(inside: Vec<(PathBuf, File)>) -> Result<()> {
    for (path, file) in inside {
        let held = file.metadata().map_err(failed("look at", &path))?;
        // Where this /etc has no such name, nobody there looks for it.
        let Ok(here) = metadata(&path) else { continue };
        if (here.dev(), here.ino()) != (held.dev(), held.ino()) {
            let mounted = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            mount_bind(&mounted, &path).map_err(|e| failed("mount again", &path)(e.into()))?;
        }
    }
    Ok(())
}

/// What is mounted below `/etc`, held open.
fn keep_mounts() -> Result<Vec<(PathBuf, File)>> {
    let mut held = Vec::new();
    let mut points = mount_points()?;
    points.sort();
    points.dedup();
    for path in points {
        if path != Path::new(ETC) && path.starts_with(ETC) {
            let flags = i32::try_from(OFlags::PATH.bits()).unwrap_or_default();
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(&path);
            held.push((path.clone(), file.map_err(failed("open", &path))?));
        }
    }
    Ok(held)
}

fn is_mounted() -> Result<bool> {
    Ok(mount_points()?.iter().any(|path| path == Path::new(ETC)))
}

fn mount_points() -> Result<Vec<PathBuf>> {
    let text = std::fs::read(MOUNTS).map_err(failed("read", MOUNTS))?;
    Ok(points(&text))
}

/// The mount points in the kernel's table (`proc_pid_mountinfo(5)`): the fifth field.
fn points(table: &[u8]) -> Vec<PathBuf> {
    let lines = table.split(|b| *b == b'\n');
    lines
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
        .collect()
}

/// The kernel writes blanks, tabs, line ends and backslashes as `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(field.len()), field);
    while let Some((&byte, after)) = rest.split_first() {
        let code = (byte == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(code);
                rest = &after[3..];
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

fn failed(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> MachineError {
    let path = path.as_ref().to_owned();
    move |source| MachineError::File {
        doing,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_from_the_kernels_table() {
        let table = b"24 1 0:22 / / rw - ext4 /dev/vda rw\n\
            30 24 0:22 /ostree/x/etc /etc rw shared:1 - ext4 /dev/vda rw\n\
            31 30 0:25 / /etc/a\\040b\\134c rw - tmpfs tmpfs rw\n\n";
        assert_eq!(
            points(table),
            ["/", "/etc", "/etc/a b\\c"].map(PathBuf::from)
        );
        assert_eq!(unescape(b"a\\04"), b"a\\04");
    }
}
