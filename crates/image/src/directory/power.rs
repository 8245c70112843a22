//! The power supply and the firmware of a directory machine.

use std::path::Path;
use std::process::Command;

use machine::processes::{self, Which};
use machine::{MachineError, Result};
use sysroot::Sysroot;

use super::{Directory, program};

/// More starts than any boot trial may have, with some for the last good version.
const MOST_STARTS: u32 = 15;

impl Directory {
    /// Cuts the power of the machine at `path` for good.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn power_off(path: &Path) -> Result<()> {
        processes::stop(super::one_spelling(path)?.display(), Which::All, true);
        Ok(())
    }

    /// Cuts the power, or shuts down first unless `force`, and starts the machine
    /// until a deployment comes up; then runs what units do at boot.
    ///
    /// # Errors
    /// Nothing boots, or the disk fails.
    pub fn power_cycle(&mut self, force: bool) -> Result<()> {
        if !force {
            self.run_unit("going-down")?;
        }
        processes::stop(self.name(), Which::All, force);
        let supply = self.file("power");
        let _one_at_a_time = self
            .fs
            .lock(&supply, durable::LockMode::Exclusive)
            .map_err(|e| program("take hold of the power supply", &e))?;
        for _ in 0..MOST_STARTS {
            if self.start_once()? {
                return self.run_units();
            }
            processes::stop(self.name(), Which::All, true);
        }
        Err(MachineError::NothingBoots(MOST_STARTS))
    }

    /// One start: the boot loader's decision, then the deployment's own boot.
    fn start_once(&mut self) -> Result<bool> {
        let sysroot = Sysroot::open(self.fs.clone(), &self.sysroot).map_err(boxed)?;
        let start = sysroot.simulate_boot().map_err(boxed)?;
        let root = sysroot.layout().deployment(&start.deployment);
        self.kernel(&start.cmdline, &root)?;
        let counted = start.attempts_left.map_or_else(String::new, |left| {
            format!(" (on trial, {left} attempts left)")
        });
        self.log(&format!(
            "machine: starting {}{counted}",
            start.deployment.short()
        ));
        if self.run_init(&root)? {
            self.log("machine: up");
            self.say("active", &root.to_string_lossy())?;
            return Ok(true);
        }
        self.log("machine: reset by its watchdog, or init failed");
        Ok(false)
    }

    /// What a kernel tells once it runs.
    fn kernel(&self, cmdline: &str, root: &Path) -> Result<()> {
        let id = durable::read_to_string(&*self.fs, Path::new("/proc/sys/kernel/random/uuid"))?;
        let now = machine::uptime(&*self.fs)?;
        self.say("boot_id", &id)?;
        self.say("booted", &now.as_millis().to_string())?;
        self.say("cmdline", cmdline)?;
        self.say("booted_root", &root.to_string_lossy())
    }

    fn log(&self, line: &str) {
        // The console is for people; a machine does not stop over it.
        let line = format!("{line}\n");
        let _ = self.fs.append(&self.file("console.log"), line.as_bytes());
    }

    /// Does what backstop's units do at boot.
    fn run_units(&mut self) -> Result<()> {
        self.run_unit("settle")?;
        self.run_unit("health")
    }

    /// Does what one of backstop's units does, and waits for its end.
    fn run_unit(&mut self, unit: &str) -> Result<()> {
        let mut command: Command = self.backstop()?;
        command.arg(unit).env(processes::JOB, unit);
        let mut child = self.spawn(command, &format!("run backstop {unit}"))?;
        child.wait().map_err(|e| program("wait for a unit", &e))?;
        Ok(())
    }
}

fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> MachineError {
    MachineError::Other {
        doing: "choose what to boot",
        source: Box::new(error),
    }
}
