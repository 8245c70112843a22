//! The few kernel calls that need `unsafe`: everything else in the workspace forbids it.

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl;

/// `FIFREEZE` of `linux/fs.h`: `_IOWR('X', 119, int)`.
const FIFREEZE: ioctl::Opcode = ioctl::opcode::read_write::<i32>(b'X', 119);
/// `FITHAW` of `linux/fs.h`: `_IOWR('X', 120, int)`.
const FITHAW: ioctl::Opcode = ioctl::opcode::read_write::<i32>(b'X', 120);

/// Suspends writes to the filesystem that `fd` is on, after its journal has been
/// checkpointed, so that a reader that replays no journal (GRUB) sees everything
/// written so far. Needs root.
///
/// # Errors
/// The kernel's answer: `EOPNOTSUPP` where the filesystem cannot be frozen,
/// `EBUSY` when it is frozen already, `EPERM` without the right.
#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
pub fn freeze(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: FIFREEZE ignores its argument and touches no memory of ours.
    unsafe { ioctl::ioctl(fd, ioctl::NoArg::<FIFREEZE>::new()) }?;
    Ok(())
}

/// Lets writes through again after [`freeze`].
///
/// # Errors
/// The kernel's answer: `EINVAL` when the filesystem is not frozen.
#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
pub fn thaw(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: FITHAW ignores its argument and touches no memory of ours.
    unsafe { ioctl::ioctl(fd, ioctl::NoArg::<FITHAW>::new()) }?;
    Ok(())
}
