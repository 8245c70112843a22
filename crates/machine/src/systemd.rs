//! A machine that systemd runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durable::Fs;

use crate::guard::Guard;
use crate::{LastWords, LiveSwitch, Machine, MachineError, Result, etc, facts};

/// The unit that drives an open transaction; it ships with the tree.
const SUPERVISOR: &str = "backstop-supervise.service";
/// Where systemd puts the units that it is told of while it runs.
const TRANSIENT: &str = "/run/systemd/transient";
/// How a transient supervisor runs. What it started is stopped at once when it is
/// killed: whoever takes over must not wait for it.
const TRANSIENT_SUPERVISOR: &[&str] = &[
    "--property=Type=exec",
    "--property=DefaultDependencies=no",
    "--property=Restart=on-failure",
    "--property=RestartSec=2",
    "--property=TimeoutStopSec=5",
    "--property=OOMScoreAdjust=-900",
];
/// How long a supervisor may take to be gone once its work is done.
const LEAVING: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Local configuration, in a deployment.
const ETC: &str = "etc";

/// A machine that systemd runs.
#[derive(Debug)]
pub struct Systemd {
    fs: Arc<dyn Fs>,
    transient: bool,
}

impl Systemd {
    /// The machine that this process runs on.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>) -> Self {
        let transient = false;
        Self { fs, transient }
    }

    /// The machine that this process runs on, for hosts whose upgrades bring the
    /// units of the whole system along: the supervisor is a transient unit, which
    /// no upgrade knows of and so none restarts or removes.
    #[must_use]
    pub fn transient(fs: Arc<dyn Fs>) -> Self {
        let transient = true;
        Self { fs, transient }
    }

    /// Starts a transient unit of this program.
    fn start_transient(&self, unit: &str, options: &[&str], arguments: &[&str]) -> Result<()> {
        let program = facts::own_program()?;
        let program = program.to_string_lossy();
        let unit_option = format!("--unit={unit}");
        let path = format!("--setenv=PATH={}", facts::search_path());
        let mut all = vec!["--quiet", "--collect", &unit_option, &path];
        all.extend(options);
        all.push(&program);
        all.extend(arguments);
        run(&format!("start {unit}"), "systemd-run", &all)
    }

    /// Whether systemd has made a transient unit of this name and not forgotten it.
    fn is_loaded(&self, unit: &str) -> bool {
        self.fs.metadata(&Path::new(TRANSIENT).join(unit)).is_ok()
    }

    /// All timers that were made while the machine runs: each has its file.
    fn transient_timers(&self) -> Result<Vec<String>> {
        let dir = Path::new(TRANSIENT);
        let entries = match self.fs.read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                let (doing, path) = ("list", dir.to_owned());
                return Err(MachineError::File {
                    doing,
                    path,
                    source,
                });
            }
        };
        let names = entries
            .into_iter()
            .filter_map(|e| e.name.into_string().ok());
        Ok(names.filter(|name| name.ends_with(".timer")).collect())
    }

    fn start_supervisor(&self, arguments: &[&str]) -> Result<()> {
        if !self.transient {
            let start = ["start", "--no-block", SUPERVISOR];
            return run("start the supervisor", "systemctl", &start);
        }
        // The one before it may have written the end down and not have left yet.
        let until = Instant::now() + LEAVING;
        loop {
            let why = match self.start_transient(SUPERVISOR, TRANSIENT_SUPERVISOR, arguments) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            match unless_active(SUPERVISOR, why) {
                Err(_) if Instant::now() < until => std::thread::sleep(LOOK),
                result => return result,
            }
        }
    }
}

/// Lets the running services see their changed configuration.
fn reload(switch: &LiveSwitch<'_>) -> Result<()> {
    run("reload systemd's units", "systemctl", &["daemon-reload"])?;
    for unit in affected_units(switch.changed) {
        let restart = ["try-reload-or-restart", &unit];
        run(&format!("restart {unit}"), "systemctl", &restart)?;
    }
    Ok(())
}

/// The units whose configuration is among the changed paths: those with a unit
/// file or drop-in there, and those with a folder of their name in /etc.
fn affected_units(changed: &[PathBuf]) -> Vec<String> {
    let mut units = Vec::new();
    for path in changed {
        let Ok(below) = path.strip_prefix(ETC) else {
            continue;
        };
        let parts: Vec<&str> = below.iter().filter_map(|part| part.to_str()).collect();
        let unit = match parts.as_slice() {
            ["systemd", "system", unit, ..] => unit.trim_end_matches(".d").to_owned(),
            [folder, _, ..] => format!("{folder}.service"),
            _ => continue,
        };
        if unit.contains('.') && !unit.ends_with(".wants") && !units.contains(&unit) {
            units.push(unit);
        }
    }
    units
}

