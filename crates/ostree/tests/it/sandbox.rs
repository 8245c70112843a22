//! A directory for one test, and what tests do in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use durable::RealFs;
use monitor::Silent;
use ostree::{CommitOptions, Repo, RepoMode};
use tempfile::TempDir;

/// Whether this process is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether Debian's `ostree` can be run; says so if not.
pub fn have_ostree() -> bool {
    testing::have(&["ostree"], &[])
}

/// A directory that is removed with the test.
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
        Repo::create(Arc::new(RealFs), &self.path(name), mode).unwrap()
    }

    pub fn open(&self, name: &str) -> Repo {
        Repo::open(Arc::new(RealFs), &self.path(name)).unwrap()
    }

    /// Runs `ostree` here and returns what it printed; panics when it fails.
    pub fn ostree(&self, args: &[&str]) -> String {
        let (ok, out) = self.ostree_status(args);
        assert!(ok, "ostree {args:?} failed: {out}");
        out
    }

    /// Runs `ostree` here: whether it succeeded, and all that it printed.
    pub fn ostree_status(&self, args: &[&str]) -> (bool, String) {
        let out = Command::new("ostree")
            .args(args)
            .current_dir(self.dir.path())
            .output()
            .unwrap();
        let text = [out.stdout, out.stderr].concat();
        (
            out.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// A tree with one of everything that this user may make.
    pub fn tree(&self, name: &str) -> PathBuf {
        let root = self.path(name);
        fs::create_dir(&root).unwrap();
        for dir in ["empty", "a/b/c", "odd", "sticky", "private", "setgid"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let odd = [
            "odd/ sp ace ",
            "odd/ä-ö",
            "odd/-dash",
            "odd/new\nline",
            "odd/...",
            "odd/ü",
        ];
        for (i, file) in ["a/one", "a/b/two", "a/b/c/three"]
            .iter()
            .chain(&odd)
            .enumerate()
        {
            write(&root.join(file), format!("content {i}\n").as_bytes(), 0o644);
        }
        write(&root.join("a/empty"), b"", 0o600);
        let big: Vec<u8> = (0..9u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        write(&root.join("a/big"), &big, 0o644);
        for mode in [
            0o400, 0o444, 0o600, 0o664, 0o755, 0o777, 0o4755, 0o2755, 0o6711, 0o1644,
        ] {
            write(&root.join(format!("mode{mode:04o}")), b"mode", mode);
        }
        fs::hard_link(root.join("a/one"), root.join("a/one-again")).unwrap();
        symlink("/usr/bin/env", root.join("absolute")).unwrap();
        symlink("a/missing", root.join("dangling")).unwrap();
        fs::set_permissions(root.join("sticky"), PermissionsExt::from_mode(0o1777)).unwrap();
        fs::set_permissions(root.join("private"), PermissionsExt::from_mode(0o750)).unwrap();
        fs::set_permissions(root.join("setgid"), PermissionsExt::from_mode(0o2775)).unwrap();
        for i in 0..300 {
            write(
                &root.join(format!("a/b/c/many{i}")),
                format!("{}", i % 250).as_bytes(),
                0o644,
            );
        }
        set_xattr(&root.join("a/one"), "user.zeta", b"z");
        set_xattr(&root.join("a/one"), "user.alpha", &[0, 1, 2]);
        set_xattr(&root.join("a/one"), "user.nothing", b"");
        set_xattr(&root.join("a/b"), "user.dir", b"on a directory");
        if is_root() {
            own_by_others(&root);
        }
        root
    }
}

/// Owners that only root can give.
fn own_by_others(root: &Path) {
    use std::os::unix::fs::{chown, lchown};
    chown(root.join("a/b/two"), Some(33), Some(44)).unwrap();
    chown(root.join("private"), Some(5), Some(0)).unwrap();
    lchown(root.join("dangling"), Some(6), Some(7)).unwrap();
    chown(root.join("mode4755"), Some(1234), Some(0)).unwrap();
    fs::set_permissions(root.join("mode4755"), PermissionsExt::from_mode(0o4755)).unwrap();
    set_xattr(&root.join("empty"), "trusted.thing", b"t");
}

pub fn write(path: &Path, content: &[u8], mode: u32) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    use rustix::fs::{XattrFlags, lsetxattr};
    match lsetxattr(path, name, value, XattrFlags::empty()) {
        // A filesystem without extended attributes is no reason to fail.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {}
        Err(e) => panic!("cannot set {name}: {e}"),
    }
}

/// A plain commit of `dir` to the branch `main`.
pub fn commit(repo: &Repo, dir: &Path) -> ostree::Checksum {
    let options = CommitOptions {
        branch: Some("main".into()),
        subject: "subject".into(),
        timestamp: Some(1_000_000_000),
        ..CommitOptions::default()
    };
    repo.commit_dir(dir, &options, &Silent).unwrap().checksum
}

/// All that is below a directory: kind, mode, owner, size, link target, content
/// and attributes, one line each.
pub fn describe(root: &Path) -> Vec<String> {
    use durable::{FileKind, Fs};
    let mut lines = Vec::new();
    let mut stack = vec![PathBuf::new()];
    while let Some(relative) = stack.pop() {
        let path = root.join(&relative);
        let stat = RealFs.metadata(&path).unwrap();
        let xattrs: Vec<_> = RealFs
            .xattrs(&path)
            .unwrap()
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let content = match stat.kind {
            FileKind::Dir => {
                let names = RealFs.read_dir(&path).unwrap();
                stack.extend(names.iter().map(|e| relative.join(&e.name)));
                String::new()
            }
            FileKind::Symlink => RealFs.read_link(&path).unwrap().display().to_string(),
            _ => ostree::Checksum::of(&fs::read(&path).unwrap()).to_string(),
        };
        lines.push(format!(
            "{relative:?} {:o} {}:{} {content} {xattrs:?}",
            stat.mode, stat.uid, stat.gid
        ));
    }
    lines.sort();
    lines
}

/// Fails with the lines that differ.
pub fn assert_same_trees(got: &Path, want: &Path, what: &str) {
    let (got, want) = (describe(got), describe(want));
    let extra: Vec<_> = got.iter().filter(|l| !want.contains(l)).collect();
    let lost: Vec<_> = want.iter().filter(|l| !got.contains(l)).collect();
    assert!(
        extra.is_empty() && lost.is_empty(),
        "{what}: got {extra:#?}, want {lost:#?}"
    );
}
