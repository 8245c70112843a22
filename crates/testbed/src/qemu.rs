//! One QEMU process: from power on to its end.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::console::Console;
use crate::error::Doing;
use crate::machine::{Firmware, MachineOptions};
use crate::{Error, Result, program};

/// UEFI's code, from Debian's `ovmf`.
pub(crate) const OVMF_CODE: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";
/// UEFI's empty variables.
pub(crate) const OVMF_VARS: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/// How a guest came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It rebooted, or its kernel panicked and reset it.
    Reboot,
    /// It switched itself off.
    PowerOff,
    /// QEMU itself was stopped or died.
    Killed,
}

/// A running QEMU; killed when dropped.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    pub(crate) console: Console,
    reason: Arc<Mutex<Option<End>>>,
}

impl Qemu {
    pub(crate) fn start(
        options: &MachineOptions,
        dir: &Path,
        port: u16,
        boot: usize,
        started: Instant,
    ) -> Result<Self> {
        let qmp = dir.join("qmp");
        let writes = options.logs.join(format!("boot-{boot}.writes"));
        if options.record {
            std::fs::File::create(&writes).doing("create", &writes)?;
        }
        let mut command = command_line(options, dir, &qmp, port, &writes);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Start {
                program: "qemu-system-x86_64".into(),
                source,
            })?;
        let log = options.logs.join(format!("boot-{boot}.log"));
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let all = std::io::Read::chain(
            out.map_or_else(|| Box::new(std::io::empty()) as _, boxed),
            // QEMU's own words come after the guest's: it says why it could not start.
            err.map_or_else(|| Box::new(std::io::empty()) as _, boxed),
        );
        let qemu = Self {
            child,
            console: Console::follow(all, &log, started)?,
            reason: Arc::default(),
        };
        qemu.watch(&qmp);
        Ok(qemu)
    }

    /// Learns from QEMU's monitor why the guest ended.
    fn watch(&self, qmp: &Path) {
        let (qmp, reason) = (qmp.to_owned(), Arc::clone(&self.reason));
        std::thread::spawn(move || {
            // Without the monitor an end counts as a reboot: see `ended`.
            let _ = read_events(&qmp, &reason);
        });
    }

    /// How the guest ended, if it did.
    pub(crate) fn ended(&mut self) -> Result<Option<End>> {
        let status = self.child.try_wait().doing("wait for", Path::new("QEMU"))?;
        let Some(status) = status else {
            return Ok(None);
        };
        let told = *self.reason.lock().unwrap_or_else(|e| e.into_inner());
        Ok(Some(match told {
            _ if !status.success() => End::Killed,
            Some(end) => end,
            None => End::Reboot,
        }))
    }

    /// Ends it at once, as a power cut would.
    pub(crate) fn kill(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        self.kill();
    }
}

fn boxed(stream: impl std::io::Read + Send + 'static) -> Box<dyn std::io::Read + Send> {
    Box::new(stream)
}

fn read_events(qmp: &Path, reason: &Mutex<Option<End>>) -> std::io::Result<()> {
    let mut stream = connect(qmp)?;
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n")?;
    for line in BufReader::new(stream).lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(&line?) else {
            continue;
        };
        if event["event"] == "SHUTDOWN" {
            let end = match event["data"]["reason"].as_str() {
                Some("guest-shutdown") => End::PowerOff,
                Some("guest-reset" | "guest-panic" | "subsystem-reset") => End::Reboot,
                _ => End::Killed,
            };
            *reason.lock().unwrap_or_else(|e| e.into_inner()) = Some(end);
        }
    }
    Ok(())
}

fn connect(qmp: &Path) -> std::io::Result<UnixStream> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        match UnixStream::connect(qmp) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(50)),
            result => return result,
        }
    }
}

fn command_line(
    options: &MachineOptions,
    dir: &Path,
    qmp: &Path,
    port: u16,
    writes: &Path,
) -> Command {
    let mut qemu = program::within(options.network.as_deref(), "qemu-system-x86_64");
    qemu.args(["-display", "none", "-nodefaults", "-vga", "none"])
        .args(["-serial", "stdio"])
        // A reset inside one process takes two to three times as long as a new process.
        .arg("-no-reboot")
        .args(["-m", &options.memory_mib.to_string()])
        .args(["-device", "virtio-rng-pci"])
        .arg("-qmp")
        .arg(format!("unix:{},server=on,wait=off", qmp.display()));
    match options.kvm {
        true => qemu
            .args(["-accel", "kvm", "-cpu", "host"])
            .args(["-smp", &options.cpus.to_string()]),
        // Of several emulated processors one now and then misses its timers for good on a
        // busy machine, and the guest's kernel stands still ("rcu_preempt kthread timer
        // wakeup didn't happen").
        false => qemu.args(["-accel", "tcg", "-smp", "1"]),
    };
    match options.firmware {
        Firmware::Bios => qemu.args(["-M", "pc"]),
        Firmware::Efi => {
            let vars = dir.join("vars.fd");
            qemu.args(["-M", "q35", "-drive"])
                .arg(format!("if=pflash,format=raw,readonly=on,file={OVMF_CODE}"))
                .arg("-drive")
                .arg(format!("if=pflash,format=raw,file={}", vars.display()))
        }
    };
    disks(&mut qemu, options, writes);
    if let Some(direct) = &options.direct {
        qemu.arg("-kernel").arg(&direct.kernel);
        qemu.arg("-initrd").arg(&direct.initrd);
        qemu.args(["-append", &direct.cmdline]);
    }
    // Network cards among these are the first ones.
    qemu.args(&options.more_arguments);
    qemu.arg("-netdev")
        .arg(format!(
            "user,id=n,restrict={},hostfwd=tcp:127.0.0.1:{port}-:{}",
            if options.outside { "off" } else { "on" },
            options.ssh_port
        ))
        .args(["-device", "virtio-net-pci,netdev=n,romfile="]);
    qemu
}

fn disks(qemu: &mut Command, options: &MachineOptions, writes: &Path) {
    let images = std::iter::once(&options.image).chain(&options.more_disks);
    for (n, image) in images.enumerate() {
        let read_only = if n == 0 { "off" } else { "on" };
        match (n, options.record) {
            (0, true) => recorded(qemu, image, writes),
            _ => qemu.arg("-drive").arg(format!(
                "file={},if=none,id=d{n},format=raw,cache=unsafe,readonly={read_only}",
                image.display()
            )),
        };
        qemu.arg("-device");
        match (n, &options.direct) {
            (0, None) => qemu.arg("nvme,drive=d0,serial=d0,bootindex=0"),
            (0, Some(_)) => qemu.arg("nvme,drive=d0,serial=d0"),
            _ => qemu.arg(format!("virtio-blk-pci,drive=d{n},serial=disk{n}")),
        };
    }
}

/// The disk `d0`, each write and flush of which is recorded.
fn recorded<'q>(qemu: &'q mut Command, image: &Path, writes: &Path) -> &'q mut Command {
    let (image, writes) = (image.display(), writes.display());
    for node in [
        format!("driver=file,filename={image},node-name=d0-file"),
        "driver=raw,file=d0-file,node-name=d0-raw".to_owned(),
        format!("driver=file,filename={writes},node-name=d0-log"),
        "driver=blklogwrites,file=d0-raw,log=d0-log,log-sector-size=512,node-name=d0".to_owned(),
    ] {
        qemu.arg("-blockdev").arg(node);
    }
    qemu
}
