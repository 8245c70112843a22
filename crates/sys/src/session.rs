//! Sessions of their own for new processes.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the process that `command` starts begin a session of its own, so that a
/// terminal that closes does not end it, from its first instant on.
#[expect(unsafe_code, reason = "only between fork and exec is there no gap")]
pub fn new_session(command: &mut Command) {
    let begin = || {
        // Refused only to the leader of a process group, which a child never is.
        let _ = rustix::process::setsid();
        Ok(())
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe {
        command.pre_exec(begin);
    }
}
