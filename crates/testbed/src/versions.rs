//! Further versions of a prepared tree, good and bad.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::error::Doing;
use crate::{Result, initramfs, program};

/// What is wrong with a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipe {
    /// Nothing.
    Good,
    /// Its sshd does not start: a library is missing, it says.
    SshdBroken,
    /// PID 1 ends at once, so the kernel panics.
    PanicsAtBoot,
    /// The boot stops before `sysinit.target` and never goes on.
    StuckAtBoot,
    /// PID 1 stops for ever before `sysinit.target`, and the kernel goes on.
    Hangs,
    /// The network interface gets an address and a route of another network, so
    /// nobody reaches the host, and it can't tell.
    NoNetwork,
    /// Nothing, and its initramfs is its own, so that it shares no file in `/boot` with
    /// another version.
    OwnInitramfs,
    /// The initramfs never mounts the root filesystem, and waits for ever.
    StuckInInitramfs,
    /// Nothing, and it differs from others in sshd's configuration only, so it can be
    /// tried without a reboot.
    Configured,
    /// As [`Recipe::Configured`], with a configuration that sshd refuses.
    Misconfigured,
}

/// Makes the tree `to` from the prepared tree `from`: hard links, save for what
/// differs. `/usr/lib/testbed-version` says `number` in it; where only the configuration
/// differs, [`SSHD_DROP_IN`] below `/etc` does.
///
/// # Errors
/// The disk's.
pub fn derive(from: &Path, to: &Path, number: u32, recipe: Recipe) -> Result<()> {
    program::run(Command::new("cp").args(["-al", "--"]).args([from, to]))?;
    if !matches!(recipe, Recipe::Configured | Recipe::Misconfigured) {
        mark(to, number)?;
    }
    match recipe {
        Recipe::Good => Ok(()),
        Recipe::SshdBroken => put(
            to,
            "usr/sbin/sshd",
            "#!/bin/sh\necho 'sshd: error while loading shared libraries: libcrypto.so.3' >&2\nexit 127\n",
            0o755,
        ),
        Recipe::PanicsAtBoot => put(
            to,
            "usr/lib/systemd/systemd",
            "#!/bin/sh\necho 'this init ends at once' >/dev/console\nexit 1\n",
            0o755,
        ),
        Recipe::StuckAtBoot => early_unit(to, "stuck", "/bin/sleep infinity"),
        // systemd catches it, says so, and does nothing any more.
        Recipe::Hangs => early_unit(to, "hang", "/bin/kill -SEGV 1"),
        Recipe::NoNetwork => put(
            to,
            "usr/etc/systemd/network/20-wired.network",
            WRONG_NETWORK,
            0o644,
        ),
        Recipe::OwnInitramfs => {
            initramfs::extend(to, "etc/testbed-version", &format!("{number}\n"))
        }
        // What runs before the root filesystem is mounted; its directory is there.
        Recipe::StuckInInitramfs => initramfs::extend(
            to,
            "scripts/local-premount/ORDER",
            "echo 'the initramfs waits for ever' >/dev/console\nwhile :; do sleep 60; done\n",
        ),
        Recipe::Configured => configure(to, &format!("# version {number}\n")),
        Recipe::Misconfigured => configure(to, "NoSuchOption yes\n"),
    }
}

/// Writes the number of a version into its tree.
pub(crate) fn mark(tree: &Path, number: u32) -> Result<()> {
    put(
        tree,
        "usr/lib/testbed-version",
        &format!("{number}\n"),
        0o644,
    )
}

/// Where the versions that differ in sshd's configuration differ, below `/etc`.
pub const SSHD_DROP_IN: &str = "ssh/sshd_config.d/testbed.conf";

fn configure(tree: &Path, text: &str) -> Result<()> {
    put(tree, &format!("usr/etc/{SSHD_DROP_IN}"), text, 0o644)
}

/// A network for documentation (RFC 5737).
const WRONG_NETWORK: &str = "[Match]
Name=en* eth*
[Network]
Address=192.0.2.5/24
Gateway=192.0.2.1
LinkLocalAddressing=no
IPv6AcceptRA=no
";

/// Adds a unit that `sysinit.target` waits for.
fn early_unit(tree: &Path, name: &str, command: &str) -> Result<()> {
    let (units, file) = ("usr/lib/systemd/system", format!("{name}.service"));
    let text = format!(
        "[Unit]\nDescription=Keep the boot from going on\nDefaultDependencies=no\n\
         Before=sysinit.target\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\n\
         ExecStart={command}\n"
    );
    put(tree, &format!("{units}/{file}"), &text, 0o644)?;
    let link = tree.join(units).join("sysinit.target.wants").join(&file);
    symlink(format!("../{file}"), &link).doing("create", &link)
}

/// Puts a file in place of one that other trees share.
fn put(tree: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let path = tree.join(path);
    if path.exists() {
        fs::remove_file(&path).doing("remove", &path)?;
    }
    fs::write(&path, text).doing("write", &path)?;
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(&path, permissions).doing("set the mode of", &path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_tree_leaves_its_origin_alone() {
        let tmp = tempfile::tempdir().unwrap();
        let (from, to) = (tmp.path().join("a"), tmp.path().join("b"));
        fs::create_dir_all(from.join("usr/lib")).unwrap();
        fs::create_dir_all(from.join("usr/sbin")).unwrap();
        fs::write(from.join("usr/lib/testbed-version"), "1\n").unwrap();
        fs::write(from.join("usr/sbin/sshd"), "program").unwrap();
        derive(&from, &to, 2, Recipe::SshdBroken).unwrap();
        let read = |p: std::path::PathBuf| fs::read_to_string(p).unwrap();
        assert_eq!(read(from.join("usr/lib/testbed-version")), "1\n");
        assert_eq!(read(to.join("usr/lib/testbed-version")), "2\n");
        assert_eq!(read(from.join("usr/sbin/sshd")), "program");
        assert!(read(to.join("usr/sbin/sshd")).contains("exit 127"));
    }
}
