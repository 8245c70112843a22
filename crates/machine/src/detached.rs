//! A machine that systemd does not run: jobs are processes in sessions of their
//! own.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use durable::Fs;

use crate::processes::{self, Which};
use crate::{LiveSwitch, Machine, MachineError, Result, facts};

/// Names the program that reboots such a machine.
const REBOOT: &str = "BACKSTOP_REBOOT";

/// A machine whose jobs are detached processes: without a service manager, they
/// are all that outlives a login session. They do not outlive a reboot.
#[derive(Debug)]
pub struct Detached {
    fs: Arc<dyn Fs>,
    memory: PathBuf,
}

impl Detached {
    /// The machine whose jobs write to `detached.log` in `memory`, a directory that
    /// no other machine has.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, memory: &Path) -> Self {
        let memory = memory.to_owned();
        Self { fs, memory }
    }

    /// By which its processes are told: paths may be the same on two machines that
    /// differ in what is mounted.
    fn name(&self) -> Result<String> {
        durable::create_dir_all(&*self.fs, &self.memory, 0o700)?;
        let failed = |source| MachineError::File {
            doing: "look at",
            path: self.memory.clone(),
            source,
        };
        let found = std::fs::metadata(&self.memory).map_err(failed)?;
        Ok(format!("{}:{}", found.dev(), found.ino()))
    }

    /// Starts a command as one of the machine's processes and returns.
    fn spawn(&self, mut command: Command, doing: &str) -> Result<()> {
        let log = self.memory.join("detached.log");
        sys::new_session(&mut command);
        processes::adopt(&mut command, self.name()?, &log)
            .and_then(|()| command.spawn())
            .map_err(|e| MachineError::Program {
                doing: doing.to_owned(),
                why: e.to_string(),
            })?;
        Ok(())
    }
}

impl Machine for Detached {
    fn boot_id(&self) -> Result<String> {
        facts::boot_id(&*self.fs)
    }

    fn uptime(&self) -> Result<Duration> {
        facts::uptime(&*self.fs)
    }

    fn cmdline(&self) -> Result<String> {
        facts::cmdline(&*self.fs)
    }

    fn start(&mut self, name: &str, after: Option<Duration>, arguments: &[&str]) -> Result<()> {
        if processes::is_running(self.name()?, name) {
            return Ok(());
        }
        let mut command = Command::new(facts::own_program()?);
        command.args(arguments).env(processes::JOB, name);
        match after {
            Some(after) => command.env(processes::WAIT_MS, after.as_millis().to_string()),
            None => command.env_remove(processes::WAIT_MS),
        };
        self.spawn(command, &format!("start the job {name}"))
    }

    fn cancel(&mut self, prefix: &str, except: Option<&str>) -> Result<()> {
        processes::stop(self.name()?, Which::Jobs { prefix, except }, true);
        Ok(())
    }

    fn refuses_live(&self, _: &LiveSwitch<'_>) -> Option<String> {
        Some("systemd does not run here, so it cannot restart services".to_owned())
    }

    fn switch_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()> {
        Err(refused(self.refuses_live(switch)))
    }

    fn revert_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()> {
        Err(refused(self.refuses_live(switch)))
    }

    fn reboot(&mut self, force: bool) -> Result<()> {
        let Some(program) = std::env::var_os(REBOOT) else {
            return Err(refused(Some(format!(
                "systemd does not run here, and {REBOOT} names no program that reboots"
            ))));
        };
        let mut command = Command::new(program);
        if force {
            command.arg("--force");
        }
        // The power supply is not a part of what it cuts off.
        command
            .env_remove(processes::MACHINE)
            .env_remove(processes::JOB)
            .stdin(Stdio::null());
        sys::new_session(&mut command);
        let log = self.memory.join("detached.log");
        let started = processes::output_to(&mut command, &log).and_then(|()| command.spawn());
        started
            .map(drop)
            .map_err(|e| refused(Some(format!("{REBOOT}: {e}"))))
    }

    fn booted_root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from("/"))
    }

    fn active_root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from("/"))
    }
}

fn refused(why: Option<String>) -> MachineError {
    MachineError::Program {
        doing: "do that here".to_owned(),
        why: why.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;
    use std::time::Instant;

    #[test]
    fn a_job_leaves_the_session_and_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let machine = Detached::new(Arc::new(RealFs), &dir.path().join("memory"));
        let name = machine.name().unwrap();
        let mut command = Command::new("sleep");
        command.arg("60").env(processes::JOB, "deadman-1-checks");
        machine.spawn(command, "start a job").unwrap();
        let started = Instant::now();
        // Until it has become `sleep`, it looks like this process.
        while !processes::is_running(&name, "deadman-1-") {
            assert!(started.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!processes::is_running(&name, "deadman-2-"));
        assert!(!processes::is_running("another", "deadman-1-"));
        let mut machine = machine;
        machine
            .cancel("deadman-1-", Some("deadman-1-checks"))
            .unwrap();
        assert!(processes::is_running(&name, "deadman-1-"));
        machine.cancel("deadman-1-", None).unwrap();
        assert!(!processes::is_running(&name, "deadman-1-"));
    }
}
