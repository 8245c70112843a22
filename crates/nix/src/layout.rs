//! Where things are on a Nix host.

use std::path::{Path, PathBuf};

/// The paths of the Nix host below a root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Those below `root`: `/` for the running system.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        let root = root.to_owned();
        Self { root }
    }

    /// Whether there is a Nix host below `root`.
    #[must_use]
    pub fn is_one(root: &Path) -> bool {
        let layout = Self::new(root);
        let there = |path: PathBuf| std::fs::symlink_metadata(path).is_ok();
        layout.store().is_dir() && (there(layout.current_system()) || there(layout.profile()))
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether this is the system that this process runs on.
    #[must_use]
    pub fn is_running_system(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.root.join("nix/store")
    }

    /// Nix's own state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("nix/var/nix")
    }

    /// The system profile: a link to a link to the default version.
    #[must_use]
    pub fn profile(&self) -> PathBuf {
        self.profiles().join("system")
    }

    /// Where the system profile and its generations are.
    #[must_use]
    pub fn profiles(&self) -> PathBuf {
        self.state().join("profiles")
    }

    /// Where backstop protects versions from garbage collection.
    #[must_use]
    pub fn roots(&self) -> PathBuf {
        self.state().join("gcroots/backstop")
    }

    /// What backstop remembers; outside the store, and not lost at a reboot.
    #[must_use]
    pub fn memory(&self) -> PathBuf {
        self.root.join("var/lib/backstop")
    }

    /// The version that is active.
    #[must_use]
    pub fn current_system(&self) -> PathBuf {
        self.root.join("run/current-system")
    }

    /// The version that was booted.
    #[must_use]
    pub fn booted_system(&self) -> PathBuf {
        self.root.join("run/booted-system")
    }

    /// Where `switch-to-configuration` keeps lists and its lock.
    #[must_use]
    pub fn nixos_run(&self) -> PathBuf {
        self.root.join("run/nixos")
    }

    /// Kernels and boot entries.
    #[must_use]
    pub fn boot(&self) -> PathBuf {
        self.root.join("boot")
    }
}
