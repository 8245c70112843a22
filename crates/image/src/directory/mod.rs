//! A machine that is a directory: real processes, a simulated power supply.
//!
//! The directory holds a sysroot; what belongs to the machine is in `machine/`:
//!
//! | file | holds |
//! | --- | --- |
//! | `machine.toml` | how it boots |
//! | `boot_id`, `cmdline`, `booted` | what the kernel would say: the boot's id, its arguments, when (by the real machine's uptime) |
//! | `booted_root` | the deployment that was booted |
//! | `active` | the deployment whose processes run |
//! | `console.log` | what all boots and jobs printed |
//!
//! "Booting" runs the deployment's own init program with `ROOT` set, and waits
//! for its end. The entry is chosen by [`boot::decide()`], with the state sector
//! read and written as a boot loader does.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use durable::Fs;
use serde::{Deserialize, Serialize};

use machine::processes::{self, Which};
use machine::{LiveSwitch, Machine, MachineError, Result};

mod power;

/// How a directory machine boots: `machine/machine.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryConfig {
    /// The program that boots a deployment, relative to the deployment.
    pub init: PathBuf,
    /// How long it may take before the machine's watchdog resets it, in
    /// milliseconds.
    pub watchdog_ms: u64,
    /// Given to it, besides `ROOT`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// A machine that is a directory.
#[derive(Debug)]
pub struct Directory {
    fs: Arc<dyn Fs>,
    sysroot: PathBuf,
    config: DirectoryConfig,
}

impl Directory {
    /// Whether the sysroot at `path` belongs to a directory machine.
    #[must_use]
    pub fn is_one(path: &Path) -> bool {
        config_path(path).exists()
    }

    /// Makes the sysroot at `path` a directory machine, switched off.
    ///
    /// # Errors
    /// The disk.
    pub fn create(fs: Arc<dyn Fs>, path: &Path, config: DirectoryConfig) -> Result<Self> {
        let file = config_path(path);
        let text = toml::to_string(&config).map_err(|e| unusable(&file, e))?;
        durable::create_dir_all(&*fs, &path.join("machine"), 0o755)?;
        durable::publish_file(&*fs, &file, text.as_bytes(), 0o644)?;
        Self::open(fs, path)
    }

    /// Opens the machine at `path`.
    ///
    /// # Errors
    /// Its configuration can't be read.
    pub fn open(fs: Arc<dyn Fs>, path: &Path) -> Result<Self> {
        let file = config_path(path);
        let text = durable::read_to_string(&*fs, &file)?;
        let config = toml::from_str(&text).map_err(|e| unusable(&file, e))?;
        let sysroot = one_spelling(path)?;
        Ok(Self {
            fs,
            sysroot,
            config,
        })
    }

