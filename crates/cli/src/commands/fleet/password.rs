//! Asking for a password, without showing it.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Write};

use anyhow::Context;
use fleet::ssh::Password;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Puts the terminal back as it was, whatever happens.
struct Hidden<'a> {
    terminal: &'a File,
    before: Termios,
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // Nothing is left to try.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

/// Asks at the terminal; without one, reads a line of standard input.
pub fn ask() -> anyhow::Result<Password> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let mut line = String::new();
        stdin
            .lock()
            .read_line(&mut line)
            .context("cannot read the password")?;
        return Ok(Password::new(without_end(&line)));
    }
    let terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .context("cannot ask for the password")?;
    let before = tcgetattr(&terminal).context("cannot ask for the password")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &silent).context("cannot hide the password")?;
    let hidden = Hidden {
        terminal: &terminal,
        before,
    };
    write!(&terminal, "sudo password on the hosts: ")?;
    let mut line = String::new();
    BufReader::new(&terminal)
        .read_line(&mut line)
        .context("cannot read the password")?;
    drop(hidden);
    writeln!(&terminal)?;
    Ok(Password::new(without_end(&line)))
}

fn without_end(line: &str) -> String {
    line.trim_end_matches(['\n', '\r']).to_owned()
}
