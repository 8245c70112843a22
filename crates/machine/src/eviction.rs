//! Stopping a process that holds a lock and hangs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::{MachineError, Result};

/// Kills the processes that hold a `flock` on `file`. The kernel lets go of the
/// lock when they are gone.
///
/// # Errors
/// The kernel's list of locks can't be read, or a process can't be killed.
pub fn evict(file: &Path) -> Result<()> {
    let failed = |doing, path: &Path, source| MachineError::File {
        doing,
        path: path.to_owned(),
        source,
    };
    let inode = std::fs::metadata(file)
        .map_err(|e| failed("look at", file, e))?
        .ino();
    let list = Path::new("/proc/locks");
    let locks = std::fs::read_to_string(list).map_err(|e| failed("read", list, e))?;
    for pid in holders(&locks, inode) {
        if let Some(pid) = Pid::from_raw(pid) {
            kill_process(pid, Signal::KILL)
                .map_err(|e| failed("stop the process that holds", file, e.into()))?;
        }
    }
    Ok(())
}

/// The processes with a `flock` on an inode, from the text of `/proc/locks`:
/// `1: FLOCK  ADVISORY  WRITE 123 fe:00:4567 0 EOF`. A line with `->` waits.
fn holders(locks: &str, inode: u64) -> Vec<i32> {
    let holder = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, place, ..] = fields.as_slice() else {
            return None;
        };
        let (_, found) = place.rsplit_once(':')?;
        (found.parse::<u64>().ok()? == inode).then_some(())?;
        pid.parse().ok().filter(|pid| *pid > 1)
    };
    locks.lines().filter_map(holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock() {
        let locks = "1: POSIX  ADVISORY  WRITE 77 fe:00:4567 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 123 fe:00:4567 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 124 fe:00:4567 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 125 fe:00:14567 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE -1 fe:00:4567 0 EOF\n";
        assert_eq!(holders(locks, 4567), [123]);
        assert_eq!(holders(locks, 1), Vec::<i32>::new());
    }

    #[test]
    fn a_hanging_holder_is_stopped() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let script = format!(
            "exec 9<{0}; flock -x 9; echo held; exec sleep 60",
            file.path().display()
        );
        let mut child = std::process::Command::new("sh")
            .args(["-c", &script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = [0; 5];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        evict(file.path()).unwrap();
        assert!(!child.wait().unwrap().success());
        assert!(file.as_file().try_lock().is_ok());
    }
}
