//! Where things are below a sysroot.

use std::path::{Path, PathBuf};

use crate::DeploymentId;

/// The paths of a sysroot. Nothing here touches the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The paths below `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The sysroot itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `ostree`.
    #[must_use]
    pub fn ostree(&self) -> PathBuf {
        self.root.join("ostree")
    }

    /// The repository.
    #[must_use]
    pub fn repo(&self) -> PathBuf {
        self.root.join("ostree/repo")
    }

    /// The directory of all stateroots.
    #[must_use]
    pub fn stateroots(&self) -> PathBuf {
        self.root.join("ostree/deploy")
    }

    /// A stateroot.
    #[must_use]
    pub fn stateroot(&self, name: &str) -> PathBuf {
        self.stateroots().join(name)
    }

    /// The directory of a stateroot's deployments.
    #[must_use]
    pub fn deployments(&self, stateroot: &str) -> PathBuf {
        self.stateroot(stateroot).join("deploy")
    }

    /// A deployment's directory.
    #[must_use]
    pub fn deployment(&self, id: &DeploymentId) -> PathBuf {
        self.deployments(&id.stateroot).join(id.dir_name())
    }

    /// A deployment's origin file.
    #[must_use]
    pub fn origin(&self, id: &DeploymentId) -> PathBuf {
        let name = format!("{}.origin", id.dir_name());
        self.deployments(&id.stateroot).join(name)
    }

    /// What backstop itself remembers; shared by all stateroots, and no
    /// cleaning up touches it.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.root.join("ostree/backstop")
    }

    /// Where a deployment is put together before it gets its name.
    pub(crate) fn staging(&self) -> PathBuf {
        self.memory().join("staging")
    }

    /// How this host boots.
    #[must_use]
    pub fn boot_settings(&self) -> PathBuf {
        self.memory().join("boot.toml")
    }

    /// `/boot`.
    #[must_use]
    pub fn boot(&self) -> PathBuf {
        self.root.join("boot")
    }

    /// The symlink that says which boot entries count.
    #[must_use]
    pub fn loader(&self) -> PathBuf {
        self.root.join("boot/loader")
    }

    /// One of the two directories it points to.
    pub(crate) fn loader_of(&self, version: u8) -> PathBuf {
        self.root.join(format!("boot/loader.{version}"))
    }

    /// The directory of all kernels.
    pub(crate) fn kernels(&self) -> PathBuf {
        self.root.join("boot/ostree")
    }

    /// The symlink from a boot version to its links.
    pub(crate) fn links(&self, version: u8) -> PathBuf {
        self.root.join(format!("ostree/boot.{version}"))
    }

    /// A boot version's links to its deployments.
    pub(crate) fn links_of(&self, version: u8, sub: u8) -> PathBuf {
        self.root.join(format!("ostree/boot.{version}.{sub}"))
    }
}
