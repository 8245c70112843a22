//! Running programs for a bounded time, with bounded output.

use std::fmt;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use machine::processes;

use crate::error::{Error, Result, file};
use crate::layout::Layout;

/// Where programs are, besides where this process looks: a timer's unit gets little
/// of that.
pub(crate) const PROGRAMS: &str = "/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:\
                        /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// No answer of a program is longer.
const LONGEST: u64 = 64 << 20;
/// No log of a program is longer: it is begun anew.
const LONGEST_LOG: u64 = 16 << 20;
/// How soon, and how late at most, a program's end is noticed.
const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// What is kept of a log: its end, where the error usually is.
const KEPT: u64 = 8192;

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this exit status.
    Status(i32),
    /// Killed by this signal.
    Signal(i32),
    /// Not within this time, so it was killed.
    TimedOut(Duration),
    /// It could not be started.
    NotStarted(String),
}

impl Ended {
    pub(crate) fn well(&self) -> bool {
        *self == Self::Status(0)
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Status(code),
            (None, signal) => Self::Signal(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "ended with status {code}"),
            Self::Signal(signal) => write!(f, "was killed by signal {signal}"),
            Self::TimedOut(time) => write!(f, "did not end within {} s", time.as_secs()),
            Self::NotStarted(why) => write!(f, "could not be started: {why}"),
        }
    }
}

/// How a program ended, and the end of what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub ended: Ended,
    pub output: String,
}

/// Where programs are looked for.
fn search_path() -> String {
    match std::env::var("PATH") {
        Ok(own) if !own.is_empty() => format!("{own}:{PROGRAMS}"),
        _ => PROGRAMS.to_owned(),
    }
}

/// Where a program is, if it is there.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = search_path();
    let places = path.split(':').map(|dir| Path::new(dir).join(name));
    places.into_iter().find(|place| place.is_file())
}

/// A program that works on the host with this layout. What tells backstop's own
/// jobs apart is not passed on to it.
pub(crate) fn command(layout: &Layout, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env("PATH", search_path())
        .env("BACKSTOP_ROOT", layout.root())
        .env_remove(processes::JOB)
        .env_remove(processes::MACHINE)
        .env_remove(processes::WAIT_MS)
        .current_dir("/")
        .stdin(Stdio::null())
        .process_group(0);
    if !layout.is_running_system() {
        let state = layout.state();
        command
            .env("NIX_REMOTE", "local")
            .env("NIX_STORE_DIR", layout.store())
            .env("NIX_LOG_DIR", layout.root().join("nix/var/log/nix"))
            .env("NIX_LOCALSTATE_DIR", layout.root().join("nix/var"))
            .env("NIX_STATE_DIR", state);
    }
    command
}

/// One of the commands of the new `nix`, of which some are still experiments.
pub(crate) fn nix(layout: &Layout, arguments: &[&str]) -> Command {
    let mut command = command(layout, "nix");
    command
        .args(["--extra-experimental-features", "nix-command flakes"])
        .args(arguments);
    command
}

/// Runs a program and answers with what it printed on standard output. `doing`
/// says what for.
pub(crate) fn ask(doing: &str, mut command: Command, limit: Duration) -> Result<String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let (ended, out, err) = match command.spawn() {
        Ok(mut child) => {
            let out = drain(child.stdout.take(), LONGEST);
            let err = drain(child.stderr.take(), LONGEST);
            let ended = wait(&mut child, limit, || {});
            (ended, collect(&out), collect(&err))
        }
        Err(e) => (Ended::NotStarted(e.to_string()), Vec::new(), Vec::new()),
    };
    if ended.well() {
        return Ok(String::from_utf8_lossy(&out).into_owned());
    }
    let from = err.len().saturating_sub(KEPT as usize);
    Err(failed(doing, &command, ended, clean(&err[from..])))
}

/// Runs a program that prints to `log`, a file: it must not end because whoever
/// started it did. `started` is told its process group, which is that of its
/// children, too.
pub(crate) fn run_logged(
    mut command: Command,
    log: &Path,
    limit: Duration,
    started: impl FnOnce(u32) -> Result<()>,
) -> Result<Ran> {
    // Each run begins its log anew, but through the same file: what a run before
    // left behind may still hold it.
    let open = |append| {
        let mut options = std::fs::OpenOptions::new();
        options.create(true).append(append).write(true);
        options.truncate(!append).open(log)
    };
    open(false).map_err(file("write", log))?;
    let output = open(true).map_err(file("write", log))?;
    let errors = output.try_clone().map_err(file("write", log))?;
    command.stdout(output).stderr(errors);
    let ended = match command.spawn() {
        Ok(mut child) => {
            if let Err(e) = started(child.id()) {
                kill(&mut child);
                return Err(e);
            }
            wait(&mut child, limit, || cut_if_too_long(log))
        }
        Err(e) => Ended::NotStarted(e.to_string()),
    };
    let output = tail(log);
    Ok(Ran { ended, output })
}

