//! Running programs of the machine.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use provision::program::{command_line, last_words};

use crate::{Error, Result};

pub use provision::program::find;

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

/// A program that runs in a network namespace, given as a path, if one is.
pub(crate) fn within(network: Option<&Path>, program: &str) -> Command {
    let Some(network) = network else {
        return Command::new(program);
    };
    // It becomes the program: their process is the same.
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", network.display()));
    command.arg(program);
    command
}

/// The error for a program that ended badly.
pub(crate) fn failed(command: &Command, output: &Output) -> Error {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Error::Program {
        program: command_line(command),
        status: output.status.to_string(),
        output: last_words(&text).to_owned(),
    }
}
