//! What comes from a host: lines of the script, then frames; and on standard error, what
//! ssh and sudo say.

use std::io::{BufRead, BufReader, Read};
use std::process::ChildStdout;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, PoisonError};

use crate::wire::Frame;

/// How much a host may print at login before anything of ours.
const NOISE: u64 = 1 << 20;
/// How much of standard error is kept.
const KEPT: usize = 4000;
/// Our sudo's prompt, which nothing else prints.
pub(super) const PROMPT: &str = "backstop-asks-for-the-password:";

/// What came from the host.
pub(super) enum Said {
    /// A line of the script.
    Line(String),
    /// A frame of backstop's.
    Frame(Frame),
    /// sudo asks.
    Prompt,
    /// The connection is gone, and why.
    Gone(String),
}

pub(super) fn keep_end(kept: &mut Vec<u8>, more: &[u8]) {
    kept.extend_from_slice(more);
    let excess = kept.len().saturating_sub(KEPT);
    kept.drain(..excess);
}

/// Reads the script's lines, then frames. Who no longer listens is no concern of
/// this thread, which ends with the connection.
pub(super) fn listen(stdout: ChildStdout, mark: &str, tell: &Sender<Said>) {
    let mut from = BufReader::with_capacity(1 << 16, stdout);
    let why = match lines(&mut from, mark, tell) {
        Ok(true) => frames(&mut from, tell),
        Ok(false) => String::new(),
        Err(e) => e.to_string(),
    };
    let _ = tell.send(Said::Gone(why));
}

/// Answers whether backstop runs now.
fn lines(from: &mut impl BufRead, mark: &str, tell: &Sender<Said>) -> std::io::Result<bool> {
    let mut noise = 0;
    loop {
        let mut line = Vec::new();
        let read = from.by_ref().take(NOISE).read_until(b'\n', &mut line)?;
        noise += read as u64;
        if read == 0 || noise > NOISE {
            return Ok(false);
        }
        let line = String::from_utf8_lossy(&line);
        if let Some((_, said)) = line.split_once(mark) {
            let said = said.trim();
            let _ = tell.send(Said::Line(said.to_owned()));
            if said == "run" {
                return Ok(true);
            }
        }
    }
}

fn frames(from: &mut impl Read, tell: &Sender<Said>) -> String {
    loop {
        match Frame::read(from) {
            Ok(Some(frame)) => {
                let _ = tell.send(Said::Frame(frame));
            }
            Ok(None) => return String::new(),
            Err(e) => return e.to_string(),
        }
    }
}

/// Keeps the end of standard error, and hears sudo ask.
pub(super) fn listen_to_errors(
    mut stderr: impl Read,
    errors: &Mutex<Vec<u8>>,
    tell: &Sender<Said>,
) {
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer) {
        let mut kept = errors.lock().unwrap_or_else(PoisonError::into_inner);
        keep_end(&mut kept, &buffer[..read]);
        let prompt = PROMPT.as_bytes();
        if let Some(at) = kept.windows(prompt.len()).position(|w| w == prompt) {
            kept.drain(at..at + prompt.len());
            let _ = tell.send(Said::Prompt);
        }
    }
}
