//! A small host in a directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::RealFs;
use monitor::Silent;
use ostree::{Checksum, CommitOptions, RepoMode};
use sysroot::{
    BootOrder, DeploymentId, Origin, StageKargs, StageRequest, Staged, Sysroot, TrialEntry,
};

/// A sysroot in a directory that goes away with it.
pub struct Host {
    pub sysroot: Sysroot,
    trees: PathBuf,
    dir: tempfile::TempDir,
}

/// Whether this process may do as root does.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Host {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mode = if is_root() {
            RepoMode::Bare
        } else {
            RepoMode::BareUser
        };
        let path = dir.path().join("root");
        fs::create_dir(&path).unwrap();
        let sysroot = Sysroot::create(Arc::new(RealFs), &path, mode).unwrap();
        sysroot.add_stateroot("debian").unwrap();
        Self {
            sysroot,
            trees: dir.path().join("trees"),
            dir,
        }
    }

    /// The sysroot's directory.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// Commits a tree: a kernel of its own, `/usr/etc`, and these files.
    pub fn version(&self, name: &str, files: &[(&str, &str)]) -> Checksum {
        let tree = self.trees.join(name);
        make_tree(&tree, name, files);
        self.version_of_tree(&tree)
    }

    /// Commits a tree as it is.
    pub fn version_of_tree(&self, tree: &Path) -> Checksum {
        let options = CommitOptions {
            subject: "a version".to_owned(),
            ..CommitOptions::default()
        };
        let repo = self.sysroot.repo();
        let commit = repo.commit_dir(tree, &options, &Silent).unwrap().checksum;
        repo.set_ref("debian/main", Some(&commit)).unwrap();
        commit
    }

    pub fn request(&self, commit: Checksum, from: Option<&DeploymentId>) -> StageRequest {
        StageRequest {
            stateroot: "debian".into(),
            commit,
            merge_from: from.cloned(),
            origin: Origin::following("debian/main"),
            kargs: match from {
                Some(_) => StageKargs::CarryOver,
                None => StageKargs::Local("root=LABEL=root ro".parse().unwrap()),
            },
        }
    }

    pub fn stage(&self, commit: Checksum, from: Option<&DeploymentId>) -> Staged {
        let request = self.request(commit, from);
        self.sysroot.stage(&request, &Silent).unwrap()
    }

    pub fn publish(&self, good: &[&DeploymentId], trial: Option<&DeploymentId>) -> boot::ConfigId {
        self.sysroot.publish(&order(good, trial), &Silent).unwrap()
    }

    /// A deployment's directory.
    pub fn tree(&self, id: &DeploymentId) -> PathBuf {
        self.sysroot.layout().deployment(id)
    }

    /// Boots as a host without a bootloader does.
    pub fn boot(&self) -> DeploymentId {
        self.sysroot.simulate_boot().unwrap().deployment
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Deployments are immutable.
        let root = self.root();
        let _ = durable::remove_tree(&RealFs, &root);
    }
}

pub fn order(good: &[&DeploymentId], trial: Option<&DeploymentId>) -> BootOrder {
    BootOrder {
        good: good.iter().map(|id| (*id).clone()).collect(),
        bad: Vec::new(),
        trial: trial.map(|id| TrialEntry {
            deployment: id.clone(),
            attempts: 2,
            kargs: "panic=3".parse().unwrap(),
        }),
    }
}

pub fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

pub fn make_tree(tree: &Path, name: &str, files: &[(&str, &str)]) {
    fs::create_dir_all(tree).unwrap();
    let modules = tree.join("usr/lib/modules/1.0");
    write(&modules.join("vmlinuz"), &format!("kernel of {name}"));
    write(
        &modules.join("initramfs.img"),
        &format!("initramfs of {name}"),
    );
    let release = format!("ID=debian\nPRETTY_NAME=\"Debian {name}\"\n");
    write(&tree.join("usr/lib/os-release"), &release);
    write(&tree.join("usr/etc/hostname"), "localhost\n");
    for dir in ["sysroot", "var", "boot", "proc"] {
        fs::create_dir_all(tree.join(dir)).unwrap();
    }
    for (path, content) in files {
        write(&tree.join(path), content);
    }
}
