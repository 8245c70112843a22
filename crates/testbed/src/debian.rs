//! A small Debian root, built from the machine's own package mirror.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use monitor::Monitor;

use crate::cache::{self, Cache};
use crate::error::Doing;
use crate::{Error, Release, Result, packages, program, sources};

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

/// What a machine with Nix has besides.
const NIX_PACKAGES: &[&str] = &["nix-bin", "systemd-boot", "systemd-container", "procps"];

/// Makes the root small, quiet and reachable.
const CUSTOMIZE: &str = include_str!("debian/customize.sh");
/// Leaves units, sshd and network to what Nix brings.
const CUSTOMIZE_NIX: &str = include_str!("debian/nix.sh");

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

/// A kind of root.
struct Kind {
    name: String,
    release: Release,
    packages: Vec<&'static str>,
    customize: &'static [&'static str],
}

/// A plain Debian root in the cache, built first if it is not there. Treat it
/// as read-only: others use it too.
///
/// # Errors
/// Missing packages, no root rights, or what `mmdebstrap` said.
pub fn root(cache: &Cache, release: Release, monitor: &dyn Monitor) -> Result<PathBuf> {
    let kind = Kind {
        name: match release {
            Release::Bookworm => "debian".into(),
            other => format!("debian-{}", other.suite()),
        },
        release,
        packages: PACKAGES.to_vec(),
        customize: &[CUSTOMIZE],
    };
    kind.root(cache, monitor)
}

/// The same with Nix, for a machine whose units and network come with the
/// version of the system that it runs. Its own sshd, at port [`CONSOLE_PORT`],
/// is no version's business.
///
/// # Errors
/// As [`root`].
pub fn nix_root(cache: &Cache, monitor: &dyn Monitor) -> Result<PathBuf> {
    let kind = Kind {
        name: "debian-nix".into(),
        release: Release::Bookworm,
        packages: [PACKAGES, NIX_PACKAGES].concat(),
        customize: &[CUSTOMIZE, CUSTOMIZE_NIX],
    };
    kind.root(cache, monitor)
}

/// The programs of a release that make hosts: what disks and boot loaders take, and
/// `ostree`. No machine: it has no kernel.
///
/// # Errors
/// As [`root`].
pub(crate) fn tools_root(
    cache: &Cache,
    release: Release,
    monitor: &dyn Monitor,
) -> Result<PathBuf> {
    let needs = [packages::DISK, packages::SIGNED].concat();
    let mut names: Vec<_> = needs.iter().map(|need| need.package).collect();
    names.push("ostree");
    names.sort_unstable();
    names.dedup();
    let kind = Kind {
        name: format!("debian-{}-tools", release.suite()),
        release,
        packages: names,
        customize: &[],
    };
    kind.root(cache, monitor)
}

/// Where the sshd of a [`nix_root`] listens.
pub const CONSOLE_PORT: u16 = 2222;

impl Kind {
    fn root(&self, cache: &Cache, monitor: &dyn Monitor) -> Result<PathBuf> {
        packages::require(&[packages::ROOT])?;
        if !packages::is_root() {
            return Err(Error::NeedsRoot("build a Debian root"));
        }
        let (_, public) = ssh_key(cache)?;
        let sources = sources::of_this_machine(self.release);
        let key = fs::read(&public).doing("read", &public)?;
        let id = cache::key(&[
            self.packages.join(",").as_bytes(),
            OPTIONS.join(" ").as_bytes(),
            self.customize.concat().as_bytes(),
            sources.as_bytes(),
            &key,
        ]);
        let dir = cache.dir_for(&self.name, &id, |dir| {
            let suite = self.release.suite();
            monitor.note(&format!("building a Debian {suite} root, about a minute"));
            self.build(dir, &sources, &public)
        })?;
        Ok(dir.join("root"))
    }

    fn build(&self, dir: &Path, sources: &str, public_key: &Path) -> Result<()> {
        let list = dir.join("sources.list");
        fs::write(&list, sources).doing("write", &list)?;
        let mut hooks = Vec::new();
        for (number, text) in self.customize.iter().enumerate() {
            let script = dir.join(format!("customize-{number}.sh"));
            fs::write(&script, text).doing("write", &script)?;
            let (script, key) = (script.display(), public_key.display());
            hooks.push(format!("--customize-hook=sh '{script}' \"$1\" '{key}'"));
        }
        program::run(
            Command::new("mmdebstrap")
                // The kernel's package makes no initramfs: the tree gets its own.
                .env("INITRD", "No")
                .args(OPTIONS)
                .arg(format!("--include={}", self.packages.join(",")))
                .args(hooks)
                .arg(self.release.suite())
                .args([&dir.join("root"), &list]),
        )
        .map(drop)
    }
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
