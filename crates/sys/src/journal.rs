//! Emptying a filesystem's journal, for readers that replay none.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::ioctl;

use crate::watchdog::Watchdog;

/// `FIFREEZE` of `linux/fs.h`: `_IOWR('X', 119, int)`.
const FIFREEZE: ioctl::Opcode = ioctl::opcode::read_write::<i32>(b'X', 119);
/// `FITHAW` of `linux/fs.h`: `_IOWR('X', 120, int)`.
pub(crate) const FITHAW: ioctl::Opcode = ioctl::opcode::read_write::<i32>(b'X', 120);
/// `EXT4_IOC_CHECKPOINT` of `linux/ext4.h`: `_IOW('f', 43, __u32)`.
const EXT4_IOC_CHECKPOINT: ioctl::Opcode = ioctl::opcode::write::<u32>(b'f', 43);
/// `EXT4_SUPER_MAGIC` of `linux/magic.h`.
const EXT4_SUPER_MAGIC: i64 = 0xEF53;

/// Writes everything that is in the journal of the ext4 filesystem that `fd` is on
/// to its place, without stopping other writers. Needs root and Linux 5.15.
///
/// # Errors
/// The kernel's answer: `ENOTTY` on another filesystem or an older kernel,
/// `ENODEV` without a journal, `EPERM` without the right.
#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
pub fn checkpoint_ext4(fd: impl AsFd) -> io::Result<()> {
    // Other filesystems may use the same number for something else.
    #[expect(clippy::useless_conversion, reason = "f_type is no i64 on 32-bit")]
    if i64::from(rustix::fs::fstatfs(&fd)?.f_type) != EXT4_SUPER_MAGIC {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    // SAFETY: the call reads one u32 of flags, of which none is set.
    unsafe { ioctl::ioctl(fd, ioctl::Setter::<EXT4_IOC_CHECKPOINT, u32>::new(0)) }?;
    Ok(())
}

/// Freezes the filesystem that `fd` is on, which empties its journal, and thaws it
/// at once. Needs root.
///
/// A filesystem that stays frozen stops the host, so a child process, in a session
/// of its own, thaws it when this process dies in between or takes longer than
/// `limit`. If both are killed in the same instant, a reboot thaws it.
///
/// # Errors
/// The kernel's answer: `EOPNOTSUPP` where the filesystem cannot be frozen,
/// `EBUSY` when somebody else froze it, `EPERM` without the right; or why the
/// child could not be started, and nothing was frozen.
pub fn freeze_and_thaw(fd: impl AsFd, limit: Duration) -> io::Result<()> {
    let watchdog = Watchdog::start(fd.as_fd().as_raw_fd(), limit)?;
    let result = freeze(&fd).and_then(|()| match thaw(&fd) {
        // The watchdog was quicker.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    });
    watchdog.stop();
    result
}

#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
fn freeze(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: FIFREEZE ignores its argument and touches no memory of ours.
    unsafe { ioctl::ioctl(fd, ioctl::NoArg::<FIFREEZE>::new()) }?;
    Ok(())
}

#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
fn thaw(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: FITHAW ignores its argument and touches no memory of ours.
    unsafe { ioctl::ioctl(fd, ioctl::NoArg::<FITHAW>::new()) }?;
    Ok(())
}
