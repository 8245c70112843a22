//! A network with hosts and an operator's machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

use super::host::{HostOptions, NixHost};
use super::machine::BootLoader;
use super::root::Root;
use super::switch::Switch;
use super::toplevel::Toplevel;
use crate::error::Doing;
use crate::{Result, packages, program};

/// How an imitated system is built.
const SCRIPTS: [(&str, &str); 12] = [
    ("app.sh", include_str!("system/app.sh")),
    ("etc.sh", include_str!("system/etc.sh")),
    ("system.sh", include_str!("system/system.sh")),
    (
        "switch-to-configuration",
        include_str!("system/switch-to-configuration"),
    ),
    (
        "install-bootloader",
        include_str!("system/install-bootloader"),
    ),
    ("install-grub", include_str!("system/install-grub")),
    ("activate", include_str!("system/activate")),
    ("dry-activate", include_str!("system/dry-activate")),
    ("init", include_str!("system/init")),
    ("bootctl", include_str!("system/bootctl")),
    ("initrd.sh", include_str!("system/initrd.sh")),
    ("stage-1", include_str!("system/stage-1")),
];
/// The programs in a system's closure.
const APPLETS: &str = "sh basename cat chmod cmp cp cpio cut dd dirname find grep httpd id ln ls mkdir mv printf readlink rm sed sleep sort sync touch tr";
/// Where the operator has the kernel of real machines.
const KERNEL: &str = "/testbed/linux";
/// The operator's number on the network.
const OPERATOR: u32 = 1;

/// A network with hosts and an operator's machine, whose name is `operator`.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
    switch: Switch,
    template: Root,
    first: String,
    operator: NixHost,
    numbers: AtomicU32,
    versions: AtomicU32,
    // The operator's /etc/hosts, known_hosts and kernel.
    known: Mutex<()>,
}

impl Site {
    /// Makes the network, builds version 1, and boots the operator's machine,
    /// where `binary` is installed as `backstop`.
    ///
    /// # Errors
    /// Missing packages, no root rights.
    pub fn new(dir: &Path, binary: &Path) -> Result<Self> {
        packages::require(&[packages::NIX, packages::CONTAINER])?;
        let template = Root::create(&dir.join("template"))?;
        write_expressions(&template)?;
        keys(&template)?;
        template.run("nix-store --init")?;
        let first = build(&template, &Toplevel::new("1"), 1)?;
        template.run(&format!(
            "nix-env -p /nix/var/nix/profiles/system --set {first}; {first}/bin/install-bootloader {first}"
        ))?;
        let switch = Switch::new()?;
        let options = HostOptions {
            backstop: Some(binary.to_owned()),
            ..HostOptions::default()
        };
        let root = template.copy(&dir.join("operator"))?;
        // Only the operator may have the private key.
        let private = template.path().join("root/.ssh");
        fs::remove_dir_all(&private).doing("remove", &private)?;
        let operator = start("operator", OPERATOR, root, &switch, &options)?;
        operator.wait_ready()?;
        Ok(Self {
            dir: dir.to_owned(),
            switch,
            template,
            first,
            operator,
            numbers: AtomicU32::new(OPERATOR + 1),
            versions: AtomicU32::new(2),
            known: Mutex::default(),
        })
    }

    /// The operator's machine. `ssh NAME` there reaches a host as root.
    #[must_use]
    pub fn operator(&self) -> &NixHost {
        &self.operator
    }

