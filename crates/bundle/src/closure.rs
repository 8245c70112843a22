//! A Nix closure as content: what `nix-store --export` writes.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use monitor::{Monitor, Progress, Unit};

use crate::{Bundle, Description, Encoding, Error, Kind, Result};

/// So much is handed over at a time.
const STEP: usize = 1 << 16;
/// So much of what a program said is shown.
const LAST_WORDS: usize = 600;

/// A closure on its way into a bundle.
#[derive(Debug)]
pub struct Export {
    child: Child,
    out: std::process::ChildStdout,
}

impl Export {
    /// Begins to export the closure of a store path.
    ///
    /// # Errors
    /// The path is not valid, or `nix-store` can't be run.
    pub fn start(toplevel: &str) -> Result<Self> {
        let listed = output(Command::new("nix-store").args(["--query", "--requisites", toplevel]))?;
        let mut child = Command::new("nix-store")
            .arg("--export")
            .args(listed.lines())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(not_started)?;
        let out = child.stdout.take();
        let out = out.ok_or_else(|| not_started(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, out })
    }
}

impl Read for Export {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.out.read(buffer)?;
        if n == 0 && !buffer.is_empty() {
            let mut said = String::new();
            if let Some(mut errors) = self.child.stderr.take() {
                errors.read_to_string(&mut said)?;
            }
            let status = self.child.wait()?;
            if !status.success() {
                // A stream that broke off must not become a bundle.
                let why = format!("nix-store --export: {status}: {}", last(&said));
                return Err(io::Error::other(why));
            }
        }
        Ok(n)
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a bundle of this toplevel says of itself.
#[must_use]
pub fn describe(toplevel: &str, label: &str) -> Description {
    Description {
        kind: Kind::Nix,
        version: toplevel.to_owned(),
        label: label.to_owned(),
        encoding: Encoding::Zlib,
        unpacked: 0,
    }
}

/// Puts a bundle's closure into the store of this machine. All of it is verified
/// before the store sees any of it.
///
/// # Errors
/// Damage, or what `nix-store` said: the store is as before then, save for whole
/// paths that nothing refers to.
pub fn unpack(bundle: &mut Bundle, monitor: &dyn Monitor) -> Result<()> {
    bundle.verify()?;
    let toplevel = bundle.description().version.clone();
    let total = bundle.description().unpacked;
    let mut child = Command::new("nix-store")
        .arg("--import")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_started)?;
    let fed = match child.stdin.take() {
        Some(mut pipe) => feed(&mut bundle.content()?, &mut pipe, total, monitor),
        None => Ok(()),
    };
    let ended = child.wait_with_output().map_err(not_started)?;
    if !ended.status.success() {
        // It says more than the pipe that it closed.
        return Err(Error::Program {
            program: "nix-store --import",
            why: last(&String::from_utf8_lossy(&ended.stderr)),
        });
    }
    fed.map_err(Error::Unpack)?;
    output(Command::new("nix-store").args(["--check-validity", &toplevel])).map(drop)
}

fn feed(
    content: &mut dyn Read,
    pipe: &mut dyn Write,
    total: u64,
    monitor: &dyn Monitor,
) -> io::Result<()> {
    let mut buffer = vec![0; STEP];
    let mut done = 0;
    loop {
        let n = content.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        pipe.write_all(&buffer[..n])?;
        done += n as u64;
        monitor.progress(Progress {
            step: "unpacking",
            done,
            total: Some(total),
            unit: Unit::Bytes,
        });
    }
}

/// Keeps garbage collection off a version before it is there: a root may lead to
/// a path that does not exist yet.
///
/// # Errors
/// The disk's.
pub fn protect(fs: &dyn durable::Fs, roots: &Path, toplevel: &str) -> Result<()> {
    durable::create_dir_all(fs, roots, 0o755)?;
    durable::publish_symlink(fs, Path::new(toplevel), &roots.join("backstop-bundle"))?;
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let ended = command.stdin(Stdio::null()).output().map_err(not_started)?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    Err(Error::Program {
        program: "nix-store",
        why: last(&String::from_utf8_lossy(&ended.stderr)),
    })
}

fn not_started(why: io::Error) -> Error {
    Error::Program {
        program: "nix-store",
        why: why.to_string(),
    }
}

/// The end of what a program said.
fn last(said: &str) -> String {
    let said = said.trim();
    let mut from = said.len().saturating_sub(LAST_WORDS);
    while !said.is_char_boundary(from) {
        from += 1;
    }
    said[from..].to_owned()
}
