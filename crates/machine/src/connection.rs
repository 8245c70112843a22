//! Which connection this process was called over, and since when it is open.
//!
//! A confirmation must show that the new version can still be reached, so it only
//! counts over a connection that was opened after the activation (P9). A process
//! called over SSH has its session's `sshd` among its ancestors, and the kernel
//! knows when that one was started. Multiplexed sessions share one `sshd`, so a
//! connection kept open from before is told apart from a new one.

use std::path::Path;
use std::time::Duration;

/// Ancestors further away than this are not looked at.
const MOST_ANCESTORS: usize = 64;
/// Clock ticks per second in `/proc/PID/stat`, the same on every Linux of today
/// (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// How this process was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// At the machine itself: a console, a timer, a unit.
    Local,
    /// Over SSH; the connection was opened this long after the kernel's start, rounded
    /// down to a clock tick (10 ms).
    Ssh(Duration),
}

/// Finds out how this process was called. What can't be read counts as local:
/// without `/proc` there is no remote session either.
#[must_use]
pub fn connection() -> Connection {
    of_process(Path::new("/proc"), std::process::id())
}

/// What one process says of itself.
struct Stat {
    name: String,
    title: String,
    parent: u32,
    started: Duration,
}

impl Stat {
    /// Whether it is an `sshd` with a connection. The listening one says so in its
    /// title; without a title, it is the one whose parent is init. One that was
    /// started for a single connection has init as its parent, too.
    fn is_session(&self) -> bool {
        let listens = self.title.contains("[listener]");
        let serves = self.title.starts_with("sshd: ") || self.title.starts_with("sshd-session: ");
        self.name.starts_with("sshd") && !listens && (serves || self.parent > 1)
    }
}

/// The outermost `sshd` among the ancestors that is not the listening one.
fn of_process(proc: &Path, pid: u32) -> Connection {
    let mut found = Connection::Local;
    let mut next = pid;
    for _ in 0..MOST_ANCESTORS {
        let Some(stat) = stat(proc, next) else {
            break;
        };
        if stat.is_session() {
            found = Connection::Ssh(stat.started);
        }
        if stat.parent <= 1 {
            break;
        }
        next = stat.parent;
    }
    found
}

/// Reads a process's title, and `/proc/PID/stat`: `PID (name) state ppid …`, the 22nd field being the
/// start time. The name may hold blanks and parentheses.
fn stat(proc: &Path, pid: u32) -> Option<Stat> {
    let process = proc.join(pid.to_string());
    let text = std::fs::read_to_string(process.join("stat")).ok()?;
    let title = std::fs::read(process.join("cmdline")).unwrap_or_default();
    let (head, rest) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks: u64 = fields.get(19)?.parse().ok()?;
    Some(Stat {
        name: name.to_owned(),
        title: String::from_utf8_lossy(&title).into_owned(),
        parent: fields.get(1)?.parse().ok()?,
        started: Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;

    /// Writes a `/proc` with these processes: pid, name, parent, ticks.
    fn proc(processes: &[(u32, &str, u32, u64)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (pid, name, parent, ticks) in processes {
            let own = dir.path().join(pid.to_string());
            std::fs::create_dir(&own).unwrap();
            let text = format!(
                "{pid} ({name}) S {parent} 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0"
            );
            std::fs::write(own.join("stat"), text).unwrap();
        }
        dir
    }

    #[test]
    fn the_table() {
        let listener = (10, "sshd", 1, 500);
        let session = (20, "sshd", 10, 90_000);
        let unprivileged = (21, "sshd", 20, 90_010);
        let shell = (30, "odd) name (sh", 21, 90_020);
        let table: &[(&[_], u32, Connection)] = &[
            (
                &[listener, session, unprivileged, shell],
                30,
                Connection::Ssh(Duration::from_secs(900)),
            ),
            // OpenSSH 9.8 and later name the session's process differently.
            (
                &[listener, (20, "sshd-session", 10, 700), (30, "sh", 20, 800)],
                30,
                Connection::Ssh(Duration::from_secs(7)),
            ),
            (
                &[(5, "systemd-logind", 1, 3), (30, "sh", 5, 4)],
                30,
                Connection::Local,
            ),
            (&[(30, "sh", 1, 4)], 30, Connection::Local),
            (&[], 30, Connection::Local),
        ];
        for (processes, pid, expected) in table {
            let dir = proc(processes);
            assert_eq!(of_process(dir.path(), *pid), *expected, "{processes:?}");
        }
    }

    #[test]
    fn a_title_tells_the_listener_from_a_session() {
        let listener = "sshd: /usr/sbin/sshd -D -f cfg [listener] 0 of 10-100 startups";
        let session = "sshd: root@notty";
        // Who, its title, its parent: the listener may be anybody's child, and a
        // session that systemd accepted has no listener.
        let table = [
            (vec![(10, listener, 7), (20, session, 10)], 9),
            (vec![(20, "sshd: root [priv]", 1)], 9),
        ];
        for (processes, seconds) in table {
            let mut all = vec![(30, "sh", 20, 901)];
            let sshd = |(pid, _, parent): &(u32, &str, u32)| {
                let ticks = if *pid == 20 { 900 } else { 100 };
                (*pid, "sshd", *parent, ticks)
            };
            all.extend(processes.iter().map(sshd));
            let dir = proc(&all);
            for (pid, title, _) in &processes {
                let path = dir.path().join(pid.to_string()).join("cmdline");
                std::fs::write(path, title).unwrap();
            }
            let expected = Connection::Ssh(Duration::from_secs(seconds));
            assert_eq!(of_process(dir.path(), 30), expected, "{processes:?}");
        }
    }

    #[test]
    fn our_own_process_can_be_read() {
        let own = stat(Path::new("/proc"), std::process::id()).unwrap();
        assert!(own.started > Duration::ZERO);
    }
}