    /// The toplevel of version 1, which hosts run first.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.first
    }

    /// Builds a version on the operator's machine; gives its store path.
    ///
    /// # Errors
    /// What `nix-build` said.
    pub fn build(&self, toplevel: &Toplevel) -> Result<String> {
        let number = self.versions.fetch_add(1, Ordering::Relaxed);
        build_on(&self.operator, toplevel, number)
    }

    /// Makes a host, switches it on and waits until it is up.
    ///
    /// # Errors
    /// It does not boot.
    pub fn host(&self, name: &str, options: &HostOptions) -> Result<NixHost> {
        let host = self.switch_on(name, options)?;
        host.wait_ready()?;
        Ok(host)
    }

    /// Makes hosts, some at a time.
    ///
    /// # Errors
    /// One of them does not boot.
    pub fn hosts(&self, names: &[String], options: &HostOptions) -> Result<Vec<NixHost>> {
        let mut hosts = Vec::new();
        for group in names.chunks(TOGETHER) {
            let from = hosts.len();
            for name in group {
                hosts.push(self.switch_on(name, options)?);
            }
            hosts[from..].iter().try_for_each(NixHost::wait_ready)?;
        }
        Ok(hosts)
    }

    fn switch_on(&self, name: &str, options: &HostOptions) -> Result<NixHost> {
        let root = self.template.copy(&self.dir.join(name))?;
        if let Some(system) = &options.system {
            self.install(&root, system)?;
        }
        if options.no_profile {
            let system = options.system.as_deref().unwrap_or(&self.first);
            root.run(&format!(
                "rm /nix/var/nix/profiles/system*; ln -s {system} /nix/var/nix/gcroots/installed"
            ))?;
        }
        let host = start(name, self.number(), root, &self.switch, options)?;
        let key = host.root().join("etc/ssh/ssh_host_ed25519_key.pub");
        self.introduce(host.name(), host.address(), &key)?;
        Ok(host)
    }

    /// The number on the network of one more host.
    pub(super) fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// What connects the hosts.
    pub(super) fn switch(&self) -> &Switch {
        &self.switch
    }

    /// Gives the operator the kernel of real machines, if it is not there.
    pub(super) fn bring_kernel(&self, kernel: &Path) -> Result<()> {
        let dir = self.operator.root().join(&KERNEL[1..]);
        let there = dir.join("vmlinuz");
        // Somebody else may be building with it already.
        let _one = self.known();
        if there.exists() {
            return Ok(());
        }
        fs::create_dir_all(&dir).doing("create", &dir)?;
        fs::copy(kernel, &there).doing("write", &there).map(drop)
    }

    /// Puts a closure of the operator's machine on a host that is off.
    fn install(&self, root: &Root, system: &str) -> Result<()> {
        let export = self.export(system)?;
        let there = root.path().join("tmp/closure");
        fs::rename(&export, &there).doing("move", &there)?;
        root.run(&format!(
            "nix-store --import </tmp/closure >/dev/null; rm /tmp/closure /nix/var/nix/profiles/system*
nix-env -p /nix/var/nix/profiles/system --set {system}; {system}/bin/install-bootloader {system}"
        ))
        .map(drop)
    }

    /// Brings a closure from the operator's machine to a host's store, without
    /// the network.
    ///
    /// # Errors
    /// What `nix-store` said.
    pub fn bring(&self, path: &str, host: &NixHost) -> Result<()> {
        let export = self.export(path)?;
        let there = host.root().join("var/tmp/closure");
        fs::rename(&export, &there).doing("move", &there)?;
        host.run("nix-store --import </var/tmp/closure >/dev/null && rm /var/tmp/closure")
            .map(drop)
    }

    /// Writes a closure to a file; gives its path on this machine.
    pub(super) fn export(&self, path: &str) -> Result<PathBuf> {
        let number = self.versions.fetch_add(1, Ordering::Relaxed);
        self.operator.run(&format!(
            "nix-store --export $(nix-store -qR {path}) >/var/tmp/export-{number}"
        ))?;
        let file = format!("var/tmp/export-{number}");
        Ok(self.operator.root().join(file))
    }

    /// Tells the operator a host's address and key.
    pub(super) fn introduce(&self, name: &str, address: &str, key: &Path) -> Result<()> {
        let _one = self.known();
        let key = fs::read_to_string(key).doing("read", key)?;
        let root = self.operator.root();
        append(&root.join("etc/hosts"), &format!("{address} {name}\n"))?;
        let known = format!("{name},{address} {key}");
        append(&root.join("root/.ssh/known_hosts"), &known)
    }

    fn known(&self) -> MutexGuard<'_, ()> {
        self.known.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Runs a script on a host by ssh, from the operator's machine.
    ///
    /// # Errors
    /// The operator's machine is off.
    pub fn ssh(&self, host: &NixHost, script: &str) -> Result<Output> {
        let quoted = script.replace('\'', "'\\''");
        self.operator.output(&format!(
            "ssh -o BatchMode=yes -o ConnectTimeout=5 {} '{quoted}'",
            host.name()
        ))
    }

    /// The page of a host at port 80, as the operator's machine gets it.
    ///
    /// # Errors
    /// The operator's machine is off.
    pub fn page(&self, host: &NixHost, path: &str) -> Result<Option<String>> {
        let address = host.address();
        let output = self.operator.output(&format!(
            "timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/80; printf \"GET {path} HTTP/1.0\\r\\n\\r\\n\" >&3; cat <&3'"
        ))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let page = text.split_once("\r\n\r\n").map(|(_, page)| page.trim());
        Ok(page.map(str::to_owned))
    }

    /// Pulls a host's network cable, or puts it back.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn cable(&self, host: &NixHost, plugged_in: bool) -> Result<()> {
        self.switch.set(host.port(), plugged_in)
    }
}

