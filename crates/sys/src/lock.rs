//! Locks on open file descriptions.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Locks a whole file for the open file description of `fd` (`F_OFD_SETLK`): the
/// lock that `ostree` takes, and that ends with the description. The file must
/// be open for writing to be locked exclusively, for reading to be shared.
///
/// Without `wait`, answers `false` when somebody else holds it.
///
/// # Errors
/// The kernel's answer.
#[expect(unsafe_code, reason = "rustix has no locks of open file descriptions")]
pub fn lock_description(fd: impl AsFd, exclusive: bool, wait: bool) -> io::Result<bool> {
    let kind = if exclusive {
        libc::F_WRLCK
    } else {
        libc::F_RDLCK
    };
    // SAFETY: `flock` is plain data for which zeros are valid: start and length
    // 0, which is the whole file, and a process id of 0, as the call demands.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    let command = if wait {
        libc::F_OFD_SETLKW
    } else {
        libc::F_OFD_SETLK
    };
    loop {
        // SAFETY: the descriptor is borrowed for the call, and the pointer is
        // to a `flock` of ours.
        let done = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), command, &raw const range) };
        if done == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN | libc::EACCES) if !wait => return Ok(false),
            _ => return Err(error),
        }
    }
}
