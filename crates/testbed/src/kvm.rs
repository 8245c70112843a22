//! Whether the processor's virtualisation really works here.
//!
//! A `/dev/kvm` that opens proves little: inside some virtual machines kernels
//! hang on it. So a kernel is booted once, as far as it gets without a disk.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::console::Console;
use crate::error::Doing;
use crate::{Error, Result};

/// A kernel gets there in a second where it works.
const LIMIT: Duration = Duration::from_secs(8);
/// What a kernel without a disk ends with.
const END: &str = "Unable to mount root fs";

/// Tries it with a kernel, once per boot of this machine; later calls ask the
/// cache. `BACKSTOP_KVM=1` and `=0` decide without a trial.
///
/// # Errors
/// The disk's.
pub fn works(cache: &Cache, kernel: &Path) -> Result<bool> {
    match std::env::var("BACKSTOP_KVM").as_deref() {
        Ok("1") => return Ok(true),
        Ok("0") => return Ok(false),
        _ => {}
    }
    if fs::OpenOptions::new().write(true).open("/dev/kvm").is_err() {
        return Ok(false);
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let answer = cache.dir().join("kvm");
    let _lock = cache.lock("kvm")?;
    if let Ok(text) = fs::read_to_string(&answer)
        && let Some(known) = text.strip_prefix(id.trim())
    {
        return Ok(known.trim() == "works");
    }
    let works = try_it(kernel, &cache.dir().join("kvm.log"))?;
    let word = if works { "works" } else { "does not work" };
    fs::write(&answer, format!("{} {word}\n", id.trim())).doing("write", &answer)?;
    Ok(works)
}

fn try_it(kernel: &Path, log: &Path) -> Result<bool> {
    let mut child = Command::new("qemu-system-x86_64")
        .args(["-display", "none", "-nodefaults", "-serial", "stdio"])
        .args(["-no-reboot", "-m", "256", "-accel", "kvm", "-cpu", "host"])
        .args(["-append", "console=ttyS0 panic=-1", "-kernel"])
        .arg(kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| Error::Start {
            program: "qemu-system-x86_64".into(),
            source,
        })?;
    let seen = match child.stdout.take() {
        Some(out) => Console::follow(out, log, Instant::now())?
            .wait_for(END, LIMIT)
            .is_ok(),
        None => false,
    };
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
    Ok(seen)
}
