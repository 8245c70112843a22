//! Full disks and damaged files: what is said, and that the host stays as it was.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::host::{BACKSTOP, DemoHost, text};

/// A small filesystem of its own.
struct Small(tempfile::TempDir);

impl Small {
    /// `None`, with a line that says so, where nothing can be mounted.
    fn new(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "backstop-test"])
            .arg(dir.path())
            .output();
        if mounted.is_ok_and(|o| o.status.success()) {
            return Some(Self(dir));
        }
        let _ = testing::nothing_lacks(&["root, to mount a small filesystem"]);
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves so many KiB free.
    fn fill(&self, left: u64) {
        let stat = rustix::fs::statvfs(self.path()).unwrap();
        let free = stat.f_bavail * stat.f_frsize;
        let size = free.saturating_sub(left << 10);
        let ballast = std::fs::File::create(self.path().join("ballast")).unwrap();
        rustix::fs::fallocate(&ballast, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
    }

    fn empty(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn repo(at: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(BACKSTOP);
    command.args(["repo", "--repo"]).arg(at).args(arguments);
    command.output().unwrap()
}

#[track_caller]
fn ok(at: &Path, arguments: &[&str]) -> String {
    let output = repo(at, arguments);
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Fails, and says that space is what is missing.
#[track_caller]
fn refused(output: &Output) {
    let said = text(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("space") || said.contains("full"), "{said}");
}

/// A tree with one file of so many KiB, which cannot be compressed.
fn tree(at: &Path, kib: usize) -> PathBuf {
    let tree = at.join("tree");
    std::fs::create_dir_all(&tree).unwrap();
    let mut seed = 1u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    let noise: Vec<u8> = (0..kib << 10).map(|_| next()).collect();
    std::fs::write(tree.join("noise"), noise).unwrap();
    tree
}

#[test]
fn a_commit_to_a_full_disk_is_refused_and_leaves_no_trace() {
    let Some(small) = Small::new("4m") else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let at = small.path().join("repo");
    ok(&at, &["init", "--mode=archive"]);
    let little = tree(elsewhere.path(), 64);
    let little = little.to_str().unwrap();
    ok(&at, &["commit", "-b", "main", little]);
    let before = ok(&at, &["rev-parse", "main"]);
    tree(elsewhere.path(), 3000);
    for left in [0, 4, 100, 1000] {
        small.fill(left);
        refused(&repo(&at, &["commit", "-b", "main", little]));
        assert_eq!(ok(&at, &["rev-parse", "main"]), before);
        ok(&at, &["fsck"]);
        small.empty();
        let tmp = std::fs::read_dir(at.join("tmp")).unwrap();
        assert_eq!(tmp.count(), 1, "something is left in tmp");
    }
    tree(elsewhere.path(), 1000);
    ok(&at, &["commit", "-b", "main", little]);
}

#[test]
fn a_checkout_to_a_full_disk_says_so() {
    let Some(small) = Small::new("4m") else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let at = elsewhere.path().join("repo");
    ok(&at, &["init", "--mode=archive"]);
    let tree = tree(elsewhere.path(), 3000);
    ok(&at, &["commit", "-b", "main", tree.to_str().unwrap()]);
    small.fill(1000);
    let dest = small.path().join("dest");
    let dest = dest.to_str().unwrap();
    refused(&repo(&at, &["checkout", "-U", "main", dest]));
    assert!(!Path::new(dest).exists(), "half a checkout is left");
    small.empty();
    ok(&at, &["checkout", "-U", "main", dest]);
}

/// Whatever is missing, the host stays on its last good version and can be
/// asked about.
#[track_caller]
fn stays(host: &DemoHost, version: &str) {
    assert_eq!(host.status()["running"].as_str().unwrap(), version);
    host.run(&["power-cycle"], 0);
    host.wait_until_idle();
    assert_eq!(host.status()["running"].as_str().unwrap(), version);
}

fn running(host: &DemoHost) -> String {
    host.status()["running"].as_str().unwrap().to_owned()
}

#[test]
fn an_upgrade_on_a_full_disk_changes_nothing() {
    let Some(small) = Small::new("400m") else {
        return;
    };
    let host = DemoHost::new_in(small.path());
    let before = running(&host);
    host.release(2);
    for left in [0, 512] {
        small.fill(left);
        let output = host.command(&["upgrade", "--boot", "--wait"]).output();
        let output = output.unwrap();
        let said = text(&output);
        assert!(!output.status.success(), "with {left} KiB left: {said}");
        let names_it = said.contains("space") || said.contains("full");
        assert!(names_it, "with {left} KiB left: {said}");
        small.empty();
        host.wait_until_idle();
        stays(&host, &before);
    }
    host.run(&["upgrade", "--boot", "--force", "--wait"], 0);
    assert_ne!(running(&host), before);
}

#[test]
fn a_bad_check_file_stops_the_upgrade_and_is_named() {
    let host = DemoHost::new();
    let before = running(&host);
    host.release(2);
    let root = std::fs::read_to_string(host.dir().join("machine/booted_root")).unwrap();
    let checks = Path::new(root.trim()).join("etc/backstop/checks.d");
    std::fs::create_dir_all(&checks).unwrap();
    let file = checks.join("local.toml");
    std::fs::write(&file, "required = maybe\n").unwrap();
    let output = host.command(&["upgrade", "--boot", "--wait"]).output();
    let output = output.unwrap();
    let said = text(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("local.toml"), "{said}");
    host.wait_until_idle();
    stays(&host, &before);
    std::fs::remove_file(&file).unwrap();
    host.run(&["upgrade", "--boot", "--force", "--wait"], 0);
}

/// A sector that cannot be read means the default, and the next trial writes a
/// new one.
#[test]
fn a_wrong_state_sector_means_the_last_good_version() {
    let host = DemoHost::new();
    let before = running(&host);
    let sector = host.dir().join("boot/backstop/state");
    for damage in [&b""[..], &[0xA5; 512], &[0; 1024]] {
        std::fs::write(&sector, damage).unwrap();
        stays(&host, &before);
    }
    std::fs::remove_file(&sector).unwrap();
    stays(&host, &before);
    let wanted = host.release(2);
    host.run(&["upgrade", "--boot", "--wait"], 0);
    assert_eq!(running(&host), wanted);
    assert_eq!(std::fs::metadata(&sector).unwrap().len(), 512);
}
