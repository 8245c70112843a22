//! A child process that thaws a filesystem when its parent does not.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use crate::journal::FITHAW;

/// What the child ends with when it has thawed.
const THAWED: i32 = 1;

/// A child that waits for word from this process; without it, it thaws.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pid: libc::pid_t,
    word: PipeWriter,
}

impl Watchdog {
    /// Starts the child, which will thaw the filesystem that `frozen` is on when
    /// this process ends, or after `limit`.
    #[expect(unsafe_code, reason = "fork has no safe wrapper")]
    pub(crate) fn start(frozen: RawFd, limit: Duration) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let limit = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the child calls only async-signal-safe functions, on memory
        // made before the fork, and leaves by _exit.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => watch(&reader, &writer, frozen, limit),
            pid => Ok(Self { pid, word: writer }),
        }
    }

    /// Tells the child that all is well, and waits for it to end.
    pub(crate) fn stop(mut self) {
        // If the child is gone already, there is nobody to tell.
        let _ = self.word.write_all(b".");
        self.abandon();
    }

    /// Leaves without a word, as a process that dies does, and waits for the child to
    /// end; answers whether it thawed.
    #[expect(unsafe_code, reason = "waiting for one child without a Child")]
    pub(crate) fn abandon(self) -> bool {
        drop(self.word);
        let mut status = 0;
        loop {
            // SAFETY: `status` outlives the call; the child is ours.
            let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
            if waited != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == THAWED;
            }
        }
    }
}

/// What the child does.
#[expect(
    unsafe_code,
    reason = "between fork and _exit only plain calls are allowed"
)]
fn watch(reader: &PipeReader, writer: &PipeWriter, frozen: RawFd, limit: i32) -> ! {
    let mut poll = libc::pollfd {
        fd: reader.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut word = 0u8;
    // SAFETY: descriptors are open, pointers are to locals. A signal sent to the
    // parent's session or group does not reach the child; one to it ends the
    // wait, and an early thaw does no harm.
    unsafe {
        libc::setsid();
        libc::close(writer.as_raw_fd());
        libc::poll(&raw mut poll, 1, limit);
        let all_well =
            poll.revents & libc::POLLIN != 0 && libc::read(poll.fd, (&raw mut word).cast(), 1) == 1;
        if !all_well {
            libc::ioctl(frozen, FITHAW as libc::Ioctl, 0);
        }
        libc::_exit(if all_well { 0 } else { THAWED })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// The child's thaw is an ioctl on a plain file here, which changes nothing.
    #[test]
    fn the_child_ends_when_told() {
        let file = File::open("/dev/null").unwrap();
        let started = std::time::Instant::now();
        let watchdog = Watchdog::start(file.as_raw_fd(), Duration::from_secs(60)).unwrap();
        watchdog.stop();
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn the_child_thaws_only_when_not_told() {
        let file = File::open("/dev/null").unwrap();
        let start = || Watchdog::start(file.as_raw_fd(), Duration::from_secs(60)).unwrap();
        assert!(start().abandon());
        let mut told = start();
        told.word.write_all(b".").unwrap();
        assert!(!told.abandon());
    }
}
