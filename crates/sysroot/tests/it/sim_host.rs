//! A small host on a simulated disk, and what must hold of it at any time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boot::grub::published_config;
use boot::{BootConfig, Choice, Entry, StateSector, decide};
use durable::sim::SimFs;
use durable::{FileKind, Fs};
use monitor::Silent;
use ostree::{Checksum, CommitOptions, RepoMode};
use sysroot::{BootOrder, DeploymentId, Origin, StageKargs, StageRequest, Sysroot};

use crate::host::order;

const ROOT: &str = "/sysroot";

/// Opens the sysroot of a simulated disk.
pub fn open(fs: &SimFs) -> Sysroot {
    Sysroot::open(Arc::new(fs.clone()), Path::new(ROOT)).unwrap()
}

/// Versions `1` and `2` committed, `1` deployed and published as good.
pub fn host() -> (SimFs, DeploymentId, Checksum) {
    let fs = SimFs::new();
    let shared: Arc<dyn Fs> = Arc::new(fs.clone());
    let sysroot = Sysroot::create(shared, Path::new(ROOT), RepoMode::Bare).unwrap();
    sysroot.add_stateroot("debian").unwrap();
    let config = durable::read_to_string(&fs, Path::new("/sysroot/ostree/repo/config")).unwrap();
    let config = format!("{config}min-free-space-size=0MB\n");
    write(&fs, "/sysroot/ostree/repo/config", &config);
    sysroot.set_boot_settings(&Default::default()).unwrap();
    let one = commit(&fs, "1");
    let two = commit(&fs, "2");
    let good = stage(&fs, one, None).unwrap();
    publish(&fs, &order(&[&good], None)).unwrap();
    (fs, good, two)
}

/// Writes a file, durably.
pub fn write(fs: &SimFs, path: &str, content: &str) {
    let path = Path::new(path);
    durable::create_dir_all(fs, path.parent().unwrap(), 0o755).unwrap();
    durable::publish_file(fs, path, content.as_bytes(), 0o644).unwrap();
}

/// Commits a version.
pub fn commit(fs: &SimFs, name: &str) -> Checksum {
    let tree = format!("/trees/{name}");
    let kernel = format!("kernel of {name} ").repeat(60);
    let initrd = format!("initramfs of {name} ").repeat(90);
    write(fs, &format!("{tree}/usr/lib/modules/1/vmlinuz"), &kernel);
    write(
        fs,
        &format!("{tree}/usr/lib/modules/1/initramfs.img"),
        &initrd,
    );
    let release = format!("PRETTY_NAME=\"Debian {name}\"\n");
    write(fs, &format!("{tree}/usr/lib/os-release"), &release);
    write(fs, &format!("{tree}/usr/etc/hostname"), "localhost\n");
    for dir in ["sysroot", "var", "boot"] {
        let dir = PathBuf::from(format!("{tree}/{dir}"));
        durable::create_dir_all(fs, &dir, 0o755).unwrap();
    }
    let options = CommitOptions {
        subject: name.to_owned(),
        // The same host made twice has the same versions.
        timestamp: Some(1),
        ..CommitOptions::default()
    };
    let sysroot = open(fs);
    let commit = sysroot
        .repo()
        .commit_dir(Path::new(&tree), &options, &Silent);
    commit.unwrap().checksum
}

/// Stages a version.
pub fn stage(
    fs: &SimFs,
    commit: Checksum,
    from: Option<&DeploymentId>,
) -> sysroot::Result<DeploymentId> {
    stage_in("debian", fs, commit, from)
}

/// Stages a version in a stateroot.
pub fn stage_in(
    stateroot: &str,
    fs: &SimFs,
    commit: Checksum,
    from: Option<&DeploymentId>,
) -> sysroot::Result<DeploymentId> {
    let request = StageRequest {
        stateroot: stateroot.into(),
        commit,
        merge_from: from.cloned(),
        origin: Origin::following("debian/main"),
        kargs: match from {
            Some(_) => StageKargs::CarryOver,
            None => StageKargs::Local("root=LABEL=root ro".parse().unwrap()),
        },
    };
    Ok(open(fs).stage(&request, &Silent)?.deployment)
}

/// Publishes an order.
pub fn publish(fs: &SimFs, order: &BootOrder) -> sysroot::Result<boot::ConfigId> {
    open(fs).publish(order, &Silent)
}

/// A configuration and all that booting from it needs, as they are on a disk
/// where nothing was cut off.
#[derive(Debug, Clone)]
pub struct Expected {
    pub config: BootConfig,
    script: String,
    /// Kernels and initrds, by their path in `/boot`.
    boot_files: BTreeMap<String, Vec<u8>>,
    /// Deployments by the path that the kernel's command line names.
    deployments: BTreeMap<String, Vec<String>>,
}

