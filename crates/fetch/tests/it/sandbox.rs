//! A directory for one test, and what tests do in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use durable::RealFs;
use fetch::{NetOptions, PullOptions, Pulled};
use monitor::Silent;
use ostree::{Checksum, CommitOptions, FsckOptions, Remote, Repo, RepoMode, Unsigned};
use tempfile::TempDir;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file that is written while it arrives.
pub const LONG: u32 = 3 << 20;
/// One that is long, and yet inflated as a whole.
pub const MIDDLE: u32 = 700 << 10;

pub struct Sandbox {
    dir: TempDir,
}

impl Sandbox {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn repo(&self, name: &str, mode: RepoMode) -> Repo {
        let repo = Repo::create(Arc::new(RealFs), &self.path(name), mode).unwrap();
        if fs::read_to_string(self.path(name).join("config")).is_ok_and(|c| !c.contains("free")) {
            // Tests must not depend on how full the disk is.
            let config = format!("[core]\nrepo_version=1\nmode={mode}\nmin-free-space-percent=0\n");
            fs::write(self.path(name).join("config"), config).unwrap();
        }
        Repo::open(Arc::new(RealFs), repo.path()).unwrap()
    }

    /// A tree with some of everything that any user may make.
    pub fn tree(&self, name: &str, salt: &str) -> PathBuf {
        let root = self.path(name);
        for dir in ["empty", "usr/lib/deep/er", "etc"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        for i in 0..12 {
            let text = format!("{salt} {i}\n").repeat(1 + i * 40);
            fs::write(root.join(format!("usr/lib/file{i}")), text).unwrap();
        }
        fs::write(root.join("etc/empty"), b"").unwrap();
        fs::write(root.join("etc/conf"), format!("salt={salt}\n")).unwrap();
        fs::write(root.join("usr/lib/deep/er/zeros"), vec![0; 12 << 20]).unwrap();
        fs::write(root.join("usr/lib/deep/noise"), noise(LONG)).unwrap();
        fs::write(root.join("usr/lib/deep/some"), noise(MIDDLE)).unwrap();
        fs::set_permissions(root.join("etc/conf"), PermissionsExt::from_mode(0o640)).unwrap();
        symlink("../lib/file1", root.join("usr/lib/deep/link")).unwrap();
        root
    }

    /// An archive with two commits of the branch `main` and one of `other/branch`, and
    /// its summary.
    pub fn origin(&self, name: &str) -> Origin {
        let repo = self.repo(name, RepoMode::Archive);
        let first = commit(&repo, &self.tree(&format!("{name}-1"), "one"), "main", 1000);
        let second = commit(&repo, &self.tree(&format!("{name}-2"), "two"), "main", 2000);
        let other = commit(
            &repo,
            &self.tree(&format!("{name}-3"), "x"),
            "other/branch",
            3000,
        );
        summarize(&repo);
        Origin {
            path: repo.path().to_owned(),
            first,
            second,
            other,
        }
    }

    /// Runs `ostree` here and returns what it printed; panics when it fails.
    pub fn ostree(&self, args: &[&str]) -> String {
        let (ok, out) = self.ostree_status(args);
        assert!(ok, "ostree {args:?} failed: {out}");
        out
    }

    pub fn ostree_status(&self, args: &[&str]) -> (bool, String) {
        let out = Command::new("ostree")
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        (out.status.success(), text)
    }
}

/// A repository to pull from.
pub struct Origin {
    pub path: PathBuf,
    pub first: Checksum,
    pub second: Checksum,
    pub other: Checksum,
}

/// Bytes that cannot be deflated.
pub fn noise(len: u32) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..len).map(|_| next()).collect()
}

pub fn commit(repo: &Repo, tree: &Path, branch: &str, time: u64) -> Checksum {
    let options = CommitOptions {
        branch: Some(branch.into()),
        subject: format!("at {time}"),
        timestamp: Some(time),
        ..CommitOptions::default()
    };
    repo.commit_dir(tree, &options, &Silent).unwrap().checksum
}

pub fn summarize(repo: &Repo) {
    let summary = repo.summarize(&ostree::Metadata::default()).unwrap();
    repo.write_summary(&summary).unwrap();
}

/// A remote that demands no signatures.
pub fn remote(url: &str) -> Remote {
    let mut remote = Remote::new("origin", url).unwrap();
    remote.set("gpg-verify", Some("false"));
    remote
}

/// Options for tests: little patience.
pub fn options(refs: &[&str]) -> PullOptions {
    PullOptions {
        refs: refs.iter().map(|r| (*r).to_owned()).collect(),
        net: NetOptions {
            retries: 2,
            ..NetOptions::default()
        },
        ..PullOptions::default()
    }
}

pub fn pull(repo: &Repo, remote: &Remote, options: &PullOptions) -> fetch::Result<Pulled> {
    let verifier = Unsigned::new(remote).unwrap();
    fetch::pull(repo, remote, options, &verifier, &Silent)
}

/// Pulls `main` from an address.
pub fn pull_main(repo: &Repo, url: &str) -> fetch::Result<Pulled> {
    pull(repo, &remote(url), &options(&["main"]))
}

/// The repository is clean, and has the commit under the name `origin:main`.
pub fn assert_has(repo: &Repo, name: &str, commit: Checksum) {
    assert_eq!(repo.resolve(name).unwrap(), commit);
    assert_clean(repo);
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(report.commits > 0, "{report:?}");
}

pub fn assert_clean(repo: &Repo) {
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

/// Nothing of a pull is to be seen.
pub fn assert_untouched(repo: &Repo) {
    assert!(repo.refs(None).unwrap().is_empty());
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(report.is_clean() && report.commits == 0, "{report:?}");
}

/// All that an error says.
pub fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(e) = cause {
        text = format!("{text}: {e}");
        cause = e.source();
    }
    text
}

/// The path below an archive of an object.
pub fn object_path(repo: &Repo, commit: &Checksum, path: &str) -> String {
    let (mut tree, mut object) = (repo.load_commit(commit).unwrap().root_tree, None);
    for part in path.split('/') {
        let dir = repo.load_dirtree(&tree).unwrap();
        match dir.dir(part) {
            Some(found) => tree = found.tree,
            None => object = dir.file(part).map(|f| f.checksum),
        }
    }
    let hex = object.unwrap().to_string();
    format!("objects/{}/{}.filez", &hex[..2], &hex[2..])
}
