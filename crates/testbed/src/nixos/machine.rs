//! A host that is a virtual machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use monitor::Monitor;

use super::root::Root;
use super::site::{self, Site};
use super::toplevel::Toplevel;
use super::{disk, host};
use crate::cache::Cache;
use crate::error::Doing;
use crate::machine::{End, Firmware, Machine, MachineOptions};
use crate::nspawn::READY;
use crate::{Error, Result, debian, kvm, packages, program};

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How long a boot may take, on a machine that has much else to do.
const BOOT: Duration = Duration::from_secs(300);

/// What boots a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootLoader {
    /// systemd-boot, by UEFI.
    SystemdBoot,
    /// GRUB, by a BIOS.
    Grub,
}

/// What a machine is made of.
#[derive(Debug, Clone, Copy)]
pub struct Installation<'a> {
    /// Its name on the network.
    pub name: &'a str,
    /// What boots it.
    pub loader: BootLoader,
    /// What it runs first.
    pub system: &'a Toplevel,
    /// The program to install as `backstop`.
    pub backstop: &'a Path,
    /// Where its disk goes, and the logs of its console.
    pub dir: &'a Path,
}

/// A virtual machine on a site's network. It boots again after a reboot; it is
/// switched off when dropped.
#[derive(Debug)]
pub struct NixMachine {
    name: String,
    loader: BootLoader,
    first: String,
    shared: Arc<Shared>,
}

/// What the power supply needs.
#[derive(Debug)]
struct Shared {
    power: Mutex<Power>,
}

#[derive(Debug)]
struct Power {
    machine: Machine,
    on: bool,
    gone: bool,
    trouble: Option<String>,
}

impl Site {
    /// Makes a machine, switches it on and waits until it is up.
    ///
    /// # Errors
    /// Missing packages; it does not boot.
    pub fn machine(
        &self,
        installation: &Installation<'_>,
        cache: &Cache,
        monitor: &dyn Monitor,
    ) -> Result<NixMachine> {
        packages::require(&[packages::ROOT, packages::DISK, packages::MACHINE])?;
        let debian = debian::nix_root(cache, monitor)?;
        let kernel = kernel(&debian)?;
        self.bring_kernel(&kernel)?;
        let loader = installation.loader;
        let first = self.build(&installation.system.clone().on_machine(loader))?;
        let number = self.number();
        let root = self.tree(installation, &debian, &first, number)?;
        let image = disk::make(&root, loader)?;
        let mut options = self.hardware(&image, loader, number, cache)?;
        options.kvm = kvm::works(cache, &kernel)?;
        let machine = NixMachine::start(installation.name, loader, first, options)?;
        machine.wait_for_boot(1)?;
        Ok(machine)
    }

    /// What is to be on the disk of a machine, an ESP in `/boot`.
    fn tree(
        &self,
        installation: &Installation<'_>,
        debian: &Path,
        system: &str,
        number: u32,
    ) -> Result<Root> {
        let name = installation.name;
        let root = Root::of_debian(debian, &installation.dir.join(name))?;
        let address = site::identify(&root, name, number)?;
        let key = root.path().join("etc/ssh/ssh_host_ed25519_key.pub");
        self.introduce(name, &address, &key)?;
        let operator = self.operator().root();
        for (from, to) in [
            (operator.join(AUTHORIZED), AUTHORIZED),
            (installation.backstop.to_owned(), INSTALLED),
            (self.export(system)?, "tmp/closure"),
        ] {
            fs::copy(&from, root.path().join(to)).doing("copy", &from)?;
        }
        disk::prepare(&root, installation.loader)?;
        disk::install(&root, Path::new("/tmp/closure"), system)?;
        Ok(root)
    }

    fn hardware(
        &self,
        image: &Path,
        loader: BootLoader,
        number: u32,
        cache: &Cache,
    ) -> Result<MachineOptions> {
        let (key, _) = debian::ssh_key(cache)?;
        let logs = image.with_extension("logs");
        let mut options = MachineOptions::new(image, loader.firmware(), &key, &logs);
        options.ssh_port = debian::CONSOLE_PORT;
        options.network = Some(self.switch().path().into());
        let tap = self.switch().plug_machine(number)?;
        let mac = format!("52:54:00:77:{:02x}:{:02x}", number >> 8, number & 0xff);
        options.more_arguments = vec![
            "-netdev".to_owned(),
            format!("tap,id=lan,ifname={tap},script=no,downscript=no"),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev=lan,mac={mac},romfile="),
        ];
        Ok(options)
    }
}

impl BootLoader {
    fn firmware(self) -> Firmware {
        match self {
            Self::SystemdBoot => Firmware::Efi,
            Self::Grub => Firmware::Bios,
        }
    }

    /// A script that prints the toplevel that boots by default.
    fn tell_default(self) -> &'static str {
        match self {
            Self::SystemdBoot => {
                "cd /boot/loader && sed -n 's/^options .*init=\\([^ ]*\\)\\/init.*/\\1/p' \
                 entries/\"$(sed -n 's/^default //p' loader.conf)\""
            }
            Self::Grub => {
                "sed -n 's/^ *linux .*init=\\([^ ]*\\)\\/init.*/\\1/p' /boot/grub/grub.cfg | head -n 1"
            }
        }
    }

    /// A script that fails unless something is booted once.
    fn tell_once(self) -> &'static str {
        match self {
            Self::SystemdBoot => "ls /sys/firmware/efi/efivars/LoaderEntryOneShot-*",
            Self::Grub => "grep -q '^next_entry=.' /boot/grub/grubenv",
        }
    }
}

