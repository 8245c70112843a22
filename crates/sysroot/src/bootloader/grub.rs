//! GRUB of a host that is not backstop's: a program makes `loader.B/grub.cfg` of the boot
//! entries beside it.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Error, Result};

/// The program that `ostree` is told to use instead of the system's.
const PROGRAM: &str = "OSTREE_GRUB2_EXEC";
/// What systems call theirs.
const SYSTEM: [&str; 2] = ["grub2-mkconfig", "grub-mkconfig"];

/// Makes the configuration of one set of entries.
pub(super) fn generate(root: &Path, version: u8, dir: &Path) -> Result<()> {
    let config = dir.join("grub.cfg");
    let failed = |why: String| Error::Invalid {
        path: config.clone(),
        why,
    };
    let program = match std::env::var_os(PROGRAM) {
        Some(program) => program,
        None if root != Path::new("/") => {
            let why = format!(
                "only the running system's GRUB can be configured; for {}, name a program by \
                 {PROGRAM}, or set `[sysroot] bootloader=none` in its repository",
                root.display()
            );
            return Err(failed(why));
        }
        None => system_program().into(),
    };
    let run = Command::new(&program)
        .arg("-o")
        .arg(&config)
        .env("_OSTREE_GRUB2_BOOTVERSION", version.to_string())
        .stdin(Stdio::null())
        .output();
    let program = program.to_string_lossy();
    match run {
        Err(e) => Err(failed(format!("cannot run {program} to make it: {e}"))),
        Ok(output) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default();
            Err(failed(format!("{program} cannot make it: {last}")))
        }
        Ok(_) => Ok(()),
    }
}

/// The first of the system's programs that is in the search path.
fn system_program() -> &'static str {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&&str| std::env::split_paths(&path).any(|dir| dir.join(name).is_file());
    SYSTEM.iter().find(there).copied().unwrap_or(SYSTEM[0])
}
