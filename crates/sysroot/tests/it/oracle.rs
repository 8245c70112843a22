//! Debian's `ostree` and this crate on each other's sysroots.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use durable::RealFs;
use monitor::Silent;
use sysroot::{DeploymentId, EtcConflict, Standing, Sysroot};

use crate::host::{Host, is_root, make_tree, order, write};
use testing::have;

/// Both need root: deployments keep their owners, and are immutable.
pub fn can_run() -> bool {
    if !have(&["ostree"], &[]) {
        return false;
    }
    let root = is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

/// What `ostree ARGS` prints.
fn ostree(args: &[&str]) -> String {
    let output = Command::new("ostree")
        .args(args)
        .env_remove("OSTREE_SYSROOT")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ostree {args:?}: {errors}");
    text
}

pub fn admin(root: &Path, args: &[&str]) -> String {
    let mut all = vec!["admin"];
    let sysroot = format!("--sysroot={}", root.display());
    all.extend_from_slice(&args[..1]);
    all.push(&sysroot);
    all.extend_from_slice(&args[1..]);
    ostree(&all)
}

/// The deployments as `ostree admin status` lists them.
pub fn status(root: &Path) -> Vec<String> {
    let text = admin(root, &["status"]);
    let lines = text.lines().filter_map(|line| {
        let mut words = line.trim_start_matches(['*', ' ']).split_whitespace();
        let name = format!("{}/{}", words.next()?, words.next()?);
        name.parse::<DeploymentId>().ok()
    });
    lines.map(|id| id.to_string()).collect()
}

pub fn names(ids: &[&DeploymentId]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

#[test]
fn ostree_reads_our_sysroot() {
    if !can_run() {
        return;
    }
    let host = Host::new();
    let mut ids = Vec::new();
    for n in ["1", "2", "3"] {
        ids.push(host.stage(host.version(n, &[]), ids.last()).deployment);
    }
    host.publish(&[&ids[0]], None);
    assert_eq!(status(&host.root()), names(&[&ids[0]]));
    host.publish(&[&ids[1], &ids[0]], Some(&ids[2]));
    assert_eq!(status(&host.root()), names(&[&ids[1], &ids[0], &ids[2]]));
    let text = admin(&host.root(), &["status"]);
    assert!(text.contains("origin refspec: debian/main"), "{text}");
    let repo = format!("--repo={}/ostree/repo", host.root().display());
    ostree(&["fsck", &repo]);
    // It keeps what our boot order needs, and takes away nothing else.
    host.sysroot.repo().set_ref("debian/main", None).unwrap();
    admin(&host.root(), &["cleanup"]);
    ostree(&["prune", &repo, "--refs-only"]);
    ostree(&["fsck", &repo]);
    assert_eq!(status(&host.root()).len(), 3);
    assert_eq!(host.boot(), ids[2]);
}

#[test]
fn ostree_takes_our_sysroot_back() {
    if !can_run() {
        return;
    }
    let host = Host::new();
    let first = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&first], None);
    fs::write(host.tree(&first).join("etc/mine"), "x").unwrap();
    let commit = host.version("2", &[("usr/etc/new", "2")]);
    admin(
        &host.root(),
        &["deploy", "--os=debian", &commit.to_string()],
    );
    let all = host.sysroot.deployments().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].id.checksum, commit);
    assert_eq!(all[0].kargs.to_string(), "root=LABEL=root ro");
    let etc = host.tree(&all[0].id).join("etc");
    assert_eq!(fs::read_to_string(etc.join("mine")).unwrap(), "x");
    // And we take it over again.
    assert_eq!(host.sysroot.published().unwrap().config, None);
    host.publish(&[&all[0].id, &first], None);
    assert_eq!(status(&host.root()), names(&[&all[0].id, &first]));
    assert_eq!(host.boot(), all[0].id);
    // Again and again, either way.
    let commit = host.version("3", &[]);
    for _ in 0..2 {
        admin(
            &host.root(),
            &["deploy", "--os=debian", &commit.to_string()],
        );
        let theirs = host.sysroot.published().unwrap();
        assert_eq!(theirs.config, None);
        host.sysroot.publish(&theirs.order, &Silent).unwrap();
        assert_eq!(host.boot().checksum, commit);
        assert_eq!(
            status(&host.root()),
            names(&theirs.order.good.iter().collect::<Vec<_>>())
        );
    }
}

/// A sysroot that `ostree` made, with one deployment of tree `old`.
fn made_by_ostree(dir: &Path, old: &Path) -> DeploymentId {
    let root = dir.join("root");
    fs::create_dir(&root).unwrap();
    let path = root.to_str().unwrap();
    ostree(&["admin", "init-fs", path]);
    admin(&root, &["os-init", "debian"]);
    let repo = format!("--repo={path}/ostree/repo");
    let tree = format!("--tree=dir={}", old.display());
    ostree(&["commit", &repo, "-b", "debian/main", &tree]);
    admin(
        &root,
        &[
            "deploy",
            "--os=debian",
            "--karg=root=LABEL=x",
            "debian/main",
        ],
    );
    let sysroot = Sysroot::open(Arc::new(RealFs), &root).unwrap();
    let all = sysroot.deployments().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].standing, Standing::Good(0));
    all[0].id.clone()
}

struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        let _ = durable::remove_tree(&RealFs, self.0);
    }
}

