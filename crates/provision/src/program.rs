//! Running the programs that make filesystems and images.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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

/// Refuses when a program is not installed.
///
/// # Errors
/// [`Error::MissingProgram`], naming the Debian package.
pub fn require(program: &'static str, package: &'static str) -> Result<()> {
    match find(program) {
        Some(_) => Ok(()),
        None => Err(Error::MissingProgram { program, package }),
    }
}

/// Runs a program to its end and gives what it printed.
///
/// # Errors
/// [`Error::Start`] and [`Error::Program`].
pub fn run(command: &mut Command) -> Result<String> {
    run_with_input(command, "")
}

/// Runs a program with a short text on its input, and gives what it printed.
///
/// # Errors
/// [`Error::Start`] and [`Error::Program`].
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let program = command_line(command);
    let cannot = |source| Error::Start {
        program: program.clone(),
        source,
    };
    let mut child = command
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    if let Some(mut pipe) = child.stdin.take() {
        // A program that ends without reading says why by its status.
        let _ = pipe.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(cannot)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let said = text + &String::from_utf8_lossy(&output.stderr);
    Err(Error::Program {
        program,
        status: output.status.to_string(),
        output: last_words(&said).to_owned(),
    })
}

/// The end of what a program printed, as much as a message may hold.
#[must_use]
pub fn last_words(said: &str) -> &str {
    let said = said.trim_end();
    &said[said.ceil_char_boundary(said.len().saturating_sub(KEPT))..]
}

/// A command as a person would type it.
#[must_use]
pub fn command_line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|w| w.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
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
    fn input_is_read() {
        let said = run_with_input(&mut Command::new("cat"), "some\n");
        assert_eq!(said.unwrap(), "some\n");
    }

    #[test]
    fn last_words_are_whole_characters() {
        let long = "é".repeat(KEPT);
        assert!(last_words(&long).len() <= KEPT);
        assert_eq!(last_words("short\n"), "short");
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let e = require("no-such-program", "its-package").unwrap_err();
        assert!(
            e.to_string()
                .ends_with("on Debian it is in the package its-package")
        );
        assert!(require("sh", "dash").is_ok());
    }
}