/// Runs a program that prints to `log`; anything but success is an error.
pub(crate) fn run(doing: &str, command: Command, log: &Path, limit: Duration) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = run_logged(command, log, limit, |_| Ok(()))?;
    if ran.ended.well() {
        return Ok(ran.output);
    }
    Err(Error::Program {
        doing: doing.to_owned(),
        program,
        ended: ran.ended,
        output: ran.output,
    })
}

fn failed(doing: &str, command: &Command, ended: Ended, output: String) -> Error {
    Error::Program {
        doing: doing.to_owned(),
        program: command.get_program().to_string_lossy().into_owned(),
        ended,
        output,
    }
}

/// Waits for the end; when the time is over, kills the whole process group.
fn wait(child: &mut Child, limit: Duration, meanwhile: impl Fn()) -> Ended {
    let started = Instant::now();
    loop {
        // Hardly later than it took anyway.
        let pause = (started.elapsed() / 10).clamp(SHORTEST, LONGEST_PAUSE);
        match child.try_wait() {
            Ok(Some(status)) => return status.into(),
            Ok(None) if started.elapsed() < limit => {
                meanwhile();
                std::thread::sleep(pause);
            }
            _ => {
                kill(child);
                return Ended::TimedOut(limit);
            }
        }
    }
}

/// Kills the whole process group, and waits for its leader.
fn kill(child: &mut Child) {
    kill_group(child.id());
    let _ = child.wait();
}

/// Kills a process group, if there is one of that number.
pub(crate) fn kill_group(group: u32) {
    let group = i32::try_from(group).ok().filter(|group| *group > 1);
    if let Some(group) = group.and_then(rustix::process::Pid::from_raw) {
        // It may just have ended by itself.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

/// A file that only grows would fill the disk.
fn cut_if_too_long(log: &Path) {
    let too_long = std::fs::metadata(log).is_ok_and(|m| m.len() > LONGEST_LOG);
    if too_long && let Ok(log) = std::fs::OpenOptions::new().write(true).open(log) {
        // Who writes appends, so goes on at the new end.
        let _ = log.set_len(0);
    }
}

/// The end of a log, with nothing in it that a terminal would obey.
fn tail(log: &Path) -> String {
    use std::io::Seek;
    let read = || {
        let mut log = std::fs::File::open(log)?;
        let from = log.metadata()?.len().saturating_sub(KEPT);
        log.seek(std::io::SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        log.take(KEPT).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    // The program's end counts, not what it printed.
    clean(&read().unwrap_or_default())
}

/// Printed text with nothing in it that a terminal would obey.
fn clean(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    text.retain(|c| c == '\n' || c == '\t' || !c.is_control());
    text.trim_end().to_owned()
}

/// What comes through a pipe, read on a thread of its own.
fn drain(pipe: Option<impl Read + Send + 'static>, limit: u64) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(pipe) = pipe {
            let _ = pipe.take(limit).read_to_end(&mut bytes);
        }
        let _ = tell.send(bytes);
    });
    told
}

/// All that came. A program that left its process group may hold a pipe for ever.
fn collect(pipe: &Receiver<Vec<u8>>) -> Vec<u8> {
    pipe.recv_timeout(Duration::from_secs(2))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(line: &str) -> Command {
        let mut command = command(&Layout::new(Path::new("/")), "/bin/sh");
        command.args(["-c", line]);
        command
    }

    #[test]
    fn ends_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let second = Duration::from_secs(20);
        let table = [
            ("echo out; echo err >&2", Ended::Status(0), "out\nerr"),
            ("printf 'a\\033[31mb'; exit 4", Ended::Status(4), "a[31mb"),
            ("kill -9 $$", Ended::Signal(9), ""),
        ];
        for (line, ended, output) in table {
            let ran = run_logged(sh(line), &log, second, |_| Ok(())).unwrap();
            assert_eq!((ran.ended, ran.output.as_str()), (ended, output), "{line}");
        }
        let missing = command(&Layout::new(Path::new("/")), "/no/such/program");
        let ran = run_logged(missing, &log, second, |_| Ok(())).unwrap();
        assert!(matches!(ran.ended, Ended::NotStarted(_)));
    }

    #[test]
    fn what_hangs_is_killed_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let started = Instant::now();
        let limit = Duration::from_millis(300);
        let line = "sleep 1000 & echo $!; wait";
        let ran = run_logged(sh(line), &log, limit, |_| Ok(())).unwrap();
        assert_eq!(ran.ended, Ended::TimedOut(limit));
        let child = format!("/proc/{}/stat", ran.output);
        let gone = || {
            let stat = std::fs::read_to_string(&child).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z")
        };
        while !gone() {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn answers_and_their_errors() {
        let limit = Duration::from_secs(20);
        assert_eq!(ask("ask", sh("echo 1; echo 2 >&2"), limit).unwrap(), "1\n");
        let failed = ask("ask", sh("echo no >&2; exit 3"), limit).unwrap_err();
        let text = failed.to_string();
        assert_eq!(text, "cannot ask: /bin/sh ended with status 3 (no)");
    }
}