fn run(doing: &str, program: &str, arguments: &[&str]) -> Result<()> {
    output(doing, program, arguments).map(drop)
}

/// Runs a program to its end; answers with what it printed.
fn output(doing: &str, program: &str, arguments: &[&str]) -> Result<String> {
    let failed = |why: String| MachineError::Program {
        doing: doing.to_owned(),
        why,
    };
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|e| failed(format!("{program}: {e}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{program} said: {}", said.trim())))
}

fn is_active(unit: &str) -> Result<()> {
    run("ask", "systemctl", &["is-active", "--quiet", unit])
}

/// A unit that could not be started may be running: that is all that is wanted,
/// and it is not asked beforehand, since it seldom is.
fn unless_active(unit: &str, why: MachineError) -> Result<()> {
    match is_active(unit) {
        Ok(()) => Ok(()),
        Err(_) => Err(why),
    }
}

impl Machine for Systemd {
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
        let Some(after) = after else {
            return self.start_supervisor(arguments);
        };
        let unit = format!("backstop-{name}");
        let timer = format!("{unit}.timer");
        // Armed before: what made it so may have stopped it since.
        if self.is_loaded(&timer) && is_active(&timer).is_ok() {
            return Ok(());
        }
        let after = format!("--on-active={}ms", after.as_millis());
        let options = [
            after.as_str(),
            "--timer-property=AccuracySec=100ms",
            // A deadman must also fire while the boot is stuck.
            "--property=DefaultDependencies=no",
            "--timer-property=DefaultDependencies=no",
            // Killed in the middle, it is the last that could go on.
            "--property=Restart=on-failure",
            "--property=RestartSec=10",
        ];
        self.start_transient(&unit, &options, arguments)
            .or_else(|why| unless_active(&timer, why))
    }

    fn cancel(&mut self, prefix: &str, except: Option<&str>) -> Result<()> {
        let prefix = format!("backstop-{prefix}");
        let except = except.map(|name| format!("backstop-{name}.timer"));
        let mut timers = self.transient_timers()?;
        timers.retain(|timer| timer.starts_with(&prefix) && Some(timer) != except.as_ref());
        let stop: Vec<&str> = ["stop"]
            .into_iter()
            .chain(timers.iter().map(String::as_str))
            .collect();
        match stop.len() {
            1 => Ok(()),
            _ => run("stop the timers", "systemctl", &stop),
        }
    }

    fn guard_boots(&mut self, arguments: &[&str]) -> Result<()> {
        if self.transient {
            Guard::new(&*self.fs, Path::new("/")).set(arguments)?;
        }
        Ok(())
    }

    fn unguard_boots(&mut self) -> Result<()> {
        if self.transient {
            Guard::new(&*self.fs, Path::new("/")).clear()?;
        }
        Ok(())
    }

    fn refuses_live(&self, switch: &LiveSwitch<'_>) -> Option<String> {
        let mut outside = switch.changed.iter().filter(|path| !path.starts_with(ETC));
        if let Some(first) = outside.next() {
            return Some(format!(
                "it changes {} and {} more outside /etc, which needs a boot trial",
                first.display(),
                outside.count()
            ));
        }
        match etc::is(&switch.from.join(ETC)) {
            Ok(true) => None,
            Ok(false) => {
                Some("/etc is not the running deployment's, so it can't be changed live".into())
            }
            Err(e) => Some(e.to_string()),
        }
    }

    fn switch_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()> {
        etc::lay(&switch.to.join(ETC))?;
        reload(switch)
    }

    fn revert_live(&mut self, switch: &LiveSwitch<'_>) -> Result<()> {
        etc::lift(&switch.from.join(ETC))?;
        reload(switch)
    }

    fn reboot(&mut self, force: bool) -> Result<()> {
        let arguments: &[&str] = if force {
            &["reboot", "--force"]
        } else {
            &["reboot", "--no-block"]
        };
        run("reboot", "systemctl", arguments)
    }

    fn last_words(&self, since: u64, not_of: Option<&str>) -> Option<LastWords> {
        LastWords::find(&*self.fs, since, not_of)
    }

    fn booted_root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from("/"))
    }

    fn active_root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_units_that_a_change_concerns() {
        let table: &[(&[&str], &[&str])] = &[
            (&["etc/hostname"], &[]),
            (&["etc/ssh/sshd_config", "etc/ssh/moduli"], &["ssh.service"]),
            (&["etc/systemd/system/a.service"], &["a.service"]),
            (&["etc/systemd/system/a.timer.d/b.conf"], &["a.timer"]),
            (&["etc/systemd/system/x.target.wants/a.service"], &[]),
            (&["usr/bin/true"], &[]),
        ];
        for (changed, units) in table {
            let changed: Vec<PathBuf> = changed.iter().map(PathBuf::from).collect();
            assert_eq!(affected_units(&changed), *units);
        }
    }
}
