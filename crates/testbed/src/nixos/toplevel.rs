//! What a version of an imitated NixOS is like.

use std::fs;
use std::path::Path;

use super::machine::BootLoader;
use crate::Result;
use crate::error::Doing;

/// A place in `switch-to-configuration` where it may hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// In the checks before anything is changed.
    Check,
    /// With services stopped, before `/etc` and `/run/current-system` are new.
    Activate,
    /// After those are new, before the new units are started.
    Units,
}

/// What is wrong with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Its own check before the switch says no (exit 1).
    CheckFails,
    /// A snippet of its activation script fails (exit 2).
    ActivateFails,
    /// Its activation script never ends.
    ActivateHangs,
    /// One of its units does not start (exit 4).
    UnitFails,
    /// Its init is incompatible with the running one: a reboot is needed (exit 100).
    InitChanged,
    /// It changes what must not change in a running system: all but `boot` is
    /// refused (exit 1).
    CriticalChange,
    /// Its switch never ends.
    Hangs(Within),
    /// Its `switch-to-configuration ACTION` ends so, having done nothing.
    Ends(&'static str, u8),
    /// Its sshd runs, but lets nobody in.
    SshRefuses,
    /// Its sshd does not start.
    SshFails,
    /// It takes the network down.
    NetworkCut,
    /// Its application starts, and ends after a moment.
    AppDies,
    /// Its kernel panics: PID 1 ends.
    Panics,
    /// Its initramfs waits for ever, before anything is mounted.
    InitramfsHangs,
}

/// A version of the system: named, with what is wrong with it, and more files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toplevel {
    version: String,
    faults: Vec<Fault>,
    etc: Vec<(String, String)>,
    wanted: Vec<String>,
    payload: u32,
    machine: Option<BootLoader>,
    specialised: bool,
    saves_default: bool,
}

