//! Commands on a guest, over ssh.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{Error, Result, program};

/// The way to a guest: a forwarded port on this machine. One connection is
/// opened and shared by all commands; it is closed when the guest reboots.
#[derive(Debug)]
pub struct Ssh {
    port: u16,
    key: PathBuf,
    control: PathBuf,
    network: Option<PathBuf>,
}

impl Ssh {
    pub(crate) fn new(port: u16, key: PathBuf, control: PathBuf, network: Option<PathBuf>) -> Self {
        Self {
            port,
            key,
            control,
            network,
        }
    }

    /// The port on 127.0.0.1 that leads to the guest's port 22.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// An `ssh` command that runs `script` by the guest's shell.
    #[must_use]
    pub fn command(&self, script: &str) -> Command {
        let mut command = self.base();
        command.args(["root@127.0.0.1", script]);
        command
    }

    fn base(&self) -> Command {
        let mut command = program::within(self.network.as_deref(), "ssh");
        command
            .args(["-q", "-p", &self.port.to_string(), "-i"])
            .arg(&self.key)
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"])
            // A guest that is going down must not hold its driver up.
            .args(["-o", "ConnectTimeout=5", "-o", "ServerAliveInterval=5"])
            .args(["-o", "ServerAliveCountMax=3"])
            .args(["-o", "ControlMaster=auto", "-o", "ControlPersist=120"])
            .arg("-o")
            .arg(format!("ControlPath={}", self.control.display()));
        command
    }

    /// Runs a script and gives what it printed.
    ///
    /// # Errors
    /// [`Error::Program`] when it fails or the guest does not answer.
    pub fn run(&self, script: &str) -> Result<String> {
        program::run(&mut self.command(script))
    }

    /// Runs a script and gives its end, whatever that is; status 255 means
    /// that the guest did not answer.
    ///
    /// # Errors
    /// `ssh` cannot be started.
    pub fn output(&self, script: &str) -> Result<Output> {
        program::output(&mut self.command(script))
    }

    /// Whether the guest answers, over the connection there is or a new one.
    #[must_use]
    pub fn answers(&self) -> bool {
        let mut command = self.command("true");
        command.stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|s| s.success())
    }

    /// Waits until the guest answers.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait(&self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        while !self.answers() {
            if Instant::now() > deadline {
                return Err(Error::Timeout {
                    what: "an answer over ssh".into(),
                    within,
                    tail: String::new(),
                });
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Copies a file or directory of this machine to the guest.
    ///
    /// # Errors
    /// What `tar` or `ssh` said.
    pub fn send(&self, from: &Path, to: &str) -> Result<()> {
        let (dir, name) = (from.parent(), from.file_name());
        let mut tar = Command::new("tar");
        tar.args(["-C".as_ref(), dir.unwrap_or(Path::new("/")).as_os_str()])
            .args(["--numeric-owner", "-cf", "-", "--"])
            .args(name)
            .stdout(Stdio::piped());
        let start = |program: &str, source| Error::Start {
            program: program.into(),
            source,
        };
        let mut sender = tar.spawn().map_err(|e| start("tar", e))?;
        let mut receiver = self.command(&format!("mkdir -p '{to}' && tar -C '{to}' -xpf -"));
        if let Some(pipe) = sender.stdout.take() {
            receiver.stdin(pipe);
        }
        let received = receiver.output().map_err(|e| start("ssh", e))?;
        let sent = sender.wait().map_err(|e| start("tar", e))?;
        if !received.status.success() || !sent.success() {
            return Err(program::failed(&receiver, &received));
        }
        Ok(())
    }

    /// Drops the shared connection, so that the next command makes a new one.
    pub fn disconnect(&self) {
        let mut command = self.base();
        command.args(["-O", "exit", "root@127.0.0.1"]);
        // There may be none.
        let _ = program::output(&mut command);
    }
}

impl Drop for Ssh {
    fn drop(&mut self) {
        self.disconnect();
    }
}
