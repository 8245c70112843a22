//! Everything that a story needs, in one directory: a repository with versions
//! of Debian, and hosts made from the first of them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use durable::{Fs, RealFs};
use monitor::Monitor;
use ostree::{Checksum, CommitOptions, Metadata, Repo, RepoMode, Value};
use provision::disk::{self, InstallOptions, Target};
use provision::tree::{self, Initramfs, PrepareOptions};
use sysroot::Loader;

use crate::cache::Cache;
use crate::error::Doing;
use crate::versions::{self, Recipe};
use crate::{
    Container, ContainerBoot, Error, Firmware, MachineOptions, Release, Result, Toolbox, debian,
    kvm, program,
};

/// The branch of the first version, and of those that are released on it.
pub const BRANCH: &str = "debian/testbed";
/// The stateroot of the hosts.
pub const STATEROOT: &str = "debian";
/// Kernel arguments that show the boot on the console and make it quick. An
/// emulated timer on a busy machine may fail the kernel's check of it.
const KARGS: &[&str] = &[
    "console=ttyS0",
    "quiet",
    "mitigations=off",
    "no_timer_check",
];
/// What a fixture with a few hosts may take, in bytes.
const ROOM: u64 = 8 << 30;
/// Speed of the guest's serial console.
const SERIAL: u32 = 115_200;

/// A repository and hosts, in a directory that is the caller's.
#[derive(Debug)]
pub struct Fixture {
    dir: PathBuf,
    cache: Cache,
    binary: PathBuf,
    toolbox: Toolbox,
    repo: Repo,
    fs: Arc<dyn Fs>,
}

impl Fixture {
    /// Prepares Debian 12 with `binary` as its backstop, and commits it as version
    /// 1 to [`BRANCH`]. `dir` must be empty or new.
    ///
    /// # Errors
    /// Missing packages, no root rights, the disk's.
    pub fn new(cache: &Cache, dir: &Path, binary: &Path, monitor: &dyn Monitor) -> Result<Self> {
        Self::of(Release::Bookworm, cache, dir, binary, monitor)
    }