#[test]
fn we_take_over_a_sysroot_of_ostree() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let _removed = Removed(&root);
    let old = dir.path().join("old");
    make_tree(&old, "1", &[]);
    let first = made_by_ostree(dir.path(), &old);
    let sysroot = Sysroot::open(Arc::new(RealFs), &root).unwrap();
    let kernel = |sysroot: &Sysroot| {
        let dir = sysroot.layout().boot().join("ostree");
        let names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
        names.collect::<Vec<_>>()
    };
    let before = kernel(&sysroot);
    let request = sysroot::StageRequest {
        stateroot: "debian".into(),
        commit: first.checksum,
        merge_from: Some(first.clone()),
        origin: sysroot.deployments().unwrap()[0].origin.for_another(),
        kargs: sysroot::StageKargs::CarryOver,
    };
    let second = sysroot.stage(&request, &Silent).unwrap().deployment;
    sysroot
        .publish(&order(&[&first], Some(&second)), &Silent)
        .unwrap();
    // The same kernel has the same name for both.
    assert_eq!(kernel(&sysroot), before);
    assert_eq!(status(&root), names(&[&first, &second]));
    assert_eq!(
        sysroot.deployments().unwrap()[1].kargs.to_string(),
        "root=LABEL=x"
    );
    assert_eq!(sysroot.simulate_boot().unwrap().deployment, second);
    admin(&root, &["undeploy", "1"]);
    assert_eq!(status(&root), names(&[&first]));
    assert_eq!(sysroot.deployments().unwrap().len(), 1);
}

/// Everything in a tree: kind, permissions, content.
pub fn listing(root: &Path) -> Vec<String> {
    fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            let meta = entry.metadata().unwrap();
            let mode = meta.permissions().mode();
            if meta.is_symlink() {
                let target = fs::read_link(entry.path()).unwrap();
                out.push(format!("{name} -> {}", target.display()));
            } else if meta.is_dir() {
                out.push(format!("{name}/ {mode:o}"));
                walk(&entry.path(), &format!("{name}/"), out);
            } else {
                let content = fs::read_to_string(entry.path()).unwrap();
                out.push(format!("{name} {mode:o} {content}"));
            }
        }
    }
    let mut out = Vec::new();
    walk(root, "", &mut out);
    out
}

/// Every combination of what a file may be in the three trees, as far as
/// `ostree` merges at all: it gives up where a changed file is a directory in the
/// new defaults.
#[test]
fn etc_is_merged_as_ostree_merges_it() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let _removed = Removed(&root);
    let (old, new) = (dir.path().join("old"), dir.path().join("new"));
    make_tree(&old, "1", &[]);
    make_tree(&new, "2", &[]);
    // Absent, two contents, other permissions, a symlink, a directory.
    let states = ["-", "1", "2", "x", ">", "/"];
    let mut cases = Vec::new();
    for base in states {
        for local in states {
            for default in states {
                // Save for a directory that stands on all sides or one.
                let clash = local != base && (default == "/") != (local == "/");
                if !clash || default == "-" || local == "-" {
                    cases.push((format!("{}", cases.len()), base, local, default));
                }
            }
        }
    }
    let put = |etc: &Path, name: &str, state: &str| {
        let path = etc.join(name);
        match state {
            "-" => {}
            ">" => symlink("target", &path).unwrap(),
            "/" => write(&path.join("in"), "1"),
            "x" => {
                write(&path, "1");
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            content => write(&path, content),
        }
    };
    for (name, base, _, default) in &cases {
        put(&old.join("usr/etc"), name, base);
        put(&new.join("usr/etc"), name, default);
    }
    let first = made_by_ostree(dir.path(), &old);
    let sysroot = Sysroot::open(Arc::new(RealFs), &root).unwrap();
    let etc = sysroot.layout().deployment(&first).join("etc");
    for (name, _, local, _) in &cases {
        let path = etc.join(name);
        if fs::symlink_metadata(&path).is_ok_and(|m| m.is_dir()) {
            fs::remove_dir_all(&path).unwrap();
        } else {
            let _ = fs::remove_file(&path);
        }
        put(&etc, name, local);
    }
    let repo = format!("--repo={}/ostree/repo", root.display());
    let tree = format!("--tree=dir={}", new.display());
    let commit = ostree(&["commit", &repo, "-b", "debian/main", &tree]);
    let request = sysroot::StageRequest {
        stateroot: "debian".into(),
        commit: commit.trim().parse().unwrap(),
        merge_from: Some(first),
        origin: sysroot::Origin::following("debian/main"),
        kargs: sysroot::StageKargs::CarryOver,
    };
    let staged = sysroot.stage(&request, &Silent).unwrap();
    let etc = sysroot.layout().deployment(&staged.deployment).join("etc");
    let mut ours = listing(&etc);
    // It takes no notice of directories without a boot entry, and would use it.
    sysroot.undeploy(&staged.deployment).unwrap();
    admin(&root, &["deploy", "--os=debian", commit.trim()]);
    let deployed = sysroot.deployments().unwrap()[0].id.clone();
    assert_eq!(deployed.checksum, request.commit);
    let mut theirs = listing(&sysroot.layout().deployment(&deployed).join("etc"));
    // This one is theirs alone: a mark that the merge took place.
    theirs.retain(|l| !l.starts_with(".updated"));
    ours.retain(|l| !l.starts_with(".updated"));
    assert!(cases.len() > 100 && ours.len() > 60, "{}", ours.len());
    assert_eq!(ours, theirs);
    // They say nothing of these.
    let both = staged
        .etc
        .conflicts
        .iter()
        .filter(|(_, c)| *c == EtcConflict::BothChanged);
    assert!(both.count() > 10);
}
