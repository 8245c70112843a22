//! An Ethernet switch and what is plugged into it, in network namespaces.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use crate::{Error, Result, program};

/// A network namespace, held by a process that does nothing. It goes with the process
/// that made it, however that ends.
#[derive(Debug)]
struct Namespace {
    holder: Child,
}

impl Namespace {
    fn new() -> Result<Self> {
        let start = |source| Error::Start {
            program: "unshare".into(),
            source,
        };
        let mut holder = Command::new("unshare")
            .args(["--net", "/bin/sh", "-c", "echo; exec cat >/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(start)?;
        // Its word comes from inside.
        if let Some(mut pipe) = holder.stdout.take() {
            pipe.read_exact(&mut [0]).map_err(start)?;
        }
        Ok(Self { holder })
    }

    fn id(&self) -> u32 {
        self.holder.id()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.id())
    }

    /// Gives `ip` some commands in this namespace.
    fn ip(&self, commands: &str) -> Result<()> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .args(["ip", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let start = |source| Error::Start {
            program: "ip".into(),
            source,
        };
        let mut child = command.spawn().map_err(start)?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(commands.as_bytes()).map_err(start)?;
        }
        let output = child.wait_with_output().map_err(start)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(program::failed(&command, &output)),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// An Ethernet switch.
#[derive(Debug)]
pub(super) struct Switch(Namespace);

impl Switch {
    pub(super) fn new() -> Result<Self> {
        let namespace = Namespace::new()?;
        namespace.ip("link set lo up\nlink add br0 type bridge\nlink set br0 up\n")?;
        Ok(Self(namespace))
    }

    /// Plugs in the cable of a new network namespace, where it is `eth0`.
    pub(super) fn plug(&self, number: u32) -> Result<Port> {
        let namespace = Namespace::new()?;
        let there = namespace.id();
        self.0.ip(&format!(
            "link add v{number} type veth peer name eth0 netns {there}\nlink set v{number} master br0 up\n"
        ))?;
        Ok(Port { namespace, number })
    }

    /// Makes the cable of a virtual machine that runs in the switch's own namespace;
    /// gives its interface's name there.
    pub(super) fn plug_machine(&self, number: u32) -> Result<String> {
        self.0.ip(&format!(
            "tuntap add v{number} mode tap\nlink set v{number} master br0 up\n"
        ))?;
        Ok(format!("v{number}"))
    }

    /// The switch's own namespace, as a path.
    pub(super) fn path(&self) -> String {
        self.0.path()
    }

    /// Pulls a cable, or puts it back.
    pub(super) fn set(&self, port: &Port, up: bool) -> Result<()> {
        let word = if up { "up" } else { "down" };
        self.0.ip(&format!("link set v{} {word}\n", port.number))
    }
}

/// What hangs on one cable.
#[derive(Debug)]
pub(super) struct Port {
    namespace: Namespace,
    number: u32,
}

impl Port {
    /// The namespace, as a path.
    pub(super) fn path(&self) -> String {
        self.namespace.path()
    }
}
