//! What the kernel says of this boot, and which program this is.

use std::path::{Path, PathBuf};
use std::time::Duration;

use durable::Fs;

use crate::{MachineError, Result};

/// Where programs are, besides where this process looks: units get little of that.
const PROGRAMS: &str = "/run/wrappers/bin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin:\
                        /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn read(fs: &dyn Fs, path: &str) -> Result<String> {
    let text = durable::read_to_string(fs, Path::new(path))?;
    Ok(text.trim_end().to_owned())
}

pub(crate) fn boot_id(fs: &dyn Fs) -> Result<String> {
    read(fs, "/proc/sys/kernel/random/boot_id")
}

/// Time since this machine's kernel started, suspended time included.
///
/// # Errors
/// It can't be read.
pub fn uptime(fs: &dyn Fs) -> Result<Duration> {
    let text = read(fs, "/proc/uptime")?;
    let seconds = text.split(' ').next().and_then(|s| s.parse().ok());
    Ok(Duration::from_secs_f64(seconds.unwrap_or(0.0)))
}

pub(crate) fn cmdline(fs: &dyn Fs) -> Result<String> {
    read(fs, "/proc/cmdline")
}

/// The program that runs, to be started again.
pub(crate) fn own_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(|source| MachineError::File {
        doing: "find",
        path: PathBuf::from("backstop's own program"),
        source,
    })
}

/// Where a unit's programs are looked for: a unit gets little of this process's
/// surroundings.
pub(crate) fn search_path() -> String {
    match std::env::var("PATH") {
        Ok(own) if !own.is_empty() => format!("{own}:{PROGRAMS}"),
        _ => PROGRAMS.to_owned(),
    }
}
