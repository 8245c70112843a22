//! The processes of a machine that no service manager runs, told by their
//! environment.

use std::fmt::Display;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Every process of the machine carries the machine's name in this variable.
pub const MACHINE: &str = "BACKSTOP_MACHINE";
/// A job's name, besides.
pub const JOB: &str = "BACKSTOP_JOB";

/// How long a job waits before it begins, in milliseconds.
pub const WAIT_MS: &str = "BACKSTOP_WAIT_MS";

/// To be called first by a job: leaves the session of whoever started it, so that
/// a closed terminal does not end it, and waits as long as it was told to.
pub fn begin_job() {
    // Refused to the leader of a session, which has left already.
    let _ = rustix::process::setsid();
    let wait = std::env::var(WAIT_MS).ok().and_then(|ms| ms.parse().ok());
    if let Some(ms) = wait {
        std::thread::sleep(Duration::from_millis(ms));
    }
}

/// How long a process may take to end when asked.
const GRACE: Duration = Duration::from_millis(400);

/// Makes `command` a process of the machine, without a terminal, with its output
/// going to `log`.
///
/// # Errors
/// The log can't be opened.
pub fn adopt(command: &mut Command, machine: impl Display, log: &Path) -> io::Result<()> {
    command
        .env(MACHINE, machine.to_string())
        .stdin(Stdio::null());
    output_to(command, log)
}

/// Lets `command` add what it prints to `log`.
///
/// # Errors
/// The log can't be opened.
pub fn output_to(command: &mut Command, log: &Path) -> io::Result<()> {
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)?;
    command.stdout(log.try_clone()?).stderr(log);
    Ok(())
}

/// Which of the machine's processes.
#[derive(Debug, Clone, Copy)]
pub enum Which<'a> {
    /// Everything.
    All,
    /// What deployments run: all but the jobs.
    Services,
    /// Jobs whose names begin so, but not this one.
    Jobs {
        /// How their names begin.
        prefix: &'a str,
        /// But not this one.
        except: Option<&'a str>,
    },
}

impl Which<'_> {
    fn includes(self, environment: &[u8]) -> bool {
        let variable = format!("{JOB}=").into_bytes();
        let mut variables = environment.split(|b| *b == 0);
        let job = variables.find_map(|v| v.strip_prefix(variable.as_slice()));
        match self {
            Self::All => true,
            Self::Services => job.is_none(),
            Self::Jobs { prefix, except } => job.is_some_and(|job| {
                job.starts_with(prefix.as_bytes()) && except.is_none_or(|e| e.as_bytes() != job)
            }),
        }
    }
}

/// The machine's processes of that kind, without this one.
fn find(machine: impl Display, which: Which<'_>) -> Vec<Pid> {
    let mine = format!("{MACHINE}={machine}").into_bytes();
    let own = std::process::id();
    // A process that ends while we look is no process any more.
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| *pid != own)
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|b| *b == 0).any(|v| v == mine) && which.includes(&environment)
        })
        .filter_map(|pid| Pid::from_raw(pid.try_into().ok()?))
        .collect()
}

/// Whether a job whose name begins so waits or runs.
#[must_use]
pub fn is_running(machine: impl Display, prefix: &str) -> bool {
    let except = None;
    !find(machine, Which::Jobs { prefix, except }).is_empty()
}

/// Ends processes: asked first, unless `at_once`, then killed.
pub fn stop(machine: impl Display, which: Which<'_>, at_once: bool) {
    let signal = |signal| {
        for pid in find(&machine, which) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
    };
    let until = Instant::now() + GRACE;
    if !at_once {
        signal(Signal::TERM);
        while Instant::now() < until && !find(&machine, which).is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    // A process may start another one while it is being killed.
    for _ in 0..20 {
        signal(Signal::KILL);
        if find(&machine, which).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