impl Expected {
    /// What is published on this disk.
    pub fn of(fs: &SimFs) -> Self {
        let config = open(fs).boot_config().unwrap();
        let trial = config.trial().map(|t| &t.entry);
        let entries: Vec<&Entry> = config.entries().iter().chain(trial).collect();
        let mut boot_files = BTreeMap::new();
        let mut deployments = BTreeMap::new();
        for entry in entries {
            for path in std::iter::once(&entry.linux).chain(&entry.initrds) {
                let content = durable::read(fs, &in_boot(path)).unwrap();
                boot_files.insert(path.clone(), content);
            }
            let link = entry.options.get("ostree").unwrap();
            deployments.insert(link.clone(), tree(fs, &linked(fs, &link).unwrap()));
        }
        Self {
            script: published_config(&config),
            config,
            boot_files,
            deployments,
        }
    }

    /// Whether every kernel and initrd that GRUB may load is there and whole.
    pub fn loads(&self, fs: &SimFs) {
        for (path, content) in &self.boot_files {
            let found = durable::read(fs, &in_boot(path)).ok();
            assert_eq!(found.as_ref(), Some(content), "{path}");
        }
    }

    /// Kernels and initrds with their content, by their path in `/boot`.
    pub fn boot_files(&self) -> impl Iterator<Item = (&String, &Vec<u8>)> {
        self.boot_files.iter()
    }

    /// Whether this script is the published one, and what it loads whole.
    pub fn is_script(&self, fs: &SimFs, script: &str) {
        assert_eq!(script, self.script, "a script that nobody published");
        self.loads(fs);
    }

    /// Whether every deployment that may be booted is there and whole.
    pub fn is_deployed(&self, fs: &SimFs) {
        for (link, expected) in &self.deployments {
            let dir = linked(fs, link).unwrap_or_else(|| panic!("{link} leads nowhere"));
            assert_eq!(&tree(fs, &dir), expected, "{link}");
        }
    }
}

fn in_boot(path: &str) -> PathBuf {
    Path::new("/sysroot/boot").join(path.trim_start_matches('/'))
}

/// Where a boot link leads.
fn linked(fs: &SimFs, link: &str) -> Option<PathBuf> {
    let link = Path::new(ROOT).join(link.trim_start_matches('/'));
    let target = fs.read_link(&link).ok()?;
    Some(link.parent()?.join(target))
}

/// Everything below a directory.
pub fn tree(fs: &SimFs, root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(below) = todo.pop() {
        let path = root.join(&below);
        let Ok(m) = fs.metadata(&path) else { continue };
        let content = match m.kind {
            FileKind::Dir => {
                let entries = fs.read_dir(&path).unwrap();
                todo.extend(entries.iter().map(|e| below.join(&e.name)));
                String::new()
            }
            FileKind::Symlink => format!("-> {}", fs.read_link(&path).unwrap().display()),
            _ => String::from_utf8_lossy(&durable::read(fs, &path).unwrap()).into_owned(),
        };
        lines.push(format!("{} {:o} {content}", below.display(), m.mode));
    }
    lines.sort();
    lines
}

/// What GRUB comes to on this disk: which configuration and which entry of it.
///
/// Its script must be one of those that were published, whole; so must be all
/// kernels that this one names; and what the rule picks must be the default, or
/// a trial with attempts left (P1 to P3).
pub fn grub_boots<'e>(fs: &SimFs, published: &[&'e Expected]) -> (&'e Expected, Choice) {
    let script = durable::read(fs, Path::new("/sysroot/boot/loader/backstop.cfg"));
    let script = String::from_utf8_lossy(&script.expect("no script")).into_owned();
    let found = published.iter().find(|e| e.script == script);
    let found = found.unwrap_or_else(|| panic!("a script that nobody published: {script:?}"));
    found.loads(fs);
    let bytes = durable::read(fs, Path::new("/sysroot/boot/backstop/state"));
    let sector = bytes.ok().and_then(|b| StateSector::parse(&b).ok());
    let decision = decide(&found.config, sector.as_ref(), true);
    if decision.entry == Choice::Trial {
        let left = sector.map_or(0, |s| s.left);
        let attempts = found.config.trial().map_or(0, |t| t.attempts);
        assert!((1..=attempts).contains(&left), "{left} attempts left");
    } else {
        assert_eq!(decision.entry, Choice::Entry(0));
    }
    (found, decision.entry)
}