/// Who may come in, in any root.
const AUTHORIZED: &str = "etc/ssh/authorized_keys.d/root";
/// Where the program under test is.
const INSTALLED: &str = "opt/bin/backstop";

/// The kernel of a Debian root.
fn kernel(debian: &Path) -> Result<PathBuf> {
    let boot = debian.join("boot");
    let entries = fs::read_dir(&boot).doing("list", &boot)?;
    let mut kernels = entries.filter_map(|e| Some(e.ok()?.path()));
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with("vmlinuz-")
    };
    let none = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let found = kernels.find(named).ok_or_else(none);
    found.doing("find a kernel in", &boot)
}

impl NixMachine {
    fn start(
        name: &str,
        loader: BootLoader,
        first: String,
        options: MachineOptions,
    ) -> Result<Self> {
        let power = Power {
            machine: Machine::boot(options)?,
            on: true,
            gone: false,
            trouble: None,
        };
        let shared = Arc::new(Shared {
            power: Mutex::new(power),
        });
        let supply = Arc::clone(&shared);
        std::thread::spawn(move || supply.follow());
        Ok(Self {
            name: name.to_owned(),
            loader,
            first,
            shared,
        })
    }

    /// Its name, which is in the operator's `/etc/hosts`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The toplevel that it ran first.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.first
    }

    /// How often it was started.
    #[must_use]
    pub fn boots(&self) -> usize {
        self.shared.power().machine.boots()
    }

    /// The end of what its console showed in this boot, and what stopped it.
    #[must_use]
    pub fn console(&self) -> String {
        let power = self.shared.power();
        let trouble = power.trouble.clone().unwrap_or_default();
        power.machine.console().tail() + &trouble
    }

    /// Whether its console showed this in this boot.
    #[must_use]
    pub fn showed(&self, words: &str) -> bool {
        self.shared.power().machine.console().find(words).is_some()
    }

    /// Waits until it is up in boot `number`, counted from 1, or a later one.
    ///
    /// # Errors
    /// It does not boot so often.
    pub fn wait_for_boot(&self, number: usize) -> Result<()> {
        let until = Instant::now() + BOOT;
        loop {
            let up = self.boots() >= number && self.showed(READY);
            if up && self.output("true").is_ok_and(|o| o.status.success()) {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(Error::Timeout {
                    what: format!("boot {number} of {}", self.name),
                    within: BOOT,
                    tail: self.console(),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Cuts its power.
    pub fn power_off(&self) {
        let mut power = self.shared.power();
        power.on = false;
        power.machine.stop();
    }

    /// Switches it on, if it is off.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn power_on(&self) -> Result<()> {
        let mut power = self.shared.power();
        if !power.on {
            power.machine.boot_again()?;
            power.on = true;
        }
        Ok(())
    }

    /// A command that runs a script on it, by a way in that is no version's business.
    #[must_use]
    pub fn command(&self, script: &str) -> Command {
        self.shared.power().machine.ssh().command(script)
    }

    /// Runs a script on it and gives its end; status 255 means that it did not answer.
    ///
    /// # Errors
    /// `ssh` cannot be started.
    pub fn output(&self, script: &str) -> Result<Output> {
        program::output(&mut self.command(script))
    }

    /// Runs a script on it and gives what it printed.
    ///
    /// # Errors
    /// It does not answer, or the script fails.
    pub fn run(&self, script: &str) -> Result<String> {
        program::run(&mut self.command(script))
    }

    /// The toplevel that is active, by `/run/current-system`.
    ///
    /// # Errors
    /// It does not answer.
    pub fn active(&self) -> Result<String> {
        Ok(self.run("readlink /run/current-system")?.trim().to_owned())
    }

    /// The toplevel that its boot loader's default names, by what is in `/boot`. What
    /// GRUB has saved is not looked at.
    ///
    /// # Errors
    /// It does not answer, or there is none.
    pub fn default(&self) -> Result<String> {
        Ok(self.run(self.loader.tell_default())?.trim().to_owned())
    }

    /// Whether its next start boots something once.
    ///
    /// # Errors
    /// It does not answer.
    pub fn boots_something_once(&self) -> Result<bool> {
        let output = self.output(self.loader.tell_once())?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(255) | None => Err(program::failed(
                &self.command(self.loader.tell_once()),
                &output,
            )),
            Some(_) => Ok(false),
        }
    }

    /// The generations of its system profile: number and toplevel, oldest first.
    ///
    /// # Errors
    /// It does not answer.
    pub fn generations(&self) -> Result<Vec<(u32, String)>> {
        let script = "cd /nix/var/nix/profiles && for l in system-*-link; do echo \"$l $(readlink $l)\"; done";
        let text = self.run(script)?;
        let mut found: Vec<_> = text
            .lines()
            .filter_map(|line| {
                let (link, target) = line.split_once(' ')?;
                Some((host::generation(link)?, target.to_owned()))
            })
            .collect();
        found.sort_unstable();
        Ok(found)
    }
}

impl Drop for NixMachine {
    fn drop(&mut self) {
        let mut power = self.shared.power();
        power.gone = true;
        power.machine.stop();
    }
}

impl Shared {
    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Starts it again whenever it asks for that.
    fn follow(&self) {
        loop {
            std::thread::sleep(POLL);
            let mut power = self.power();
            if power.gone {
                return;
            }
            if !power.on || power.trouble.is_some() {
                continue;
            }
            let next = match power.machine.ended() {
                Ok(Some(End::Reboot)) => power.machine.boot_again().map_err(|e| e.to_string()),
                Ok(Some(end)) => Err(format!("it ended ({end:?})")),
                Ok(None) => Ok(()),
                Err(e) => Err(e.to_string()),
            };
            power.trouble = next.err();
        }
    }
}