impl Toplevel {
    /// A sound version. Its page at port 80, `/version`, says its name.
    #[must_use]
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            faults: Vec::new(),
            etc: Vec::new(),
            wanted: Vec::new(),
            payload: 0,
            machine: None,
            specialised: false,
            saves_default: false,
        }
    }

    /// The same with a fault.
    #[must_use]
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The same with a file in its `/etc/static`. Only `ssh/sshd_config`, and
    /// what is below `systemd/system` and `backstop`, shows in `/etc`.
    #[must_use]
    pub fn etc(mut self, path: &str, text: &str) -> Self {
        self.etc.push((path.to_owned(), text.to_owned()));
        self
    }

    /// The same with a unit that `multi-user.target` wants.
    #[must_use]
    pub fn unit(mut self, name: &str, text: &str) -> Self {
        self.wanted.push(name.to_owned());
        self.etc(&format!("systemd/system/{name}"), text)
    }

    /// The same, larger by so many KiB that do not compress.
    #[must_use]
    pub fn payload(mut self, kib: u32) -> Self {
        self.payload = kib;
        self
    }

    /// The same for a [real machine](super::NixMachine): with a kernel and an
    /// initramfs, and the builder of that boot loader's menu.
    #[must_use]
    pub fn on_machine(mut self, loader: BootLoader) -> Self {
        self.machine = Some(loader);
        self
    }

    /// The same with a specialisation, another system within it.
    #[must_use]
    pub fn specialised(mut self) -> Self {
        self.specialised = true;
        self
    }

    /// The same with a GRUB that boots what was booted last, as
    /// `boot.loader.grub.default = "saved"` makes it.
    #[must_use]
    pub fn saves_default(mut self) -> Self {
        self.saves_default = true;
        self
    }

    /// What it is for, if that is a real machine.
    pub(super) fn machine(&self) -> Option<BootLoader> {
        self.machine
    }

    /// Whether it has a specialisation.
    pub(super) fn is_specialised(&self) -> bool {
        self.specialised
    }

    /// Its name.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its size besides, in KiB.
    pub(super) fn kib(&self) -> u32 {
        self.payload
    }

    /// Writes what is particular to it into an empty directory.
    pub(super) fn lay_out(&self, dir: &Path) -> Result<()> {
        let mut all = self.clone();
        let mut knobs = Vec::new();
        for fault in &self.faults {
            all = all.afflict(fault, &mut knobs);
        }
        if self.saves_default {
            knobs.push("SAVES_DEFAULT=1".to_owned());
        }
        put(&dir.join("knobs"), &(knobs.join("\n") + "\n"))?;
        put(&dir.join("wanted"), &all.wanted.join("\n"))?;
        for (path, text) in &all.etc {
            put(&dir.join("etc").join(path), text)?;
        }
        let top = dir.join("toplevel");
        if self.faults.contains(&Fault::InitChanged) {
            put(&top.join("init-interface-version"), "systemd 2\n")?;
        }
        if self.faults.contains(&Fault::InitramfsHangs) {
            put(&dir.join("kernel-params"), " testbed.hang")?;
        }
        if self.faults.contains(&Fault::CriticalChange) {
            put(&top.join("switch-inhibitors"), "{\"systemd\":\"260\"}\n")?;
        }
        Ok(())
    }

    fn afflict(self, fault: &Fault, knobs: &mut Vec<String>) -> Self {
        let (knob, mended) = match fault {
            Fault::CheckFails => ("CHECK_FAILS=1".to_owned(), self),
            Fault::ActivateFails => ("ACTIVATE_FAILS=1".to_owned(), self),
            Fault::ActivateHangs => ("ACTIVATE_HANGS=1".to_owned(), self),
            Fault::Ends(action, status) => (format!("EXIT_OF={action} EXIT_WITH={status}"), self),
            Fault::Hangs(within) => {
                let place = format!("{within:?}").to_lowercase();
                (format!("HANG_IN={place}"), self)
            }
            Fault::UnitFails => (String::new(), self.unit("broken.service", BROKEN)),
            Fault::SshRefuses => {
                let config = include_str!("system/sshd_config");
                let config = config.replace("authorized_keys.d", "nobody.d");
                (String::new(), self.sshd("refuses", &config))
            }
            Fault::SshFails => (String::new(), self.sshd("fails", "NoSuchWord yes\n")),
            Fault::NetworkCut => (
                String::new(),
                self.etc("systemd/system/network.service", CUT),
            ),
            Fault::AppDies => (String::new(), self.etc("systemd/system/app.service", DIES)),
            Fault::Panics => ("PANICS=1".to_owned(), self),
            Fault::InitChanged | Fault::CriticalChange | Fault::InitramfsHangs => {
                (String::new(), self)
            }
        };
        knobs.push(knob);
        mended
    }

    /// A changed configuration of sshd, with a unit that changes along with it,
    /// as NixOS's names its configuration.
    fn sshd(self, word: &str, config: &str) -> Self {
        let unit = include_str!("system/units/sshd.service");
        self.etc("ssh/sshd_config", config)
            .etc("systemd/system/sshd.service", &format!("{unit}# {word}\n"))
    }
}

const BROKEN: &str = "[Unit]
Description=Does not start
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo broken: no such database >&2; exit 7'
";
const CUT: &str = "[Unit]
Description=Takes the network down
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'ip link set eth0 down'
";
const DIES: &str = "[Unit]
Description=The application
After=network.service
[Service]
ExecStart=/bin/sh -c 'sleep 0.3; echo out of cheese >&2; exit 9'
";

fn put(path: &Path, text: &str) -> Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).doing("create", dir)?;
    }
    fs::write(path, text).doing("write", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_become_knobs_and_files() {
        let tmp = tempfile::tempdir().unwrap();
        let version = Toplevel::new("2")
            .with(Fault::Hangs(Within::Activate))
            .with(Fault::UnitFails)
            .with(Fault::InitChanged)
            .with(Fault::SshRefuses);
        version.lay_out(tmp.path()).unwrap();
        let read = |path: &str| fs::read_to_string(tmp.path().join(path)).unwrap();
        assert!(read("knobs").contains("HANG_IN=activate"));
        assert_eq!(read("wanted"), "broken.service");
        assert!(read("etc/systemd/system/broken.service").contains("exit 7"));
        assert_eq!(read("toplevel/init-interface-version"), "systemd 2\n");
        assert!(read("etc/ssh/sshd_config").contains("nobody.d"));
        assert!(!tmp.path().join("toplevel/switch-inhibitors").exists());
    }
}
