//! A wall clock of a host's own.
//!
//! All containers of a machine share its clock, and setting that is no test's
//! business. So the C library of a host's programs, systemd among them, is told
//! another time; the monotonic clocks stay the kernel's, as they do when a clock is
//! set.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::root::Root;
use crate::error::Doing;
use crate::{Result, program};

/// Ahead by so many seconds, as text.
const AHEAD: &str = "etc/testbed/clock";
/// What is loaded into every program.
const LIBRARY: &str = "etc/testbed/clock.so";

/// Gives a host that is off a clock of its own.
pub(super) fn install(root: &Root) -> Result<()> {
    let source = "etc/testbed/clock.c";
    root.put(source, include_str!("system/clock.c"))?;
    let mut command = Command::new("cc");
    command
        .args(["-shared", "-fPIC", "-O1", "-fno-builtin", "-o"])
        .args([LIBRARY, source])
        .current_dir(root.path());
    program::run(&mut command)?;
    root.put("etc/ld.so.preload", &format!("/{LIBRARY}\n"))?;
    set(root.path(), 0)
}

/// Sets it ahead of this machine's by so many seconds.
pub(super) fn set(root: &Path, ahead: i64) -> Result<()> {
    let path = root.join(AHEAD);
    // At once: nobody reads half a number.
    let new = path.with_extension("new");
    fs::write(&new, ahead.to_string()).doing("write", &new)?;
    fs::rename(&new, &path).doing("write", &path)
}
