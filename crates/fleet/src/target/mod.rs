//! The host's end of a connection: `backstop target`.
//!
//! It runs only as long as the connection is open, and decides nothing: it runs
//! programs, takes files, and tells what came of it. What sees a version through
//! its trial is a job of its own.

mod image;
mod key;
mod programs;
mod run;

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use durable::Fs;

use crate::wire::{Frame, Hello, PROTOCOL, Reply, Request};

/// So many frames may wait to be taken; more are not read.
const WAITING: usize = 16;

/// Why the host's end gave up.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The connection.
    #[error("the connection to the deployer is of no use")]
    Connection(#[from] std::io::Error),
    /// What it sent.
    #[error("the deployer sent something that makes no sense: {0}")]
    Nonsense(String),
}

/// What is shared by all that answers to the deployer.
#[derive(Clone)]
pub(crate) struct Answers(Arc<Mutex<Box<dyn Write + Send>>>);

impl Answers {
    /// Sends a frame at once.
    pub(crate) fn send(&self, frame: &Frame) -> std::io::Result<()> {
        let mut to = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame.write(&mut **to)?;
        to.flush()
    }
}

/// The deployer's frames as they come; over when it is gone.
pub(crate) struct Input(Receiver<Frame>);

impl Input {
    /// The next piece of announced data; `None` at its end.
    fn piece(&self) -> std::io::Result<Option<Vec<u8>>> {
        match self.0.recv() {
            Ok(Frame::Input(bytes)) => Ok(Some(bytes)),
            Ok(Frame::EndOfInput) => Ok(None),
            Ok(_) => Err(std::io::Error::other(
                "data was announced, and something else came",
            )),
            Err(_) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// All of the announced data, at most so much.
    fn all(&self, limit: usize) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut too_long = false;
        while let Some(piece) = self.piece()? {
            too_long |= all.len() + piece.len() > limit;
            if !too_long {
                all.extend(piece);
            }
        }
        if too_long {
            return Err(std::io::Error::other(format!("more than {limit} bytes")));
        }
        Ok(all)
    }

    /// Takes what is left of the announced data.
    fn drain(&self) {
        while let Ok(Some(_)) = self.piece() {}
    }
}

/// Serves one deployer until it is gone.
///
/// # Errors
/// The connection breaks, or what comes over it makes no sense.
pub fn serve(
    fs: &Arc<dyn Fs>,
    mut input: impl Read + Send + 'static,
    output: Box<dyn Write + Send>,
) -> Result<(), ServeError> {
    let answers = Answers(Arc::new(Mutex::new(output)));
    programs::tidy(&**fs);
    answers.send(&Frame::message(&hello())?)?;
    let current = run::Current::default();
    let (tell, frames) = sync_channel(WAITING);
    let watched = current.clone();
    std::thread::spawn(move || {
        while let Ok(Some(frame)) = Frame::read(&mut input) {
            if tell.send(frame).is_err() {
                break;
            }
        }
        // The deployer is gone, and with it whatever it waits for.
        watched.give_up();
    });
    let input = Input(frames);
    while let Ok(frame) = input.0.recv() {
        let Frame::Message(bytes) = frame else {
            return Err(ServeError::Nonsense(
                "data that was not announced".to_owned(),
            ));
        };
        let request: Request =
            serde_json::from_slice(&bytes).map_err(|e| ServeError::Nonsense(e.to_string()))?;
        let reply = answer(fs, request, &input, &answers, &current);
        answers.send(&Frame::message(&reply)?)?;
    }
    Ok(())
}

fn answer(
    fs: &Arc<dyn Fs>,
    request: Request,
    input: &Input,
    answers: &Answers,
    current: &run::Current,
) -> Reply {
    let done = match request {
        Request::Run {
            program,
            arguments,
            input: has_input,
            limit_ms,
        } => {
            let fed = has_input.then_some(input);
            return run::run(&program, &arguments, fed, limit_ms, answers, current);
        }
        Request::Key(file) => {
            let content = input.all(key::LONGEST).map_err(|e| e.to_string());
            content.and_then(|content| key::put(&**fs, &file, &content))
        }
        Request::LacksFiles { sysroot } => image::lacks(fs, &sysroot, input, answers),
        Request::TakeObjects { repository } => image::take(fs, &repository, input),
    };
    match done {
        Ok(()) => Reply::Done,
        Err(why) => Reply::Failed { why },
    }
}

fn hello() -> Hello {
    let name = rustix::system::uname();
    Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: name.nodename().to_string_lossy().into_owned(),
        root: rustix::process::geteuid().is_root(),
    }
}