    /// The same with this release of Debian, which its own programs put on disks.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(
        release: Release,
        cache: &Cache,
        dir: &Path,
        binary: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).doing("create", dir)?;
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let repo = Repo::create(Arc::clone(&fs), &dir.join("repo"), RepoMode::Bare)?;
        let fixture = Self {
            dir: dir.to_owned(),
            cache: cache.clone(),
            binary: binary.to_owned(),
            toolbox: Toolbox::of(release, cache, monitor)?,
            repo,
            fs,
        };
        fixture.add_release(1, release, BRANCH, monitor)?;
        Ok(fixture)
    }

    /// What puts versions on disks.
    #[must_use]
    pub fn toolbox(&self) -> &Toolbox {
        &self.toolbox
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The prepared tree of a version, to change before it is committed, or to
    /// look at. Files are shared with other versions: replace, never change them.
    #[must_use]
    pub fn tree(&self, number: u32) -> PathBuf {
        self.dir.join(format!("tree-{number}"))
    }

    /// Makes version `number` from version 1 and commits it to `branch`.
    ///
    /// # Errors
    /// The disk's.
    pub fn add(
        &self,
        number: u32,
        recipe: Recipe,
        branch: &str,
        monitor: &dyn Monitor,
    ) -> Result<Checksum> {
        self.add_to(1, number, recipe, branch, monitor)
    }

    /// The same from version `from`.
    ///
    /// # Errors
    /// The disk's.
    pub fn add_to(
        &self,
        from: u32,
        number: u32,
        recipe: Recipe,
        branch: &str,
        monitor: &dyn Monitor,
    ) -> Result<Checksum> {
        versions::derive(&self.tree(from), &self.tree(number), number, recipe)?;
        self.commit(number, branch, monitor)
    }

    /// Prepares a release of Debian as version `number` and commits it to `branch`.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn add_release(
        &self,
        number: u32,
        release: Release,
        branch: &str,
        monitor: &dyn Monitor,
    ) -> Result<Checksum> {
        let options = PrepareOptions {
            tree: debian::root(&self.cache, release, monitor)?,
            into: Some(self.tree(number)),
            binary: self.binary.clone(),
            kernel: None,
            initramfs: Initramfs::Build,
        };
        tree::plan(&*self.fs, &options)?.apply(&*self.fs, monitor)?;
        versions::mark(&self.tree(number), number)?;
        self.commit(number, branch, monitor)
    }

    fn commit(&self, number: u32, branch: &str, monitor: &dyn Monitor) -> Result<Checksum> {
        let mut metadata = Metadata::default();
        metadata.set("version", Value::Text(format!("{number}")));
        let options = CommitOptions {
            branch: Some(branch.to_owned()),
            subject: format!("version {number}"),
            metadata,
            no_xattrs: true,
            ..CommitOptions::default()
        };
        let made = self
            .repo
            .commit_dir(&self.tree(number), &options, monitor)?;
        Ok(made.checksum)
    }

    /// Installs a version, named as in the repository, on a new disk image.
    ///
    /// # Errors
    /// Missing packages, no root rights, the disk's.
    pub fn image(&self, rev: &str, name: &str, monitor: &dyn Monitor) -> Result<PathBuf> {
        self.image_with(Loader::Grub, rev, name, monitor)
    }

    /// The same, with this boot loader.
    ///
    /// # Errors
    /// As [`image`](Self::image).
    pub fn image_with(
        &self,
        loader: Loader,
        rev: &str,
        name: &str,
        monitor: &dyn Monitor,
    ) -> Result<PathBuf> {
        let image = self.dir.join(name);
        if !self.toolbox.is_of_this_machine() {
            self.install_by_theirs(rev, loader, &image)?;
            return Ok(image);
        }
        let target = Target::Disk {
            path: image.clone(),
            size: disk::DEFAULT_IMAGE_SIZE,
            overwrite: false,
        };
        self.install(rev, loader, target, monitor)?;
        Ok(image)
    }

    /// `backstop install`, on the release that the programs are of.
    fn install_by_theirs(&self, rev: &str, loader: Loader, image: &Path) -> Result<()> {
        let program = self.tree(1).join("usr/bin/backstop");
        let mut install = self.toolbox.command(&program.to_string_lossy());
        install
            .args(["install", "--stateroot", STATEROOT, "--serial"])
            .arg(SERIAL.to_string())
            .args(KARGS.iter().map(|karg| format!("--karg={karg}")))
            .args(["--bootloader", &loader.name().to_lowercase()])
            .arg(format!("{}:{rev}", self.repo.path().display()))
            .arg(image);
        program::run(&mut install).map(drop)
    }

    /// Installs a version in a new directory, for containers.
    ///
    /// # Errors
    /// The disk's.
    pub fn sysroot(&self, rev: &str, name: &str, monitor: &dyn Monitor) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        self.install(rev, Loader::None, Target::Directory(dir.clone()), monitor)?;
        Ok(dir)
    }

    fn install(
        &self,
        rev: &str,
        loader: Loader,
        target: Target,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let options = InstallOptions {
            repo: self.repo.path().to_owned(),
            rev: rev.to_owned(),
            origin: None,
            stateroot: STATEROOT.into(),
            kargs: KARGS.iter().map(|k| (*k).to_owned()).collect(),
            serial: Some(SERIAL),
            loader,
            target,
        };
        disk::plan(&*self.fs, &options)?.apply(&self.fs, monitor)?;
        Ok(())
    }

    /// The repository as a disk, for a guest to mount: ext4, labelled `repo`.
    ///
    /// # Errors
    /// What `mkfs.ext4` said.
    pub fn repo_disk(&self, name: &str) -> Result<PathBuf> {
        let image = self.dir.join(name);
        program::run(
            Command::new("mkfs.ext4")
                .args(["-q", "-F", "-L", "repo", "-m", "0"])
                .args(["-E", "lazy_itable_init=1,lazy_journal_init=1", "-d"])
                .args([self.repo.path(), &image])
                .arg("2G"),
        )?;
        Ok(image)
    }

    /// A machine for an image, with logs beside it; with KVM where that works.
    ///
    /// # Errors
    /// The key cannot be made; QEMU is missing.
    pub fn machine(&self, image: &Path, firmware: Firmware) -> Result<MachineOptions> {
        let (key, _) = debian::ssh_key(&self.cache)?;
        let logs = image.with_extension("logs");
        let mut options = MachineOptions::new(image, firmware, &key, &logs);
        options.kvm = kvm::works(&self.cache, &self.kernel()?.join("vmlinuz"))?;
        Ok(options)
    }

    /// The directory that holds version 1's `vmlinuz` and `initramfs.img`.
    ///
    /// # Errors
    /// The disk's.
    pub fn kernel(&self) -> Result<PathBuf> {
        let modules = self.tree(1).join("usr/lib/modules");
        let mut versions = std::fs::read_dir(&modules).doing("list", &modules)?;
        let version = versions.find_map(std::result::Result::ok);
        let none = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let version = version
            .ok_or_else(none)
            .doing("find a kernel in", &modules)?;
        Ok(version.path())
    }

    /// What a boot loader would start next: what the sysroot's boot
    /// configuration and state sector say. An attempt of a trial is counted.
    ///
    /// # Errors
    /// Nothing is published.
    pub fn next_boot(&self, sysroot: &Path, log: &Path) -> Result<ContainerBoot> {
        let host = sysroot::Sysroot::open(Arc::clone(&self.fs), sysroot)?;
        let start = host.simulate_boot()?;
        Ok(ContainerBoot {
            sysroot: sysroot.to_owned(),
            deployment: host.layout().deployment(&start.deployment),
            cmdline: start.cmdline,
            log: log.to_owned(),
        })
    }

    /// Starts the [next boot](Self::next_boot) in a container.
    ///
    /// # Errors
    /// Nothing is published; `systemd-nspawn` is missing.
    pub fn boot_container(&self, sysroot: &Path, log: &Path) -> Result<Container> {
        Container::boot(&self.next_boot(sysroot, log)?)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // Deployments are immutable: an ordinary removal would leave them.
        if std::env::var_os("BACKSTOP_KEEP").is_none() {
            let _ = durable::remove_tree(&*self.fs, &self.dir);
        }
    }
}

