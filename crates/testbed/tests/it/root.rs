//! The Debian roots.

use std::path::{Path, PathBuf};

use testbed::{Release, debian, packages};

use crate::support;

#[test]
fn a_debian_root_has_a_kernel_an_init_and_a_way_in() {
    if !support::able(&[packages::ROOT]) {
        return;
    }
    let root = whole(Release::Bookworm);
    let again = debian::root(&support::cache(), Release::Bookworm, &monitor::Silent);
    assert_eq!(again.unwrap(), root);
}

#[test]
fn another_release_is_a_root_of_its_own() {
    if !testing::all_releases() || !support::able(&[packages::ROOT]) {
        return;
    }
    let root = whole(Release::Trixie);
    let says = std::fs::read_to_string(root.join("usr/lib/os-release")).unwrap();
    assert!(says.contains("VERSION_CODENAME=trixie"), "{says}");
    // Few modules are left, though these are compressed.
    let modules = files(&root.join("usr/lib/modules"), ".ko.xz");
    assert!((20..200).contains(&modules), "{modules}");
}

fn whole(release: Release) -> PathBuf {
    let root = debian::root(&support::cache(), release, &monitor::Silent).unwrap();
    assert!(root.join("usr/lib/systemd/systemd").exists());
    assert!(root.join("etc/ssh/authorized_keys.d/root").exists());
    let boot = std::fs::read_dir(root.join("boot")).unwrap().flatten();
    let kernels = |e: &std::fs::DirEntry| e.file_name().to_string_lossy().starts_with("vmlinuz-");
    assert_eq!(boot.filter(kernels).count(), 1);
    root
}

/// How many files below a directory are called so.
fn files(dir: &Path, tail: &str) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), tail),
            false => usize::from(entry.file_name().to_string_lossy().ends_with(tail)),
        })
        .sum()
}
