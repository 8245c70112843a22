//! Full disks.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use monitor::Silent;
use ostree::{CheckoutOptions, CommitOptions, FsckOptions, Links, PullOptions, RepoMode};

use crate::sandbox::{Sandbox, commit, is_root, write};

/// A small filesystem in memory, for as long as this lives.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        if !is_root() && !testing::nothing_lacks(&["root, to mount a small filesystem"]) {
            return None;
        }
        fs::create_dir(&at).unwrap();
        let size = format!("size={size}");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&at)
            .status();
        let mounted = mount.is_ok_and(|status| status.success());
        if !mounted && !testing::nothing_lacks(&["the right to mount a small filesystem"]) {
            return None;
        }
        Some(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Files of 64 KiB, all different.
fn fill(dir: &std::path::Path, count: u32) {
    fs::create_dir_all(dir).unwrap();
    for i in 0..count {
        let content: Vec<u8> = (0..16u32 << 10)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761) ^ (i << 20)).to_le_bytes())
            .collect();
        write(&dir.join(format!("file{i}")), &content, 0o644);
    }
}

fn set_reserve(sandbox: &Sandbox, repo: &str, percent: u32) {
    let text =
        format!("[core]\nrepo_version=1\nmode=bare-user\nmin-free-space-percent={percent}\n");
    fs::write(sandbox.path(repo).join("config"), text).unwrap();
}

#[test]
fn commit_into_a_full_filesystem() {
    let sandbox = Sandbox::new();
    let Some(small) = Small::mount(sandbox.path("small"), "8m") else {
        return;
    };
    sandbox.repo("small/repo", RepoMode::BareUser);
    set_reserve(&sandbox, "small/repo", 0);
    let repo = sandbox.open("small/repo");
    fill(&sandbox.path("little"), 10);
    let first = commit(&repo, &sandbox.path("little"));

    fill(&sandbox.path("much"), 200);
    let options = CommitOptions {
        branch: Some("main".into()),
        ..CommitOptions::default()
    };
    let error = repo
        .commit_dir(&sandbox.path("much"), &options, &Silent)
        .unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_unchanged(&sandbox, &repo, first);

    // What others wrote since the start was not reckoned with: the disk is full
    // in the middle of a write.
    let ballast = vec![1u8; 4 << 20];
    fs::write(small.0.join("ballast"), &ballast).unwrap();
    fs::write(sandbox.path("tiny"), b"").unwrap();
    let monitor = Ballast(small.0.clone());
    fs::remove_file(small.0.join("ballast")).unwrap();
    fill(&sandbox.path("fits"), 60);
    let error = repo
        .commit_dir(&sandbox.path("fits"), &options, &monitor)
        .unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(error.to_string().contains("free some space"), "{error}");
    assert_unchanged(&sandbox, &repo, first);

    // With space again, the same command goes through.
    fs::remove_file(small.0.join("late")).unwrap();
    let second = repo
        .commit_dir(&sandbox.path("fits"), &options, &Silent)
        .unwrap();
    assert_eq!(
        repo.load_commit(&second.checksum).unwrap().parent,
        Some(first)
    );
    assert!(
        repo.fsck(&FsckOptions::default(), &Silent)
            .unwrap()
            .is_clean()
    );
}

/// Eats all space as soon as something is reported.
struct Ballast(PathBuf);

impl monitor::Monitor for Ballast {
    fn progress(&self, _: monitor::Progress<'_>) {
        // Fails when the filesystem is full, as it should.
        let _ = fs::write(self.0.join("late"), vec![1u8; 16 << 20]);
    }
    fn note(&self, _: &str) {}
}

fn assert_unchanged(sandbox: &Sandbox, repo: &ostree::Repo, head: ostree::Checksum) {
    assert_eq!(repo.resolve("main").unwrap(), head);
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let left: Vec<_> = fs::read_dir(sandbox.path("small/repo/tmp"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "only the cache: {left:?}");
}

#[test]
fn checkout_and_pull_into_a_full_filesystem() {
    let sandbox = Sandbox::new();
    fill(&sandbox.path("much"), 60);
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let rev = commit(&repo, &sandbox.path("much"));
    let Some(small) = Small::mount(sandbox.path("small"), "2m") else {
        return;
    };
    let options = CheckoutOptions {
        user_mode: true,
        links: Links::Never,
        ..CheckoutOptions::default()
    };
    let error = repo
        .checkout(&rev, &small.0.join("out"), &options, &Silent)
        .unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(!small.0.join("out").exists(), "half a checkout is left");

    sandbox.repo("small/repo", RepoMode::BareUser);
    set_reserve(&sandbox, "small/repo", 0);
    let to = sandbox.open("small/repo");
    let error = to
        .pull_local(&repo, &["main".into()], &PullOptions::default(), &Silent)
        .unwrap_err();
    assert!(error.is_full(), "{error}");
    let report = to.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert_eq!((report.objects, report.is_clean()), (0, true));
    assert!(to.refs(None).unwrap().is_empty());
}

#[test]
fn the_reserve_is_kept() {
    let sandbox = Sandbox::new();
    sandbox.repo("repo", RepoMode::BareUser);
    fill(&sandbox.path("little"), 2);
    let config = sandbox.path("repo/config");
    fs::write(
        &config,
        "[core]\nrepo_version=1\nmode=bare-user\nmin-free-space-size=900000TB\n",
    )
    .unwrap();
    let repo = sandbox.open("repo");
    let error = repo
        .commit_dir(&sandbox.path("little"), &CommitOptions::default(), &Silent)
        .unwrap_err();
    assert!(error.to_string().contains("min-free-space"), "{error}");
    // Nothing to write needs no space.
    set_reserve(&sandbox, "repo", 0);
    let rev = commit(&sandbox.open("repo"), &sandbox.path("little"));
    assert_eq!(sandbox.open("repo").resolve("main").unwrap(), rev);
}
