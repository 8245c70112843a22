//! The disk of a real machine: an ESP with systemd-boot, and a root with Nix on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::root::Root;
use crate::{Result, program};

/// Makes a disk from a tree.
const MAKE: &str = include_str!("system/make-disk.sh");

/// Puts a root on a new disk image beside it, and removes the root.
pub(super) fn make(root: &Root) -> Result<PathBuf> {
    let image = root.path().with_extension("img");
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", MAKE]).args([root.path(), &image]);
    program::run(&mut command)?;
    crate::cache::remove(root.path())?;
    Ok(image)
}

/// Installs a version of a closure that lies in the root at `closure`.
pub(super) fn install(root: &Root, closure: &Path, system: &str) -> Result<()> {
    let closure = closure.display();
    root.run_own(&format!(
        "mkdir -p /nix/var/nix/gcroots
nix-store --init
nix-store --import <{closure} >/dev/null
rm {closure}
for name in current-system booted-system; do ln -s /run/$name /nix/var/nix/gcroots/; done
nix-env -p /nix/var/nix/profiles/system --set {system}
{system}/bin/install-bootloader {system}"
    ))
    .map(drop)
}
