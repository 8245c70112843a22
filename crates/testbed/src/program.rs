//! Running programs of the machine.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::{Error, Result};

/// How much of a failed program's output an error keeps.
const KEPT: usize = 2000;

/// Where a program is, looked for as root's shell would.
#[must_use]
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// [`Error::Start`] and [`Error::Program`].
pub fn run(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        return Err(failed(command, &output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end, whatever that is, with nothing on its input.
///
/// # Errors
/// [`Error::Start`].
pub fn output(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| Error::Start {
            program: command.get_program().to_string_lossy().into_owned(),
            source,
        })
}

/// The error for a program that ended badly.
pub(crate) fn failed(command: &Command, output: &Output) -> Error {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Error::Program {
        program: line(command),
        status: output.status.to_string(),
        output: tail(&text).to_owned(),
    }
}

/// The end of a text, cut at a character.
fn tail(text: &str) -> &str {
    let text = text.trim_end();
    let mut from = text.len().saturating_sub(KEPT);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// A command as a person would type it.
fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Copies a file, leaving its holes.
///
/// # Errors
/// What `cp` said.
pub fn copy_sparse(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .args([from, to]))
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_program_says_its_line_and_its_last_words() {
        let e = run(Command::new("sh").args(["-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        let text = e.to_string();
        assert!(text.contains("sh -c") && text.contains("no such thing") && text.contains('3'));
    }

    #[test]
    fn tail_keeps_whole_characters() {
        let long = "é".repeat(KEPT);
        assert!(tail(&long).len() <= KEPT);
        assert_eq!(tail("short\n"), "short");
    }
}