/// An empty directory for a fixture: in memory where there is plenty of it,
/// because hosts are made of many small synced writes; else in `/var/tmp`.
///
/// # Errors
/// The directory cannot be made.
pub fn work_dir() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let room = |p: &Path| rustix::fs::statvfs(p).map_or(0, |s| s.f_bavail * s.f_frsize);
    let at = match room(memory) {
        room if room >= ROOM => memory,
        _ => Path::new("/var/tmp"),
    };
    let dir = tempfile::Builder::new().prefix("backstop-").tempdir_in(at);
    dir.doing("make a directory in", at)
}

/// The `backstop` program to put into trees: the one named by `BACKSTOP_BIN`,
/// else the one that `cargo build -p backstop` makes, built if need be.
///
/// # Errors
/// What `cargo` said.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("BACKSTOP_BIN") {
        return Ok(path.into());
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let text = program::run(
        Command::new(cargo)
            .args(["build", "--quiet", "-p", "backstop", "--bin", "backstop"])
            .args(["--message-format=json", "--manifest-path", manifest]),
    )?;
    text.lines()
        .filter_map(|l| serde_json::from_str::<serde_json::Value>(l).ok())
        .filter_map(|m| m["executable"].as_str().map(PathBuf::from))
        .next_back()
        .ok_or_else(|| Error::Program {
            program: "cargo build -p backstop".into(),
            status: "success".into(),
            output: "it made no program".into(),
        })
}
