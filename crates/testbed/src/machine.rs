//! A virtual machine, followed over its reboots.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::error::Doing;
use crate::qemu::{self, Qemu};
use crate::{Error, Result, Ssh};

pub use crate::qemu::End;

/// How often a machine is looked at.
const POLL: Duration = Duration::from_millis(200);

/// What starts the boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// A PC's BIOS.
    Bios,
    /// UEFI (OVMF).
    Efi,
}

/// A kernel that QEMU starts itself, past firmware and boot loader.
#[derive(Debug, Clone)]
pub struct DirectKernel {
    /// The kernel.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initrd: PathBuf,
    /// Its command line.
    pub cmdline: String,
}

/// How to make a machine.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// The raw disk image; the guest writes to it.
    pub image: PathBuf,
    /// What starts the boot loader.
    pub firmware: Firmware,
    /// Further raw images, read-only: `/dev/vda` and so on in the guest.
    pub more_disks: Vec<PathBuf>,
    /// The private key that the guest lets in.
    pub ssh_key: PathBuf,
    /// Where its sshd listens.
    pub ssh_port: u16,
    /// The network namespace that QEMU runs in, as a path; this process's if not
    /// given.
    pub network: Option<PathBuf>,
    /// Where the consoles' logs go: `boot-1.log` and so on.
    pub logs: PathBuf,
    /// Processors, with KVM; an emulated machine has one.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u32,
    /// Use the processor's virtualisation; it must be known to work.
    pub kvm: bool,
    /// Let the guest reach the network outside.
    pub outside: bool,
    /// The firmware's variables to begin with, instead of none: a file that
    /// [`Machine::save_variables`] made.
    pub efi_variables: Option<PathBuf>,
    /// Start this kernel instead of what the disk says.
    pub direct: Option<DirectKernel>,
    /// Further arguments for QEMU.
    pub more_arguments: Vec<String>,
    /// Record the writes and flushes of the disk, beside the logs: `boot-1.writes`
    /// and so on.
    pub record: bool,
}

impl MachineOptions {
    /// A machine with two processors, or one if it is emulated, and 1 GiB, closed to the
    /// outside.
    #[must_use]
    pub fn new(image: &Path, firmware: Firmware, ssh_key: &Path, logs: &Path) -> Self {
        Self {
            image: image.to_owned(),
            firmware,
            more_disks: Vec::new(),
            ssh_key: ssh_key.to_owned(),
            ssh_port: 22,
            network: None,
            logs: logs.to_owned(),
            cpus: 2,
            memory_mib: 1024,
            kvm: false,
            outside: false,
            efi_variables: None,
            direct: None,
            more_arguments: Vec::new(),
            record: false,
        }
    }
}

/// A virtual machine. It is killed when dropped.
#[derive(Debug)]
pub struct Machine {
    options: MachineOptions,
    // Dropped in this order: the process before its files.
    qemu: Qemu,
    ssh: Ssh,
    dir: tempfile::TempDir,
    started: Instant,
    boots: usize,
}

impl Machine {
    /// Switches a new machine on.
    ///
    /// # Errors
    /// QEMU or its files are missing.
    pub fn boot(options: MachineOptions) -> Result<Self> {
        let started = Instant::now();
        // Sockets have short names: keep clear of deep directories.
        let tmp = Path::new("/tmp");
        let dir = tempfile::Builder::new().prefix("bs-vm").tempdir_in(tmp);
        let dir = dir.doing("make a directory in", tmp)?;
        std::fs::create_dir_all(&options.logs).doing("create", &options.logs)?;
        if options.firmware == Firmware::Efi {
            let vars = dir.path().join("vars.fd");
            let empty = Path::new(qemu::OVMF_VARS);
            let from = options.efi_variables.as_deref().unwrap_or(empty);
            std::fs::copy(from, &vars).doing("copy", from)?;
        }
        let port = free_port()?;
        let control = dir.path().join("ssh");
        Ok(Self {
            qemu: Qemu::start(&options, dir.path(), port, 1, started)?,
            ssh: Ssh::new(
                port,
                options.ssh_key.clone(),
                control,
                options.network.clone(),
            ),
            options,
            dir,
            started,
            boots: 1,
        })
    }

    /// The console of the boot going on.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.qemu.console
    }

    /// How often it was switched on or rebooted.
    #[must_use]
    pub fn boots(&self) -> usize {
        self.boots
    }

    /// Since it was first switched on.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The way in.
    #[must_use]
    pub fn ssh(&self) -> &Ssh {
        &self.ssh
    }

    /// Runs a script in the guest and gives what it printed.
    ///
    /// # Errors
    /// [`Error::Program`] when it fails or the guest does not answer.
    pub fn run(&self, script: &str) -> Result<String> {
        self.ssh.run(script)
    }

    /// Waits until `multi-user.target` is reached and ssh answers.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`].
    pub fn wait_ready(&self, within: Duration) -> Result<()> {
        let from = Instant::now();
        self.console().wait_for("TESTBED-READY", within)?;
        self.ssh.wait(within.saturating_sub(from.elapsed()))
    }

    /// How the boot going on ended, if it did.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<End>> {
        self.qemu.ended()
    }

    /// Waits for the end of the boot going on.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_end(&mut self, within: Duration) -> Result<End> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(end) = self.ended()? {
                return Ok(end);
            }
            if Instant::now() > deadline {
                return Err(self.timeout("the end of this boot", within));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Starts the next boot, after the guest rebooted or was cut off.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn boot_again(&mut self) -> Result<()> {
        self.ssh.disconnect();
        self.qemu.kill();
        self.boots += 1;
        let (dir, port) = (self.dir.path(), self.ssh.port());
        self.qemu = Qemu::start(&self.options, dir, port, self.boots, self.started)?;
        Ok(())
    }

    /// Follows the machine over its reboots until `done` gives something. It
    /// is asked a few times each second and may use the console and ssh.
    ///
    /// # Errors
    /// What `done` says; [`Error::Timeout`]; [`Error::Stopped`] when the guest
    /// switches itself off.
    pub fn run_until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut done: impl FnMut(&mut Machine) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(value) = done(self)? {
                return Ok(value);
            }
            match self.ended()? {
                Some(End::Reboot) => self.boot_again()?,
                Some(End::PowerOff | End::Killed) => {
                    return Err(Error::Stopped {
                        waiting_for: what.into(),
                        tail: self.console().tail(),
                    });
                }
                None => {}
            }
            if Instant::now() > deadline {
                return Err(self.timeout(what, within));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Keeps the firmware's variables of a machine that is off.
    ///
    /// # Errors
    /// The disk's.
    pub fn save_variables(&self, to: &Path) -> Result<()> {
        let vars = self.dir.path().join("vars.fd");
        std::fs::copy(&vars, to).doing("copy", &vars).map(drop)
    }

    /// Stops it at once, without a word to the guest. What the guest wrote is
    /// kept even if it was not flushed: the image is in this machine's memory.
    pub fn stop(&mut self) {
        self.ssh.disconnect();
        self.qemu.kill();
    }

    fn timeout(&self, what: &str, within: Duration) -> Error {
        Error::Timeout {
            what: what.into(),
            within,
            tail: self.console().tail(),
        }
    }
}

/// A port nobody uses just now.
fn free_port() -> Result<u16> {
    let address = Path::new("127.0.0.1");
    let listener = TcpListener::bind(("127.0.0.1", 0)).doing("listen on", address)?;
    Ok(listener.local_addr().doing("listen on", address)?.port())
}
