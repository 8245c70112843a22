//! Programs on the deployer's machine.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// No more of a program's answer is taken.
const LONGEST: u64 = 256 << 20;
/// How much of what a program says on standard error is kept.
const KEPT: usize = 4000;

/// Runs `nix` with flakes switched on, and gives what it printed.
///
/// # Errors
/// It is not installed, says no, or takes too long.
pub fn nix(doing: &str, words: &[&str], limit: Duration) -> Result<String> {
    let mut command = Command::new("nix");
    command.args(["--extra-experimental-features", "nix-command flakes"]);
    command.args(words);
    run(doing, command, limit)
}

/// Runs a program to its end and gives what it printed. At the end of `limit` it
/// is killed with everything that it started.
///
/// # Errors
/// It can't be started, fails, or takes too long.
pub fn run(doing: &str, command: Command, limit: Duration) -> Result<String> {
    let bytes = run_bytes(doing, command, limit)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// As [`run`], for what may be no text.
///
/// # Errors
/// As [`run`].
pub fn run_bytes(doing: &str, mut command: Command, limit: Duration) -> Result<Vec<u8>> {
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut running = Running::start(doing, &mut command)?;
    let stdout = running.child.stdout.take();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.map_or(Ok(0), |out| out.take(LONGEST + 1).read_to_end(&mut bytes));
        // Who no longer waits has killed the program.
        let _ = tell.send(read.map(|_| bytes));
    });
    let too_slow = || Error::TooSlow {
        what: format!("to {doing}"),
        limit,
    };
    let bytes = match told.recv_timeout(limit) {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(e)) => return Err(failed(doing, &e.to_string())),
        Err(RecvTimeoutError::Timeout) => return Err(too_slow()),
        Err(RecvTimeoutError::Disconnected) => return Err(failed(doing, "its output is gone")),
    };
    if bytes.len() as u64 > LONGEST {
        return Err(failed(
            doing,
            &format!("it printed more than {LONGEST} bytes"),
        ));
    }
    running.finish(limit.saturating_sub(started.elapsed()))?;
    Ok(bytes)
}

fn failed(doing: &str, why: &str) -> Error {
    Error::Program {
        doing: doing.to_owned(),
        why: why.to_owned(),
    }
}

/// A program that runs; killed with its group if it is dropped before its end.
#[derive(Debug)]
pub struct Running {
    doing: String,
    /// The process.
    pub child: Child,
    errors: std::thread::JoinHandle<String>,
    ended: bool,
}

impl Running {
    /// Starts a program in a process group of its own, so that Ctrl-C here does
    /// not end it before its host is settled.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start(doing: &str, command: &mut Command) -> Result<Self> {
        let program = command.get_program().to_string_lossy().into_owned();
        command.stderr(Stdio::piped()).process_group(0);
        let mut child = command
            .spawn()
            .map_err(|e| failed(doing, &format!("`{program}`: {e}")))?;
        let stderr = child.stderr.take();
        let errors = std::thread::spawn(move || tail(stderr));
        Ok(Self {
            doing: doing.to_owned(),
            child,
            errors,
            ended: false,
        })
    }

    /// Waits for its end, which must be a success.
    ///
    /// # Errors
    /// It fails, or takes too long.
    pub fn finish(mut self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < until => std::thread::sleep(pause),
                Ok(None) => {
                    return Err(Error::TooSlow {
                        what: format!("to {}", self.doing),
                        limit,
                    });
                }
                Err(e) => return Err(failed(&self.doing, &e.to_string())),
            }
            pause = (pause * 2).min(Duration::from_millis(50));
        };
        self.ended = true;
        if status.success() {
            return Ok(());
        }
        let said = self.said();
        let why = if said.is_empty() {
            status.to_string()
        } else {
            said
        };
        Err(failed(&self.doing, &why))
    }

    /// The end of what it said on standard error, in one line.
    fn said(&mut self) -> String {
        let errors = std::mem::replace(&mut self.errors, std::thread::spawn(String::new));
        one_line(&errors.join().unwrap_or_default())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        kill_group(&mut self.child);
    }
}

/// Kills a child that leads a process group, with the group.
pub(crate) fn kill_group(child: &mut Child) {
    let group = i32::try_from(child.id()).ok();
    if let Some(pid) = group.and_then(rustix::process::Pid::from_raw) {
        // It may just have ended by itself.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    let _ = child.wait();
}

/// The end of a stream.
fn tail(stream: Option<impl Read>) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    let Some(mut stream) = stream else {
        return String::new();
    };
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        let excess = kept.len().saturating_sub(KEPT);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// The last lines of a text as one line, without what a terminal would obey.
pub(crate) fn one_line(text: &str) -> String {
    let clean = |line: &str| -> String { line.chars().filter(|c| !c.is_control()).collect() };
    let lines: Vec<String> = text
        .lines()
        .map(|line| clean(line).trim().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(4)..].join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(line: &str, limit: Duration) -> Result<String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]);
        run("try", command, limit)
    }

    #[test]
    fn programs_answer_fail_and_are_cut_off() {
        let long = Duration::from_secs(30);
        assert_eq!(sh("echo yes; echo no >&2", long).unwrap(), "yes\n");
        let error = sh("echo a; echo why not >&2; exit 3", long).unwrap_err();
        assert_eq!(error.to_string(), "cannot try: why not");
        let started = Instant::now();
        let error = sh("sleep 100 & sleep 100", Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, Error::TooSlow { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
        let gone = run("find it", Command::new("/nonexistent"), long).unwrap_err();
        assert!(gone.to_string().contains("/nonexistent"), "{gone}");
    }

    #[test]
    fn what_a_program_says_becomes_one_clean_line() {
        assert_eq!(one_line("a\n\n b\x1b[31m\n"), "a; b[31m");
        assert_eq!(one_line("1\n2\n3\n4\n5\n6"), "3; 4; 5; 6");
    }
}
