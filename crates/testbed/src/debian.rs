//! A small Debian root, built from the machine's own package mirror.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use monitor::Monitor;

use crate::cache::{self, Cache};
use crate::error::Doing;
use crate::sources::SUITE;
use crate::{Error, Result, packages, program, sources};

/// What the guest is made of.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "udev",
    "dbus",
    "linux-image-cloud-amd64",
    "initramfs-tools",
    "zstd",
    "openssh-server",
    "iproute2",
    "kmod",
    "e2fsprogs",
    "login",
    "passwd",
];

/// Makes the root small, quiet and reachable.
const CUSTOMIZE: &str = include_str!("debian/customize.sh");

/// Options for every build that keep the packages small.
const OPTIONS: &[&str] = &[
    "--mode=root",
    "--variant=apt",
    "--aptopt=Apt::Install-Recommends \"false\"",
    "--aptopt=Acquire::Languages \"none\"",
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=force-unsafe-io",
];

/// A plain Debian root in the cache, built first if it is not there. Treat it
/// as read-only: others use it too.
///
/// # Errors
/// Missing packages, no root rights, or what `mmdebstrap` said.
pub fn root(cache: &Cache, monitor: &dyn Monitor) -> Result<PathBuf> {
    packages::require(&[packages::ROOT])?;
    if !packages::is_root() {
        return Err(Error::NeedsRoot("build a Debian root"));
    }
    let (_, public) = ssh_key(cache)?;
    let sources = sources::of_this_machine();
    let key = fs::read(&public).doing("read", &public)?;
    let id = cache::key(&[
        PACKAGES.join(",").as_bytes(),
        OPTIONS.join(" ").as_bytes(),
        CUSTOMIZE.as_bytes(),
        sources.as_bytes(),
        &key,
    ]);
    let dir = cache.dir_for("debian", &id, |dir| {
        monitor.note(&format!("building a Debian {SUITE} root, about a minute"));
        build(dir, &sources, &public)
    })?;
    Ok(dir.join("root"))
}

/// The key pair that reaches every guest: private, public.
///
/// # Errors
/// What `ssh-keygen` said.
pub fn ssh_key(cache: &Cache) -> Result<(PathBuf, PathBuf)> {
    let _lock = cache.lock("ssh")?;
    let private = cache.dir().join("id_ed25519");
    if !private.exists() {
        program::run(
            Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f"])
                .arg(&private),
        )?;
    }
    Ok((private.clone(), private.with_extension("pub")))
}

fn build(dir: &Path, sources: &str, public_key: &Path) -> Result<()> {
    let script = dir.join("customize.sh");
    let list = dir.join("sources.list");
    fs::write(&script, CUSTOMIZE).doing("write", &script)?;
    fs::write(&list, sources).doing("write", &list)?;
    let hook = format!(
        "--customize-hook=sh '{}' \"$1\" '{}'",
        script.display(),
        public_key.display()
    );
    program::run(
        Command::new("mmdebstrap")
            // The kernel's package makes no initramfs: the tree gets its own.
            .env("INITRD", "No")
            .args(OPTIONS)
            .arg(format!("--include={}", PACKAGES.join(",")))
            .args([&hook, SUITE])
            .args([&dir.join("root"), &list]),
    )
    .map(drop)
}
