//! `tree prepare` on trees.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use durable::RealFs;
use monitor::Silent;
use provision::tree::{Initramfs, PrepareOptions, plan};
use testbed::{Release, cache::Cache, debian, packages};

/// The least that passes for a Debian root.
pub fn small_root(at: &Path) -> PathBuf {
    let root = at.join("root");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("etc/machine-id", "0123\n");
    write("etc/fstab", "LABEL=r / ext4 a 0 1\n");
    write("etc/ssh/ssh_host_rsa_key", "key");
    write("usr/lib/systemd/systemd", "init");
    write("usr/lib/modules/6.1/modules.dep", "");
    write("usr/lib/tmpfiles.d/var.conf", "d /var/log 0755 - - -\n");
    write("boot/vmlinuz-6.1", "kernel");
    write("var/lib/dpkg/status", "Package: x\n");
    write("var/lib/app/data", "data");
    write("var/cache/app/old", "old");
    write("var/log/old", "old");
    write("root/.profile", "profile");
    write("usr/local/bin/tool", "tool");
    write("home/me/file", "mine");
    write("run/left", "over");
    for dir in ["bin", "sbin", "lib"] {
        fs::create_dir_all(root.join("usr").join(dir)).unwrap();
        symlink(format!("usr/{dir}"), root.join(dir)).unwrap();
    }
    for dir in ["opt", "srv", "mnt", "media", "dev", "proc", "sys", "tmp"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    symlink("/run", root.join("var/run")).unwrap();
    fs::set_permissions(root.join("root"), fs::Permissions::from_mode(0o700)).unwrap();
    root
}

pub fn options(tree: PathBuf, at: &Path) -> PrepareOptions {
    let (binary, image) = (at.join("backstop"), at.join("initramfs"));
    fs::write(&binary, "program").unwrap();
    fs::write(&image, "image").unwrap();
    PrepareOptions {
        tree,
        into: None,
        binary,
        kernel: None,
        initramfs: Initramfs::Given(image),
    }
}

#[test]
fn a_plain_root_becomes_deployable_and_stays_so() {
    let tmp = tempfile::tempdir().unwrap();
    let root = small_root(tmp.path());
    let options = options(root.clone(), tmp.path());
    let first = plan(&RealFs, &options).unwrap();
    assert!(first.warnings[0].contains("ssh host keys"));
    first.apply(&RealFs, &Silent).unwrap();

    let read =
        |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let link = |path: &str| fs::read_link(root.join(path)).unwrap();
    assert!(!root.join("etc").exists());
    assert_eq!(read("usr/etc/machine-id"), "");
    assert!(read("usr/etc/fstab").starts_with("# mounted by backstop"));
    assert_eq!(read("usr/lib/modules/6.1/vmlinuz"), "kernel");
    assert_eq!(read("usr/lib/modules/6.1/initramfs.img"), "image");
    assert_eq!(read("usr/bin/backstop"), "program");
    assert_eq!(read("usr/lib/sysimage/dpkg/status"), "Package: x\n");
    assert_eq!(link("home"), Path::new("var/home"));
    assert_eq!(link("usr/local"), Path::new("../var/usrlocal"));
    assert_eq!(link("ostree"), Path::new("sysroot/ostree"));
    assert!(root.join("sysroot").is_dir());
    for empty in ["var", "boot", "run", "tmp"] {
        assert_eq!(
            fs::read_dir(root.join(empty)).unwrap().count(),
            0,
            "{empty}"
        );
    }
    let factory = "usr/share/factory/var";
    assert_eq!(read(&format!("{factory}/roothome/.profile")), "profile");
    assert_eq!(read(&format!("{factory}/home/me/file")), "mine");
    assert!(!root.join(factory).join("cache/app/old").exists());
    let private = fs::metadata(root.join(factory).join("roothome")).unwrap();
    assert_eq!(private.permissions().mode() & 0o777, 0o700);
    let list = read("usr/lib/tmpfiles.d/backstop-var.conf");
    for line in [
        "C /var/lib/app/data - - - -",
        "C /var/usrlocal/bin/tool - - - -",
        "L /var/run - - - - /run",
        "L+ /var/lib/dpkg - - - - /usr/lib/sysimage/dpkg",
    ] {
        assert!(list.lines().any(|l| l == line), "{line} is not in\n{list}");
    }
    assert!(list.contains("d /var/roothome 0700 "));
    assert!(list.contains("d /var/cache/app 0755 "));
    assert!(!list.contains("/var/log "), "another list has it");

    let given = PrepareOptions {
        initramfs: Initramfs::Given(root.join("usr/lib/modules/6.1/initramfs.img")),
        ..options
    };
    let again = plan(&RealFs, &given).unwrap();
    assert_eq!(again.steps.len(), 1, "only the given initramfs: {again}");
    again.apply(&RealFs, &Silent).unwrap();
    assert_eq!(read("usr/lib/tmpfiles.d/backstop-var.conf"), list);
}

#[test]
fn a_copy_leaves_the_original_alone() {
    let tmp = tempfile::tempdir().unwrap();
    let root = small_root(tmp.path());
    let into = tmp.path().join("copy");
    let options = PrepareOptions {
        into: Some(into.clone()),
        ..options(root.clone(), tmp.path())
    };
    plan(&RealFs, &options)
        .unwrap()
        .apply(&RealFs, &Silent)
        .unwrap();
    assert!(root.join("etc/machine-id").exists() && !root.join("usr/etc").exists());
    assert!(into.join("usr/etc/machine-id").exists());
    let e = plan(&RealFs, &options).unwrap_err();
    assert!(e.to_string().contains("is not empty"), "{e}");
}

#[test]
fn debian_makes_its_initramfs_without_being_changed() {
    if !testing::nothing_lacks(&packages::lacks(&[packages::ROOT])) {
        return;
    }
    let root = debian::root(&Cache::from_env(), Release::Bookworm, &Silent).unwrap();
    let tmp = tempfile::tempdir_in("/var/tmp").unwrap();
    let into = tmp.path().join("tree");
    let options = PrepareOptions {
        into: Some(into.clone()),
        initramfs: Initramfs::Build,
        ..options(root.clone(), tmp.path())
    };
    plan(&RealFs, &options)
        .unwrap()
        .apply(&RealFs, &Silent)
        .unwrap();
    let modules = fs::read_dir(into.join("usr/lib/modules")).unwrap().next();
    let image = modules.unwrap().unwrap().path().join("initramfs.img");
    let files = std::process::Command::new("chroot")
        .arg(&root)
        .args(["zstd", "-dc"])
        .stdin(fs::File::open(&image).unwrap())
        .output();
    let files = files.unwrap().stdout;
    let step = b"usr/lib/backstop/enter-deployment.sh";
    assert!(
        files.windows(step.len()).any(|w| w == step),
        "no step in the image"
    );
    assert!(fs::metadata(&image).unwrap().len() > 1 << 20);
    let again = PrepareOptions {
        tree: into,
        into: None,
        ..options
    };
    let again = plan(&RealFs, &again).unwrap();
    assert_eq!(again.steps, [], "{again}");
}
