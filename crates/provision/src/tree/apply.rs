//! Doing what was planned.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use durable::{Attributes, Doing, FileKind, Fs};
use monitor::{Monitor, Progress, Unit};

use super::payload::FILES;
use super::plan::{InitramfsSource, Step, TreePlan};
use super::survey::InitramfsTool;
use super::var;
use crate::{Result, program};

/// Makes the initramfs in a mount namespace of its own.
const MAKE_INITRAMFS: &str = include_str!("make-initramfs.sh");

impl TreePlan {
    /// Does the steps in order. Interrupted, it can be planned and done again,
    /// in place; a copy that was begun must be removed first.
    ///
    /// # Errors
    /// What failed; the steps before it are done.
    pub fn apply(&self, fs: &dyn Fs, monitor: &dyn Monitor) -> Result<()> {
        let total = self.steps.len() as u64;
        for (n, step) in self.steps.iter().enumerate() {
            monitor.progress(Progress {
                step: "preparing the tree",
                done: n as u64,
                total: Some(total),
                unit: Unit::Items,
            });
            Doer {
                fs,
                plan: self,
                tree: self.target(),
            }
            .step(step)?;
        }
        monitor.progress(Progress {
            step: "preparing the tree",
            done: total,
            total: Some(total),
            unit: Unit::Items,
        });
        Ok(())
    }
}

struct Doer<'a> {
    fs: &'a dyn Fs,
    plan: &'a TreePlan,
    tree: &'a Path,
}