/// How many hosts boot at a time.
const TOGETHER: usize = 10;

fn start(
    name: &str,
    number: u32,
    root: Root,
    switch: &Switch,
    options: &HostOptions,
) -> Result<NixHost> {
    let address = identify(&root, name, number)?;
    let port = switch.plug(number)?;
    NixHost::start(name, &address, root, port, options)
}

/// Gives a host a name, keys and the address of its number.
pub(super) fn identify(root: &Root, name: &str, number: u32) -> Result<String> {
    let (high, low) = (number >> 8, number & 0xff);
    let address = format!("10.77.{high}.{low}");
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid");
    let id = id.doing("read", Path::new("/proc/sys/kernel/random/uuid"))?;
    root.put("etc/hostname", &format!("{name}\n"))?;
    root.put("etc/machine-id", &id.replace('-', ""))?;
    root.put("etc/testbed/address", &format!("{address}/16"))?;
    root.put("etc/testbed/gateway", &format!("10.77.0.{OPERATOR}"))?;
    let key = root.path().join("etc/ssh/ssh_host_ed25519_key");
    key_pair(&key, name)?;
    Ok(address)
}

/// The operator's key, and who may come in with it.
fn keys(root: &Root) -> Result<()> {
    let key = root.path().join("root/.ssh/id_ed25519");
    key_pair(&key, "operator")?;
    let public = key.with_extension("pub");
    let public = fs::read_to_string(&public).doing("read", &public)?;
    root.put("etc/ssh/authorized_keys.d/root", &public)
}

fn key_pair(path: &Path, comment: &str) -> Result<()> {
    let mut command = Command::new("ssh-keygen");
    command
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(path);
    program::run(&mut command).map(drop)
}

/// Puts what systems are built from into a root.
fn write_expressions(root: &Root) -> Result<()> {
    let dir = root.path().join("testbed");
    let units = dir.join("scripts/units");
    fs::create_dir_all(&units).doing("create", &units)?;
    root.put("testbed/toplevel.nix", include_str!("system/toplevel.nix"))?;
    for (name, text) in SCRIPTS {
        root.put(&format!("testbed/scripts/{name}"), text)?;
    }
    root.put(
        "testbed/scripts/sshd_config",
        include_str!("system/sshd_config"),
    )?;
    for (name, text) in super::units::UNITS {
        root.put(&format!("testbed/scripts/units/{name}"), text)?;
    }
    let script = format!(
        "mkdir -p busybox/bin; cp \"$(command -v busybox)\" busybox/bin/; for a in {APPLETS}; do ln -s busybox busybox/bin/$a; done"
    );
    program::run(
        Command::new("/bin/sh")
            .args(["-ec", &script])
            .current_dir(&dir),
    )
    .map(drop)
}

fn build_command(root: &Path, toplevel: &Toplevel, number: u32) -> Result<String> {
    let extra = format!("/testbed/version-{number}");
    let dir = root.join(&extra[1..]);
    fs::create_dir_all(&dir).doing("create", &dir)?;
    toplevel.lay_out(&dir)?;
    let kernel = match toplevel.machine() {
        Some(BootLoader::SystemdBoot) => format!("--arg kernel {KERNEL}"),
        Some(BootLoader::Grub) => format!("--arg kernel {KERNEL} --arg grub true"),
        None => String::new(),
    };
    let specialised = toplevel.is_specialised();
    Ok(format!(
        "nix-build --quiet --no-out-link /testbed/toplevel.nix --argstr version '{}' --argstr payload {} --argstr extra {extra} --arg specialised {specialised} {kernel}",
        toplevel.version(),
        toplevel.kib()
    ))
}

fn build(root: &Root, toplevel: &Toplevel, number: u32) -> Result<String> {
    let command = build_command(root.path(), toplevel, number)?;
    Ok(root.run(&command)?.trim().to_owned())
}

fn build_on(operator: &NixHost, toplevel: &Toplevel, number: u32) -> Result<String> {
    let command = build_command(operator.root(), toplevel, number)?;
    Ok(operator.run(&command)?.trim().to_owned())
}

fn append(path: &Path, text: &str) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        old => old.doing("read", path)?,
    };
    fs::write(path, old + text).doing("write", path)
}