    /// By which its processes are told.
    fn name(&self) -> std::path::Display<'_> {
        self.sysroot.display()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.sysroot.join("machine").join(name)
    }

    fn say(&self, name: &str, text: &str) -> Result<()> {
        durable::publish_file(&*self.fs, &self.file(name), text.as_bytes(), 0o644)?;
        Ok(())
    }

    fn told(&self, name: &str) -> Result<String> {
        let text = durable::read_to_string(&*self.fs, &self.file(name))?;
        Ok(text.trim_end().to_owned())
    }

    /// `backstop` itself, working on this machine.
    fn backstop(&self) -> Result<Command> {
        let program = std::env::current_exe().map_err(|source| MachineError::File {
            doing: "find",
            path: PathBuf::from("backstop's own program"),
            source,
        })?;
        let mut command = Command::new(program);
        command.arg("--sysroot").arg(&self.sysroot);
        Ok(command)
    }

    /// Starts a command as one of the machine's processes and returns.
    fn spawn(&self, mut command: Command, doing: &str) -> Result<std::process::Child> {
        processes::adopt(&mut command, self.name(), &self.file("console.log"))
            .and_then(|()| command.spawn())
            .map_err(|e| program(doing, &e))
    }

    /// Runs the init program of the deployment at `root` to its end, or until
    /// the watchdog bites. Answers whether it came up.
    fn run_init(&self, root: &Path) -> Result<bool> {
        let mut command = Command::new("/bin/sh");
        command
            .arg(root.join(&self.config.init))
            .env("ROOT", root)
            .env_remove(processes::JOB)
            .envs(&self.config.environment);
        let mut init = self.spawn(command, "start the deployment's init program")?;
        let watchdog = Duration::from_millis(self.config.watchdog_ms);
        let started = std::time::Instant::now();
        while started.elapsed() < watchdog {
            match init.try_wait().map_err(|e| program("wait for init", &e))? {
                Some(status) => return Ok(status.success()),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
        // The init program is ours: nothing else has its process number yet.
        let _ = init.kill();
        let _ = init.wait();
        Ok(false)
    }

    /// Ends the services and starts those of the deployment at `root`.
    fn run_services_of(&mut self, root: &Path) -> Result<()> {
        processes::stop(self.name(), Which::Services, false);
        if !self.run_init(root)? {
            return Err(MachineError::Program {
                doing: format!("start what {} runs", root.display()),
                why: "its init program failed or did not finish in time".to_owned(),
            });
        }
        self.say("active", &root.to_string_lossy())
    }
}

/// The one spelling of a machine's path by which its processes are told.
fn one_spelling(path: &Path) -> Result<PathBuf> {
    std::fs::canonicalize(path).map_err(|source| MachineError::File {
        doing: "find",
        path: path.to_owned(),
        source,
    })
}

fn config_path(sysroot: &Path) -> PathBuf {
    sysroot.join("machine/machine.toml")
}

fn unusable(path: &Path, why: impl std::error::Error + Send + Sync + 'static) -> MachineError {
    MachineError::File {
        doing: "use",
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, why),
    }
}

fn program(doing: &str, why: &io::Error) -> MachineError {
    MachineError::Program {
        doing: doing.to_owned(),
        why: why.to_string(),
    }
}

impl Machine for Directory {
    fn boot_id(&self) -> Result<String> {
        self.told("boot_id")
    }

    fn uptime(&self) -> Result<Duration> {
        let booted = self.told("booted")?.parse().unwrap_or(0);
        let booted = Duration::from_millis(booted);
        Ok(machine::uptime(&*self.fs)?.saturating_sub(booted))
    }

    fn cmdline(&self) -> Result<String> {
        self.told("cmdline")
    }

    fn start(&mut self, name: &str, after: Option<Duration>, arguments: &[&str]) -> Result<()> {
        if processes::is_running(self.name(), name) {
            return Ok(());
        }
        let mut command = self.backstop()?;
        command.args(arguments).env(processes::JOB, name);
        if let Some(after) = after {
            command.env(processes::WAIT_MS, after.as_millis().to_string());
        }
        self.spawn(command, &format!("start the job {name}"))?;
        Ok(())
    }

    fn cancel(&mut self, prefix: &str, except: Option<&str>) -> Result<()> {
        processes::stop(self.name(), Which::Jobs { prefix, except }, true);
        Ok(())
    }

    fn refuses_live(&self, _: &LiveSwitch<'_>) -> Option<String> {
        // Its processes are all started from the tree they belong to.
        None
    }

    fn switch_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()> {
        self.run_services_of(switch.to)
    }

    fn revert_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()> {
        self.run_services_of(switch.from)
    }

    fn reboot(&mut self, force: bool) -> Result<()> {
        let mut command = self.backstop()?;
        command.arg("power-cycle");
        if force {
            command.arg("--force");
        }
        // The power supply is not a part of what it cuts off.
        processes::adopt(&mut command, self.name(), &self.file("console.log"))
            .and_then(|()| command.env_remove(processes::MACHINE).spawn())
            .map_err(|e| program("cycle the machine's power", &e))?;
        Ok(())
    }

    fn booted_root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(self.told("booted_root")?))
    }

    fn active_root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(self.told("active")?))
    }
}
