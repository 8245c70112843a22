//! The disk of a real machine: a boot loader, and a root with Nix on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::machine::BootLoader;
use super::root::Root;
use crate::{Result, program};

/// Makes a disk with an ESP from a tree.
const MAKE: &str = include_str!("system/make-disk.sh");
/// Makes one that a BIOS boots.
const MAKE_GRUB: &str = include_str!("system/make-grub-disk.sh");
/// What the root filesystem is called, where GRUB looks for it.
const UUID: &str = "5f0c7c3e-6a41-4d7f-9a58-0e1b2c3d4e5f";

/// Tells a tree what disk it will be on.
pub(super) fn prepare(root: &Root, loader: BootLoader) -> Result<()> {
    match loader {
        BootLoader::SystemdBoot => Ok(()),
        BootLoader::Grub => {
            // All of it is on one filesystem, which the kernel mounts.
            root.put("etc/fstab", "")?;
            root.put("etc/testbed/root-uuid", UUID)
        }
    }
}

/// Puts a root on a new disk image beside it, and removes the root.
pub(super) fn make(root: &Root, loader: BootLoader) -> Result<PathBuf> {
    let image = root.path().with_extension("img");
    let make = match loader {
        BootLoader::SystemdBoot => MAKE,
        BootLoader::Grub => MAKE_GRUB,
    };
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", make]).args([root.path(), &image]);
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
