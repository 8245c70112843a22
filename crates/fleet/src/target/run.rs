//! Running a program for the deployer.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Answers, Input};
use crate::wire::{Frame, Program, Reply};

/// How long the last output of a program that ended may take: it may have left
/// children that keep the pipe open.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The process group of the program that runs, if it is to end with the
/// connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Current(Arc<Mutex<Option<i32>>>);

impl Current {
    /// The deployer is gone: ends the program.
    pub(super) fn give_up(&self) {
        let group = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kill(group);
    }

    fn set(&self, group: Option<i32>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = group;
    }
}

fn kill(group: Option<i32>) {
    if let Some(pid) = group.and_then(rustix::process::Pid::from_raw) {
        // It may just have ended by itself.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

/// Runs it to its end, or until its time is over.
pub(super) fn run(
    program: &Program,
    arguments: &[String],
    input: Option<&Input>,
    limit_ms: u64,
    answers: &Answers,
    current: &Current,
) -> Reply {
    let started = start(program, arguments, input.is_some());
    let (mut child, name) = match started {
        Ok(started) => started,
        Err(why) => {
            if let Some(input) = input {
                input.drain();
            }
            return Reply::Failed { why };
        }
    };
    let group = i32::try_from(child.id()).ok();
    // What backstop has begun it sees through; it notices by itself that nobody
    // listens any more.
    if *program != Program::Backstop {
        current.set(group);
    }
    let readers = [
        pass_on(child.stdout.take(), answers, Frame::Output),
        pass_on(child.stderr.take(), answers, Frame::Errors),
    ];
    let alarm = Alarm::set(group, Duration::from_millis(limit_ms));
    if let Some(input) = input {
        feed(child.stdin.take(), input);
    }
    let status = child.wait();
    current.set(None);
    let rang = alarm.stop();
    wait_for(readers);
    match status {
        _ if rang => Reply::TooSlow,
        Ok(status) => Reply::Ended { code: code(status) },
        Err(e) => Reply::Failed {
            why: format!("{name}: {e}"),
        },
    }
}

/// A shell's way to tell that a signal ended a program.
fn code(status: ExitStatus) -> Option<i32> {
    status.code().or(status.signal().map(|signal| 128 + signal))
}

fn start(
    program: &Program,
    arguments: &[String],
    has_input: bool,
) -> Result<(Child, String), String> {
    let path = match program {
        Program::Backstop => std::env::current_exe().map_err(|e| e.to_string())?,
        Program::Named(name) => name.into(),
    };
    let name = path.display().to_string();
    let stdin = if has_input {
        Stdio::piped()
    } else {
        Stdio::null()
    };
    let child = Command::new(path)
        .args(arguments)
        .env("PATH", search_path())
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|e| format!("{name}: {e}"))?;
    Ok((child, name))
}

/// Where programs are: an ssh command or sudo may know less than a login.
fn search_path() -> String {
    const MORE: [&str; 5] = [
        "/run/current-system/sw/bin",
        "/nix/var/nix/profiles/default/bin",
        "/usr/sbin",
        "/usr/bin",
        "/bin",
    ];
    let mut path = std::env::var("PATH").unwrap_or_default();
    for dir in MORE {
        if !path.split(':').any(|has| has == dir) {
            path.push(':');
            path.push_str(dir);
        }
    }
    path.trim_start_matches(':').to_owned()
}

/// Gives a program its input. One that reads no more says why by its status.
fn feed(stdin: Option<ChildStdin>, input: &Input) {
    let mut stdin = stdin;
    while let Ok(Some(piece)) = input.piece() {
        if let Some(to) = &mut stdin
            && to.write_all(&piece).is_err()
        {
            stdin = None;
        }
    }
}

fn pass_on(
    from: Option<impl Read + Send + 'static>,
    answers: &Answers,
    frame: fn(Vec<u8>) -> Frame,
) -> Option<(JoinHandle<()>, std::sync::mpsc::Receiver<()>)> {
    let mut from = from?;
    let answers = answers.clone();
    let (tell, ended) = channel();
    let reader = std::thread::spawn(move || {
        // Dropped at the end of the thread, which is what says that it ended.
        let _tell: std::sync::mpsc::Sender<()> = tell;
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            if answers.send(&frame(buffer[..read].to_vec())).is_err() {
                return;
            }
        }
    });
    Some((reader, ended))
}

type Reader = Option<(JoinHandle<()>, std::sync::mpsc::Receiver<()>)>;

fn wait_for(readers: [Reader; 2]) {
    for (reader, ended) in readers.into_iter().flatten() {
        if ended.recv_timeout(LAST_WORDS) == Err(RecvTimeoutError::Disconnected) {
            // A reader does not panic; if it did, its output ends there.
            let _ = reader.join();
        }
    }
}

/// Kills a process group when its time is over.
struct Alarm {
    stop: std::sync::mpsc::Sender<()>,
    thread: JoinHandle<bool>,
}

impl Alarm {
    fn set(group: Option<i32>, limit: Duration) -> Self {
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || {
            let rings = stopped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if rings {
                kill(group);
            }
            rings
        });
        Self { stop, thread }
    }

    /// Whether it rang.
    fn stop(self) -> bool {
        // Gone if it rang.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or(false)
    }
}
