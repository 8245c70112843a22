//! The Debian packages that machines are made with.

use std::path::Path;
use std::process::Command;

use crate::{Error, Result, program};

/// What shows that a package is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A program on the path.
    Program(&'static str),
    /// A file.
    File(&'static str),
}

/// A Debian package and what shows that it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Its name in Debian.
    pub package: &'static str,
    /// What it brings.
    pub probe: Probe,
}

const fn program(package: &'static str, name: &'static str) -> Need {
    Need {
        package,
        probe: Probe::Program(name),
    }
}

const fn file(package: &'static str, path: &'static str) -> Need {
    Need {
        package,
        probe: Probe::File(path),
    }
}

/// For building a Debian root.
pub const ROOT: &[Need] = &[
    program("mmdebstrap", "mmdebstrap"),
    program("openssh-client", "ssh-keygen"),
    file(
        "debian-archive-keyring",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
    ),
];

/// For putting a root on a disk image that boots.
pub const DISK: &[Need] = &[
    program("fdisk", "sfdisk"),
    program("e2fsprogs", "mkfs.ext4"),
    program("dosfstools", "mkfs.vfat"),
    program("mtools", "mcopy"),
    program("grub-common", "grub-mkimage"),
    program("grub-emu", "grub-emu"),
    file("grub-pc-bin", "/usr/lib/grub/i386-pc/boot.img"),
    file("grub-efi-amd64-bin", "/usr/lib/grub/x86_64-efi/linux.mod"),
    file(
        "systemd-boot-efi",
        "/usr/lib/systemd/boot/efi/systemd-bootx64.efi",
    ),
];

/// For booting a disk image.
pub const MACHINE: &[Need] = &[
    program("qemu-system-x86", "qemu-system-x86_64"),
    file("ovmf", crate::qemu::OVMF_CODE),
    program("openssh-client", "ssh"),
];

/// For damaging a disk image, and looking into what is on it.
pub const DAMAGE: &[Need] = &[
    program("e2fsprogs", "debugfs"),
    program("mtools", "mtype"),
    program("cpio", "cpio"),
];

/// For booting as Secure Boot demands.
pub const SIGNED: &[Need] = &[
    file("shim-signed", "/usr/lib/shim/shimx64.efi.signed"),
    file(
        "grub-efi-amd64-signed",
        "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    ),
];

/// For what `ostree` does at shutdown.
pub const STAGED: &[Need] = &[file(
    "ostree-boot",
    "/lib/systemd/system/ostree-finalize-staged.service",
)];

/// For booting a deployment in a container.
pub const CONTAINER: &[Need] = &[program("systemd-container", "systemd-nspawn")];

/// For hosts that imitate NixOS.
pub const NIX: &[Need] = &[
    program("nix-bin", "nix-build"),
    program("busybox-static", "busybox"),
    program("openssh-server", "sshd"),
    program("openssh-client", "ssh"),
    program("iproute2", "ip"),
    program("gcc", "cc"),
    program("strace", "strace"),
    program("sudo", "sudo"),
];

/// For comparing with Debian's own `ostree`.
pub const ORACLE: &[Need] = &[
    program("ostree", "ostree"),
    program("attr", "getfattr"),
    program("openssl", "openssl"),
];

/// For running Debian's tests of `ostree`.
pub const CONFORMANCE: &[Need] = &[
    program("attr", "setfattr"),
    program("cpio", "cpio"),
    program("strace", "strace"),
    program("gnupg", "gpg"),
    program("xz-utils", "xz"),
    program("ostree", "ostree"),
    file("libsoup2.4-1", "/usr/lib/x86_64-linux-gnu/libsoup-2.4.so.1"),
    file(
        "python3-yaml",
        "/usr/lib/python3/dist-packages/yaml/__init__.py",
    ),
];

/// The packages of `needs` that are not there, each once.
#[must_use]
pub fn missing(needs: &[&[Need]]) -> Vec<&'static str> {
    let mut names: Vec<_> = needs
        .iter()
        .copied()
        .flatten()
        .filter(|need| !present(need.probe))
        .map(|need| need.package)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What keeps this process from what takes root and packages: those that are not there,
/// and `root` where it is not.
#[must_use]
pub fn lacks(needs: &[&[Need]]) -> Vec<&'static str> {
    let mut lacks = missing(needs);
    if !is_root() {
        lacks.push("root");
    }
    lacks
}

/// Refuses when packages of `needs` are not there.
///
/// # Errors
/// [`Error::Missing`], naming them.
pub fn require(needs: &[&[Need]]) -> Result<()> {
    match missing(needs) {
        names if names.is_empty() => Ok(()),
        names => Err(Error::Missing(names)),
    }
}

fn present(probe: Probe) -> bool {
    match probe {
        Probe::Program(name) => program::find(name).is_some(),
        Probe::File(path) => Path::new(path).exists(),
    }
}

/// Installs Debian packages with `apt-get`, without those merely recommended.
///
/// # Errors
/// [`Error::NeedsRoot`], or what `apt-get` said.
pub fn install(names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    if !is_root() {
        return Err(Error::NeedsRoot("install packages"));
    }
    let apt = |args: &[&str]| {
        program::run(
            Command::new("apt-get")
                .env("DEBIAN_FRONTEND", "noninteractive")
                .args(args),
        )
    };
    apt(&["update", "-q"])?;
    let mut args = vec!["install", "-q", "-y", "--no-install-recommends"];
    args.extend(names);
    apt(&args).map(drop)
}

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_names_each_package_once() {
        let needs = [
            program("zzz", "no-such-program-1"),
            program("zzz", "no-such-program-2"),
            program("dash", "sh"),
            file("aaa", "/no/such/file"),
            file("base", "/"),
        ];
        assert_eq!(missing(&[&needs, &needs]), ["aaa", "zzz"]);
        assert_eq!(
            require(&[&needs]).unwrap_err().to_string(),
            "needs the Debian packages aaa zzz"
        );
        assert!(require(&[&needs[2..3]]).is_ok());
    }
}
