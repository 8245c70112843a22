//! `install`, in directories and on images.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use boot::StateSector;
use durable::{Fs, RealFs};
use monitor::Silent;
use ostree::{CommitOptions, Repo, RepoMode};
use provision::disk::{self, InstallOptions, Layout, Target};
use provision::{Error, program, tree};
use sysroot::{Loader, Sysroot};
use testbed::packages;

use crate::tree::{options, small_root};

fn fs() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

/// A repository with a small prepared tree on the branch `small`.
fn repo(at: &Path) -> PathBuf {
    commit(at, &small_root(at))
}

fn commit(at: &Path, root: &Path) -> PathBuf {
    let prepare = options(root.to_owned(), at);
    tree::plan(&RealFs, &prepare)
        .unwrap()
        .apply(&RealFs, &Silent)
        .unwrap();
    let mode = match packages::is_root() {
        true => RepoMode::Bare,
        false => RepoMode::BareUser,
    };
    let repo = Repo::create(fs(), &at.join("repo"), mode).unwrap();
    let commit = CommitOptions {
        branch: Some("small".into()),
        ..CommitOptions::default()
    };
    repo.commit_dir(root, &commit, &Silent).unwrap();
    at.join("repo")
}

fn install(repo: &Path, target: Target) -> InstallOptions {
    InstallOptions {
        repo: repo.to_owned(),
        rev: "small".into(),
        origin: None,
        stateroot: "debian".into(),
        kargs: vec!["quiet".into()],
        serial: None,
        loader: Loader::Grub,
        target,
    }
}

#[test]
fn a_directory_becomes_a_sysroot_that_boots() {
    let tmp = tempfile::tempdir().unwrap();
    let repo = repo(tmp.path());
    let dir = tmp.path().join("host");
    let options = install(&repo, Target::Directory(dir.clone()));
    let plan = disk::plan(&RealFs, &options).unwrap();
    assert!(plan.to_string().contains("boot it with: quiet\n"), "{plan}");
    let deployment = plan.apply(&fs(), &Silent).unwrap();

    let host = Sysroot::open(fs(), &dir).unwrap();
    let start = host.simulate_boot().unwrap();
    assert_eq!(start.deployment, deployment);
    assert!(
        start.cmdline.starts_with("quiet ostree=/ostree/boot."),
        "{}",
        start.cmdline
    );
    let found = host.deployment(&deployment).unwrap();
    assert_eq!(found.origin.refspec(), Some("small"));
    assert!(
        host.layout()
            .deployment(&deployment)
            .join("etc/fstab")
            .exists()
    );
    if packages::is_root() && program::find("ostree").is_some() {
        let sysroot = format!("--sysroot={}", dir.display());
        let status = Command::new("ostree")
            .args(["admin", &sysroot, "status"])
            .output();
        let status = String::from_utf8(status.unwrap().stdout).unwrap();
        assert!(
            status.contains(&format!("debian {}.0", deployment.checksum)),
            "{status}"
        );
    }

    let again = disk::plan(&RealFs, &options).unwrap_err();
    assert!(matches!(again, Error::Refused { .. }), "{again}");
    durable::remove_tree(&RealFs, &dir).unwrap();
}

/// Whether images can be made here; says why not.
fn able() -> bool {
    testing::nothing_lacks(&packages::lacks(&[packages::DISK]))
}

#[test]
fn an_image_has_what_both_firmwares_look_for() {
    if !able() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let repo = repo(tmp.path());
    let image = tmp.path().join("disk.img");
    let target = |size, overwrite| Target::Disk {
        path: image.clone(),
        size,
        overwrite,
    };
    let plan = disk::plan(&RealFs, &install(&repo, target(1 << 30, false))).unwrap();
    let identity = plan.identity.clone().unwrap();
    let deployment = plan.apply(&fs(), &Silent).unwrap();

    let layout = Layout::for_size(1 << 30, Loader::Grub).unwrap();
    let on_esp = |path: &str| {
        let esp = format!("{}@@{}", image.display(), layout.esp.start);
        let out = Command::new("mtype")
            .args(["-i", &esp, &format!("::{path}")])
            .output();
        out.unwrap().stdout
    };
    let config = String::from_utf8(on_esp("/grub/grub.cfg")).unwrap();
    assert!(config.contains(&format!("--fs-uuid --set=root {}", identity.root)));
    assert!(on_esp("/EFI/BOOT/BOOTX64.EFI").starts_with(b"MZ"));
    let sector = StateSector::parse(&on_esp("/backstop/state")).unwrap();
    assert_eq!(sector.left, 0);

    let root = format!("{}?offset={}", image.display(), layout.root.start);
    let check = Command::new("e2fsck")
        .args(["-fn", &root])
        .output()
        .unwrap();
    assert!(check.status.success(), "{check:?}");
    let read = |path: &str| {
        let out = Command::new("debugfs")
            .args(["-R", &format!("cat {path}"), &root])
            .output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    };
    let etc = format!("/ostree/deploy/debian/deploy/{}/etc", deployment.dir_name());
    let fstab = read(&format!("{etc}/fstab"));
    assert!(fstab.contains(&format!(
        "PARTUUID={} /boot/efi vfat",
        identity.esp_partition
    )));
    let settings = read("/ostree/backstop/boot.toml");
    assert!(settings.contains("boot/efi/backstop/state"), "{settings}");

    let again = disk::plan(&RealFs, &install(&repo, target(1 << 30, false))).unwrap_err();
    assert!(again.to_string().contains("holds partitions"), "{again}");
    disk::plan(&RealFs, &install(&repo, target(1 << 30, true)))
        .unwrap()
        .apply(&fs(), &Silent)
        .unwrap();
}

#[test]
fn an_image_that_is_too_small_is_not_left_behind() {
    if !able() {
        return;
    }
    let tmp = tempfile::tempdir().unwrap();
    let root = small_root(tmp.path());
    let big = vec![7; 300 << 20];
    std::fs::write(root.join("usr/big"), big).unwrap();
    let repo = commit(tmp.path(), &root);
    let image = tmp.path().join("disk.img");
    let target = Target::Disk {
        path: image.clone(),
        size: Layout::least(Loader::Grub),
        overwrite: false,
    };
    let plan = disk::plan(&RealFs, &install(&repo, target)).unwrap();
    let e = plan.apply(&fs(), &Silent).unwrap_err();
    assert!(e.to_string().contains("mkfs.ext4"), "{e}");
    assert!(!image.exists(), "half an image is left");
    let left: Vec<_> = std::fs::read_dir(tmp.path()).unwrap().flatten().collect();
    let work = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().starts_with(".backstop");
    assert!(!left.iter().any(work), "the work directory is left");
}
