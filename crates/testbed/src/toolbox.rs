//! The programs of a release of Debian that make hosts: GRUB's, those for disks,
//! `ostree`.

use std::path::{Path, PathBuf};
use std::process::Command;

use monitor::Monitor;

use crate::cache::Cache;
use crate::{Release, Result, debian};

/// Runs a program in the root, in a mount namespace of its own.
const ENTER: &str = r#"set -e; root=$1; shift
for dir in dev proc tmp var/tmp; do mount --rbind "/$dir" "$root/$dir"; done
exec chroot "$root" "$@""#;

/// Programs, and the files that come with them.
#[derive(Debug, Clone)]
pub struct Toolbox {
    /// `None`: the machine's own.
    root: Option<PathBuf>,
}

impl Toolbox {
    /// The machine's own.
    #[must_use]
    pub const fn of_this_machine() -> Self {
        Self { root: None }
    }

    /// Those of a release, in a root of their own in the cache, built first if it is not
    /// there. The machine's own do for Debian 12.
    ///
    /// # Errors
    /// Missing packages, no root rights, or what `mmdebstrap` said.
    pub fn of(release: Release, cache: &Cache, monitor: &dyn Monitor) -> Result<Self> {
        match release {
            Release::Bookworm => Ok(Self::of_this_machine()),
            Release::Trixie => Ok(Self {
                root: Some(debian::tools_root(cache, release, monitor)?),
            }),
        }
    }

    /// Whether they are the machine's own.
    #[must_use]
    pub fn is_of_this_machine(&self) -> bool {
        self.root.is_none()
    }

    /// Where they are, `/` for the machine's own.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or(Path::new("/"))
    }

    /// Where this machine has a file of theirs, such as `/usr/lib/grub`.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    /// A program of theirs, for root. It sees the machine's `/dev`, `/proc`, `/tmp` and
    /// `/var/tmp`, which is where fixtures are.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let Some(root) = &self.root else {
            return Command::new(program);
        };
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "private"])
            .args(["sh", "-c", ENTER, "toolbox"])
            .arg(root)
            .arg(program);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_below_the_root_of_the_programs() {
        let own = Toolbox::of_this_machine();
        assert_eq!(own.path("/usr/lib/grub"), Path::new("/usr/lib/grub"));
        assert_eq!(own.command("grub-mkimage").get_program(), "grub-mkimage");
        let other = Toolbox {
            root: Some("/cache/root".into()),
        };
        let grub = other.path("/usr/lib/grub");
        assert_eq!(grub, Path::new("/cache/root/usr/lib/grub"));
    }
}
