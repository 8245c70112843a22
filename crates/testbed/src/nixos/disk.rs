//! The disk of a real machine: an ESP with systemd-boot, and a root with Nix on it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::root::Root;
use crate::{Result, program};

/// Makes the disk `$1` from the tree `$0`, whose `/boot` goes to the ESP. The first
/// partition is the ESP, the second the root.
const MAKE: &str = "esp=$1.esp
truncate -s 160M \"$esp\"
mkfs.vfat -F 32 -n ESP \"$esp\" >/dev/null
mmd -i \"$esp\" ::/EFI ::/EFI/BOOT ::/EFI/systemd
for name in BOOT/BOOTX64.EFI systemd/systemd-bootx64.efi; do
  mcopy -i \"$esp\" /usr/lib/systemd/boot/efi/systemd-bootx64.efi \"::/EFI/$name\"
done
mcopy -s -i \"$esp\" \"$0\"/boot/EFI/nixos ::/EFI/
mcopy -s -i \"$esp\" \"$0\"/boot/loader ::/
rm -rf \"$0\"/boot/*
truncate -s 1600M \"$1\"
printf 'label: gpt\\nstart=1MiB, size=160MiB, type=uefi\\nstart=161MiB, size=1437MiB, type=linux\\n' |
  sfdisk --quiet \"$1\"
dd if=\"$esp\" of=\"$1\" bs=1M seek=1 conv=notrunc,sparse status=none
rm \"$esp\"
mkfs.ext4 -q -F -m 0 -E offset=$((161 << 20)),lazy_itable_init=1,lazy_journal_init=1 -d \"$0\" \"$1\" 1437M
";

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
