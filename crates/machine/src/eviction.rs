//! Stopping a process that holds a lock and hangs.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::{MachineError, Result};

/// Kills the processes that hold a lock of an open file on `file` (`durable` takes
/// `F_OFD_SETLK`, others `flock`), but not this one. The
/// kernel lets go of the lock when they are gone.
///
/// # Errors
/// The list of processes can't be read, or one can't be killed.
pub fn evict(file: &Path) -> Result<()> {
    let failed = |doing, path: &Path, source| MachineError::File {
        doing,
        path: path.to_owned(),
        source,
    };
    let held = std::fs::metadata(file).map_err(|e| failed("look at", file, e))?;
    let list = Path::new("/proc");
    let processes = std::fs::read_dir(list).map_err(|e| failed("read", list, e))?;
    let own = i32::try_from(std::process::id()).ok();
    for process in processes.flatten() {
        let number = process.file_name().to_str().and_then(|n| n.parse().ok());
        let Some(pid) = number.filter(|pid| *pid > 1 && Some(*pid) != own) else {
            continue;
        };
        let Some(holder) = Pid::from_raw(pid).filter(|_| holds(&process.path(), &held)) else {
            continue;
        };
        match kill_process(holder, Signal::KILL) {
            // It ended by itself meanwhile.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(e) => return Err(failed("stop the process that holds", file, e.into())),
        }
    }
    Ok(())
}

/// Whether the process of this directory in `/proc` has a lock on this very
/// file. `/proc/locks` would not do: an inode's number there may be that of a
/// file on another filesystem, and the process may have passed the lock on.
fn holds(process: &Path, file: &Metadata) -> bool {
    let Ok(open) = std::fs::read_dir(process.join("fd")) else {
        return false;
    };
    let same = |m: Metadata| (m.dev(), m.ino()) == (file.dev(), file.ino());
    let locked = |fd: std::fs::DirEntry| {
        let info = process.join("fdinfo").join(fd.file_name());
        std::fs::metadata(fd.path()).is_ok_and(same)
            && std::fs::read_to_string(info).is_ok_and(|info| has_lock(&info))
    };
    open.flatten().any(locked)
}

/// Whether a file's `fdinfo` tells of a lock that is the open file's, not the process's:
/// `lock: 1: OFDLCK ADVISORY …`.
fn has_lock(info: &str) -> bool {
    let kind = |line: &str| matches!(line.split_whitespace().nth(2), Some("FLOCK" | "OFDLCK"));
    info.lines()
        .any(|line| line.starts_with("lock:") && kind(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    use durable::{Fs, LockMode};

    /// A process that opens a file, does this, and stays.
    fn holder(file: &Path, what: &str) -> Child {
        let script = format!(
            "exec 9<{}; {what}; echo ready; exec sleep 60",
            file.display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        child
    }

    #[test]
    fn a_lock_is_told_from_none() {
        let info = "pos:\t0\nflags:\t02100001\nmnt_id:\t29\n";
        let with = |kind: &str| {
            let lock = format!("lock:\t1: {kind} ADVISORY  WRITE -1 fe:00:4567 0 EOF\n");
            has_lock(&format!("{info}{lock}"))
        };
        assert!(!has_lock(info) && !with("POSIX"));
        assert!(with("FLOCK ") && with("OFDLCK"));
    }

    /// The deadman could not stop a worker that hung: it looked for `flock` only, and
    /// `durable` had come to take locks of another kind.
    #[test]
    fn the_locks_that_durable_takes_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = durable::RealFs.lock(&path, LockMode::Exclusive).unwrap();
        let file = std::fs::metadata(&path).unwrap();
        assert!(holds(Path::new("/proc/self"), &file));
        drop(lock);
        assert!(!holds(Path::new("/proc/self"), &file));
    }

    #[test]
    fn only_the_holder_is_stopped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut reader = holder(file.path(), "true");
        // `flock` ends: the lock is the shell's from then on.
        let mut hanging = holder(file.path(), "flock -x 9");
        let taken = file.as_file().try_lock().is_err();
        evict(file.path()).unwrap();
        let lives = reader.try_wait().unwrap().is_none();
        // Only then, so that nothing is left behind when one of these fails.
        let _ = reader.kill();
        assert!(taken && lives);
        assert!(!hanging.wait().unwrap().success());
        assert!(file.as_file().try_lock().is_ok());
        reader.wait().unwrap();
    }
}