impl Doer<'_> {
    fn step(&self, step: &Step) -> Result<()> {
        match step {
            Step::Copy { into } => copy_tree(self.fs, &self.plan.options.tree, into),
            Step::Binary => {
                let bytes = durable::read(self.fs, &self.plan.options.binary)?;
                self.put("usr/bin/backstop", &bytes, 0o755)
            }
            Step::Payload(files) => files.iter().try_for_each(|n| {
                let file = &FILES[*n];
                self.put(file.path, file.bytes, file.mode)
            }),
            Step::Link { path, target } => self.link(path, target),
            Step::Kernel(version) => self.kernel(version),
            Step::Initramfs { kernel, from } => self.initramfs(kernel, from),
            Step::MachineId => self.put_beside(&self.etc().join("machine-id"), b"", 0o644),
            Step::Fstab(text) => self.put_beside(&self.etc().join("fstab"), text.as_bytes(), 0o644),
            Step::State { path, var } => self.state(path, var),
            Step::PackageDatabase => {
                self.make_dirs(var::DPKG)?;
                self.replace_dir("var/lib/dpkg", var::DPKG)
            }
            Step::Factory => var::to_factory(self.fs, self.tree),
            Step::Empty(dir) => self.empty(dir),
            Step::Etc => self.replace_dir("etc", "usr/etc"),
            Step::SysrootDir => self.make_dirs("sysroot/x"),
        }
    }

    /// The tree's configuration, wherever it is by now.
    fn etc(&self) -> PathBuf {
        let etc = self.tree.join("etc");
        match self.fs.metadata(&etc) {
            Ok(_) => etc,
            Err(_) => self.tree.join("usr/etc"),
        }
    }

    /// Makes the directories above `path`.
    fn make_dirs(&self, path: &str) -> Result<()> {
        let dir = self.tree.join(path);
        let dir = dir.parent().unwrap_or(self.tree);
        Ok(durable::create_dir_all(self.fs, dir, 0o755)?)
    }

    fn put(&self, path: &str, bytes: &[u8], mode: u32) -> Result<()> {
        self.make_dirs(path)?;
        self.put_beside(&self.tree.join(path), bytes, mode)
    }

    fn put_beside(&self, path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
        durable::publish_file(self.fs, path, bytes, mode)?;
        // The process's umask may have taken bits away.
        let attributes = Attributes {
            mode: Some(mode),
            ..Attributes::default()
        };
        Ok(self
            .fs
            .set_attributes(path, &attributes)
            .doing("set the mode of", path)?)
    }

    fn link(&self, path: &str, target: &str) -> Result<()> {
        self.make_dirs(path)?;
        let at = self.tree.join(path);
        if self.fs.metadata(&at).is_ok_and(|m| m.kind == FileKind::Dir) {
            durable::remove_tree(self.fs, &at)?;
        }
        Ok(durable::publish_symlink(self.fs, Path::new(target), &at)?)
    }

    fn kernel(&self, version: &str) -> Result<()> {
        let boot = self.tree.join("boot");
        let dir = format!("usr/lib/modules/{version}");
        for (from, to) in [("vmlinuz", "vmlinuz"), ("config", "config")] {
            let from = boot.join(format!("{from}-{version}"));
            if self.fs.metadata(&from).is_ok() {
                self.put(
                    &format!("{dir}/{to}"),
                    &durable::read(self.fs, &from)?,
                    0o644,
                )?;
            }
        }
        Ok(())
    }

    fn initramfs(&self, kernel: &str, from: &InitramfsSource) -> Result<()> {
        let to = format!("usr/lib/modules/{kernel}/initramfs.img");
        let tool = match from {
            InitramfsSource::File(file) => {
                return self.put(&to, &durable::read(self.fs, file)?, 0o644);
            }
            InitramfsSource::Tool(tool) => tool,
        };
        program::require("unshare", "util-linux")?;
        let at = Path::new("/var/tmp");
        let work = tempfile::Builder::new()
            .prefix("backstop-initramfs")
            .tempdir_in(at)
            .doing("make a directory in", at)?;
        let tool = match tool {
            InitramfsTool::InitramfsTools => "mkinitramfs",
            InitramfsTool::Dracut => "dracut",
        };
        program::run(
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "sh", "-c"])
                .args([MAKE_INITRAMFS, "make-initramfs"])
                .args([self.tree, &self.etc()])
                .args([kernel, tool])
                .arg(work.path()),
        )?;
        let made = work.path().join("root/var/tmp/initramfs.img");
        self.put(&to, &durable::read(self.fs, &made)?, 0o644)
    }

    /// Moves `path` below `var` and leaves a link.
    fn state(&self, path: &str, var: &str) -> Result<()> {
        durable::create_dir_all(self.fs, &self.tree.join("var"), 0o755)?;
        self.replace_dir(path, &format!("var/{var}"))?;
        let up = "../".repeat(Path::new(path).components().count() - 1);
        self.link(path, &format!("{up}var/{var}"))
    }

    /// Renames a directory, to a place where there is none, or an empty one.
    fn replace_dir(&self, from: &str, to: &str) -> Result<()> {
        let (from, to) = (self.tree.join(from), self.tree.join(to));
        Ok(durable::rename_and_sync(self.fs, &from, &to)?)
    }

    fn empty(&self, dir: &str) -> Result<()> {
        let path = self.tree.join(dir);
        if self.fs.metadata(&path).is_ok() {
            for entry in self.fs.read_dir(&path).doing("list", &path)? {
                durable::remove_tree(self.fs, &path.join(entry.name))?;
            }
        } else {
            durable::create_dir_all(self.fs, &path, 0o755)?;
        }
        if dir == "tmp" {
            let attributes = Attributes {
                mode: Some(0o1777),
                ..Attributes::default()
            };
            let set = self.fs.set_attributes(&path, &attributes);
            set.doing("set the mode of", &path)?;
        }
        Ok(())
    }
}

/// Copies a tree as it is.
fn copy_tree(fs: &dyn Fs, from: &Path, into: &Path) -> Result<()> {
    durable::create_dir_all(fs, into, 0o755)?;
    let mut content = from.as_os_str().to_owned();
    content.push(OsStr::new("/."));
    program::run(
        Command::new("cp")
            .args(["-a", "--reflink=auto", "--"])
            .arg(content)
            .arg(into),
    )
    .map(drop)
}
