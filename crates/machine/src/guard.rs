//! Units that look after an upgrade at the next boots, on a machine whose versions
//! need not bring any.

use std::path::{Path, PathBuf};

use durable::{Doing, Fs};

use crate::{MachineError, Result, facts};

/// systemd looks here first, and it is no part of any version.
const UNITS: &str = "etc/systemd/system.control";
/// Where the version that was booted has units of its own for this.
const OWN: &str = "/etc/systemd/system/backstop-settle.service";
/// Gone after a reboot: in the boot in which the guard is set, it is not wanted.
const SET: &str = "run/backstop/guard-set";

/// The guard of the machine below a root.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    fs: &'a dyn Fs,
    root: &'a Path,
}

/// One of its units.
struct Unit {
    name: &'static str,
    command: &'static str,
    after: &'static str,
    limit: &'static str,
}

const SETTLE: Unit = Unit {
    name: "backstop-guard-settle.service",
    command: "settle",
    after: "local-fs.target systemd-journald.socket",
    limit: "90",
};
const HEALTH: Unit = Unit {
    name: "backstop-guard-health.service",
    command: "health",
    after: "multi-user.target backstop-guard-settle.service",
    limit: "infinity",
};

impl Unit {
    fn text(&self, program: &str, arguments: &str) -> String {
        let Self {
            command,
            after,
            limit,
            ..
        } = self;
        format!(
            "[Unit]\n\
             Description=Look after an upgrade that was under way ({command})\n\
             DefaultDependencies=no\n\
             Conflicts=shutdown.target\n\
             After={after}\n\
             Before=shutdown.target\n\
             RequiresMountsFor=/var/lib/backstop\n\
             ConditionPathExists=!/{SET}\n\
             ConditionPathExists=!{OWN}\n\
             \n\
             [Service]\n\
             Type=oneshot\n\
             RemainAfterExit=yes\n\
             Environment=PATH={path}\n\
             ExecStart=-{program} {arguments}{command}\n\
             TimeoutStartSec={limit}\n",
            path = facts::search_path(),
        )
    }
}

impl<'a> Guard<'a> {
    pub fn new(fs: &'a dyn Fs, root: &'a Path) -> Self {
        Self { fs, root }
    }

    fn unit(&self, unit: &Unit) -> PathBuf {
        self.root.join(UNITS).join(unit.name)
    }

    fn wanted(&self, unit: &Unit) -> PathBuf {
        let wants = self.root.join(UNITS).join("multi-user.target.wants");
        wants.join(unit.name)
    }

    /// Lets the next boots run `backstop settle` and `backstop health`, unless the
    /// version that comes up does so by itself.
    pub fn set(&self, arguments: &[&str]) -> Result<()> {
        let program = facts::own_program()?;
        let program = program.to_string_lossy();
        let mut words = arguments.join(" ");
        if !words.is_empty() {
            words.push(' ');
        }
        let set = self.root.join(SET);
        durable::create_dir_all(self.fs, parent(&set), 0o755)?;
        durable::publish_file(self.fs, &set, b"", 0o644)?;
        for unit in [SETTLE, HEALTH] {
            let (path, link) = (self.unit(&unit), self.wanted(&unit));
            durable::create_dir_all(self.fs, parent(&link), 0o755)?;
            let text = unit.text(&program, &words);
            durable::publish_file(self.fs, &path, text.as_bytes(), 0o644)?;
            durable::publish_symlink(self.fs, &Path::new("..").join(unit.name), &link)?;
        }
        Ok(())
    }

    /// Undoes that.
    pub fn clear(&self) -> Result<()> {
        for unit in [SETTLE, HEALTH] {
            for path in [self.wanted(&unit), self.unit(&unit)] {
                match self.fs.remove_file(&path) {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    removed => removed.doing("remove", &path).map_err(MachineError::from)?,
                }
            }
        }
        Ok(())
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;

    #[test]
    fn a_guard_is_set_and_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let guard = Guard::new(&RealFs, dir.path());
        guard.clear().unwrap();
        for _ in 0..2 {
            guard.set(&["--host", "nix"]).unwrap();
        }
        let settle = std::fs::read_to_string(guard.wanted(&SETTLE)).unwrap();
        assert!(settle.contains(" --host nix settle\n"), "{settle}");
        let health = std::fs::read_to_string(guard.wanted(&HEALTH)).unwrap();
        assert!(health.contains(" --host nix health\n"), "{health}");
        guard.clear().unwrap();
        for unit in [SETTLE, HEALTH] {
            assert!(std::fs::symlink_metadata(guard.wanted(&unit)).is_err());
            assert!(!guard.unit(&unit).exists());
        }
    }
}
