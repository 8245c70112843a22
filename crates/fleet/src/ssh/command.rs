//! The `ssh` command line.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::config::Address;
use crate::{Error, Result};

/// A host that says nothing for this long is gone.
const ALIVE_EVERY: u64 = 5;
const ALIVE_TIMES: u64 = 4;
/// A socket's path may have some 100 bytes, and ssh adds a suffix of its own.
const LONGEST_SOCKET: usize = 85;

/// Which way to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A login that others may share.
    Session,
    /// A connection that shares nothing with any other.
    Fresh,
}

/// Where the sockets of shared logins are: a directory of this process's own.
#[derive(Debug)]
pub struct Controls {
    dir: PathBuf,
}

impl Controls {
    /// Makes the directory, readable by nobody else.
    ///
    /// # Errors
    /// It can't be made.
    pub fn new() -> Result<Self> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let short = |dir: &PathBuf| dir.is_dir() && dir.as_os_str().len() < LONGEST_SOCKET - 40;
        let base = runtime.filter(short).unwrap_or_else(|| "/tmp".into());
        remove_left_over(&base);
        for n in 0..1000 {
            let dir = base.join(format!("backstop-{}-{n}", std::process::id()));
            match std::fs::DirBuilder::new().mode(0o700).create(&dir) {
                Ok(()) => return Ok(Self { dir }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::file("make the directory", &dir)(e)),
            }
        }
        Err(Error::File {
            doing: "make a directory in",
            path: base,
            source: std::io::ErrorKind::AlreadyExists.into(),
        })
    }

    /// The socket of a host's session. Names of hosts may be long; their place in
    /// the plan is not.
    #[must_use]
    pub fn socket(&self, number: usize) -> PathBuf {
        self.dir.join(format!("{number}"))
    }
}

/// Removes the directories of processes that were killed. Those of other users
/// can't be, and are in nobody's way.
fn remove_left_over(base: &Path) {
    let Ok(entries) = std::fs::read_dir(base) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let numbers = name
            .to_str()
            .and_then(|name| name.strip_prefix("backstop-"));
        let pid: Option<u32> = numbers.and_then(|n| n.split_once('-')?.0.parse().ok());
        if let Some(pid) = pid
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

impl Drop for Controls {
    fn drop(&mut self) {
        // The masters remove their sockets; what is left is removed with a host's
        // connection. Nothing depends on it.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// An `ssh` that will run `script` by the login shell of the host's user.
#[must_use]
pub(super) fn ssh(
    address: &Address,
    way: Way,
    socket: &Path,
    patience: Duration,
    script: &str,
) -> Command {
    let mut command = Command::new("ssh");
    command.args(options(address, way, socket, patience));
    command.args(["--", &address.host, script]);
    command
}

/// The options of a connection; the first word on an option counts, so ours
/// stand before the user's.
fn options(address: &Address, way: Way, socket: &Path, patience: Duration) -> Vec<String> {
    let mut words = vec!["-T".to_owned()];
    let mut set = |option: String| words.extend(["-o".to_owned(), option]);
    match way {
        Way::Session => {
            set("ControlMaster=yes".to_owned());
            set(format!("ControlPath={}", escape(socket)));
            set("ControlPersist=no".to_owned());
        }
        Way::Fresh => {
            set("ControlMaster=no".to_owned());
            set("ControlPath=none".to_owned());
        }
    }
    // Nobody sits beside each of a hundred connections to answer questions.
    set("BatchMode=yes".to_owned());
    set(format!("ConnectTimeout={}", patience.as_secs().max(1)));
    set(format!("ServerAliveInterval={ALIVE_EVERY}"));
    set(format!("ServerAliveCountMax={ALIVE_TIMES}"));
    set("ForwardAgent=no".to_owned());
    set("ForwardX11=no".to_owned());
    set("ClearAllForwardings=yes".to_owned());
    if let Some(port) = address.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(user) = &address.user {
        words.extend(["-l".to_owned(), user.clone()]);
    }
    words.extend(address.options.iter().cloned());
    words
}

/// ssh expands `%` in the path of a socket.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// What another program that calls `ssh` needs, to go over a session that is
/// open: the words of `NIX_SSHOPTS`, and the host's name.
#[must_use]
pub(crate) fn shared(address: &Address, socket: &Path) -> String {
    let mut words = vec![
        "-o".to_owned(),
        "ControlMaster=no".to_owned(),
        "-o".to_owned(),
        format!("ControlPath={}", escape(socket)),
        "-o".to_owned(),
        "BatchMode=yes".to_owned(),
    ];
    if let Some(port) = address.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    words.extend(address.options.iter().cloned());
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let own = std::process::id();
        // No process has the highest number there is.
        let dead = format!("backstop-{}-0", u32::MAX);
        let names = [
            dead.clone(),
            format!("backstop-{own}-0"),
            "backstop-x-1".to_owned(),
        ];
        for name in &names {
            std::fs::DirBuilder::new()
                .create(base.path().join(name))
                .unwrap();
        }
        remove_left_over(base.path());
        let left = names.iter().filter(|name| base.path().join(name).exists());
        assert_eq!(left.count(), 2);
        assert!(!base.path().join(dead).exists());
    }

    fn line(way: Way) -> String {
        let address = Address {
            host: "web1".to_owned(),
            port: Some(2222),
            user: Some("deploy".to_owned()),
            options: vec!["-o".to_owned(), "ControlMaster=auto".to_owned()],
        };
        let seconds = Duration::from_secs(7);
        let command = ssh(
            &address,
            way,
            Path::new("/run/x/100%"),
            seconds,
            "exec true",
        );
        let words: Vec<_> = command.get_args().map(|w| w.to_string_lossy()).collect();
        words.join(" ")
    }

    #[test]
    fn the_confirmation_shares_nothing() {
        let line = line(Way::Fresh);
        let ours = line
            .find("-o ControlMaster=no -o ControlPath=none")
            .unwrap();
        assert!(ours < line.find("ControlMaster=auto").unwrap(), "{line}");
        assert!(line.ends_with("-- web1 exec true"), "{line}");
    }

    #[test]
    fn a_session_can_be_shared() {
        let line = line(Way::Session);
        assert!(line.contains("ControlPath=/run/x/100%%"), "{line}");
        assert!(line.contains("-p 2222 -l deploy"), "{line}");
        assert!(line.contains("ConnectTimeout=7"), "{line}");
    }
}
