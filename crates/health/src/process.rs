//! Running a program for a bounded time, with bounded output.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::report::Status;

/// What is kept of a program's output: its end, where the error usually is.
const KEPT: usize = 4096;
/// How soon, and how late at most, a program's end is noticed.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How a program ended, and what it printed last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub status: Status,
    pub output: String,
    /// Whether it stays so unless somebody does something.
    pub lasting: bool,
}

impl Ran {
    pub fn new(status: Status, output: String) -> Self {
        let lasting = false;
        Self {
            status,
            output,
            lasting,
        }
    }
}

/// Runs a program. At the end of `timeout` it is killed with everything it
/// started, as far as that stayed in its process group.
pub(crate) fn run(mut command: Command, timeout: Duration) -> Ran {
    let started = Instant::now();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => {
            let program = command.get_program().to_string_lossy().into_owned();
            let why = format!("cannot start {program}: {e}");
            return Ran::new(Status::Broken { why }, String::new());
        }
    };
    let out = tail_of(child.stdout.take());
    let err = tail_of(child.stderr.take());
    let status = match wait(&mut child, started, timeout) {
        Some(status) => judge(status),
        None => {
            kill(&mut child);
            let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            Status::TimedOut { after_ms }
        }
    };
    Ran::new(status, text(&collect(&out), &collect(&err)))
}

/// Waits for the end, as long as there is time.
fn wait(child: &mut Child, started: Instant, timeout: Duration) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if started.elapsed() < timeout => {
                // Hardly later than it took anyway.
                std::thread::sleep((started.elapsed() / 10).clamp(SHORTEST, LONGEST_PAUSE));
            }
            _ => return None,
        }
    }
}

/// Kills the whole process group, and waits for its leader.
fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok();
    if let Some(pid) = group.and_then(rustix::process::Pid::from_raw) {
        // It may just have ended by itself.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

fn judge(status: ExitStatus) -> Status {
    let why = match (status.code(), status.signal()) {
        (Some(0), _) => return Status::Passed,
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    };
    Status::Failed { why }
}

/// The end of what comes through a pipe, read on a thread of its own.
struct Tail {
    bytes: Arc<Mutex<Vec<u8>>>,
    ended: Receiver<()>,
}

fn tail_of(pipe: Option<impl Read + Send + 'static>) -> Tail {
    let (tell, ended) = channel::<()>();
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&bytes);
    std::thread::spawn(move || {
        // Dropped at the end of the thread, which is what says that it ended.
        let _tell = tell;
        let mut buffer = [0; KEPT];
        let Some(mut pipe) = pipe else { return };
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let mut tail = shared.lock().unwrap_or_else(|e| e.into_inner());
            tail.extend_from_slice(&buffer[..read]);
            let excess = tail.len().saturating_sub(KEPT);
            tail.drain(..excess);
        }
    });
    Tail { bytes, ended }
}

/// All of a tail if the pipe ends soon. It may never end: a program that left
/// the process group keeps it open.
fn collect(tail: &Tail) -> Vec<u8> {
    let _ = tail.ended.recv_timeout(Duration::from_millis(200));
    let bytes = tail.bytes.lock().unwrap_or_else(|e| e.into_inner());
    bytes.clone()
}

/// Both outputs as one text, with nothing in it that a terminal would obey.
fn text(out: &[u8], err: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(out).into_owned();
    if !text.is_empty() && !text.ends_with('\n') && !err.is_empty() {
        text.push('\n');
    }
    text.push_str(&String::from_utf8_lossy(err));
    text.retain(|c| c == '\n' || c == '\t' || !c.is_control());
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(line: &str, timeout: Duration) -> Ran {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        run(command, timeout)
    }

    #[test]
    fn programs_are_judged_by_their_end() {
        let long = Duration::from_secs(20);
        let failed = |why: &str| Status::Failed {
            why: why.to_owned(),
        };
        let table = [
            ("exit 0", Status::Passed),
            ("exit 3", failed("ended with status 3")),
            ("kill -9 $$", failed("killed by signal 9")),
        ];
        for (line, status) in table {
            assert_eq!(sh(line, long).status, status, "{line}");
        }
    }

    #[test]
    fn the_end_of_the_output_is_kept_and_cleaned() {
        let ran = sh(
            "seq 1 20000; printf 'last \\033[31mline' >&2; exit 1",
            Duration::from_secs(20),
        );
        assert!(ran.output.len() <= 2 * KEPT);
        assert!(
            ran.output.ends_with("20000\nlast [31mline"),
            "{}",
            ran.output
        );
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let started = Instant::now();
        let ran = sh("sleep 1000 & echo $!; wait", Duration::from_millis(300));
        assert_eq!(ran.status, Status::TimedOut { after_ms: 300 });
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid: i32 = ran.output.trim().parse().unwrap();
        // Gone, or a zombie that nobody has collected yet; the kernel may take
        // an instant for it.
        let gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z")
        };
        while !gone() {
            assert!(started.elapsed() < Duration::from_secs(20), "{pid} lives");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_leaves_its_group_does_not_hold_up_the_check() {
        let started = Instant::now();
        let ran = sh("setsid sleep 5 & echo said", Duration::from_secs(20));
        assert_eq!(ran.status, Status::Passed);
        assert_eq!(ran.output, "said");
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn a_missing_program_is_broken_not_failed() {
        let ran = run(Command::new("/nonexistent"), Duration::from_secs(1));
        assert!(matches!(ran.status, Status::Broken { .. }), "{ran:?}");
    }
}
