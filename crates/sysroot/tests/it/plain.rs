//! Publishing on hosts that are not backstop's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use monitor::Silent;
use sysroot::{BootSettings, DeploymentId, PlainOrder};

use crate::host::{Host, write};

fn order(deployments: &[&DeploymentId]) -> PlainOrder {
    PlainOrder {
        deployments: deployments.iter().map(|id| (*id).clone()).collect(),
        kargs: BTreeMap::new(),
    }
}

fn entry(host: &Host, number: u32) -> String {
    let name = format!("boot/loader/entries/ostree-{number}-debian.conf");
    fs::read_to_string(host.root().join(name)).unwrap()
}

/// Two deployments of the same commit have the same entries, so only the links are led
/// elsewhere; another kernel takes the other set of boot files.
#[test]
fn links_are_swapped_where_entries_stay_the_same() {
    let host = Host::new();
    let commit = host.version("1", &[]);
    let a = host.stage(commit, None).deployment;
    let first = host.sysroot.publish_plain(&order(&[&a]), &Silent).unwrap();
    assert!(first.entries);
    assert_eq!((first.version, first.sub), (1, 1));
    let b = host.stage(commit, Some(&a)).deployment;
    let swapped = host.sysroot.publish_plain(&order(&[&b]), &Silent).unwrap();
    assert!(!swapped.entries);
    assert_eq!((swapped.version, swapped.sub), (1, 0));
    host.sysroot.cleanup(&[], &Silent).unwrap();
    let ostree = host.root().join("ostree");
    assert!(ostree.join("boot.1.0").is_dir() && !ostree.join("boot.1.1").exists());
    assert!(!host.tree(&a).exists() && host.tree(&b).exists());
    let refs = host.sysroot.repo().refs(Some("ostree")).unwrap();
    let names: Vec<_> = refs.keys().map(String::as_str).collect();
    assert_eq!(names, ["ostree/1/0/0"]);
    let all = host.sysroot.deployments().unwrap();
    assert_eq!(all[0].id, b);

    let other = host.version("2", &[]);
    let c = host.stage(other, Some(&b)).deployment;
    let switched = host
        .sysroot
        .publish_plain(&order(&[&c, &b]), &Silent)
        .unwrap();
    assert!(switched.entries);
    assert_eq!((switched.version, switched.sub), (0, 1));
    assert!(entry(&host, 2).contains("title Debian 2 (ostree:0)\n"));
    assert!(!entry(&host, 1).contains("x-backstop"));
}

#[test]
fn nothing_at_all_may_be_left() {
    let host = Host::new();
    let a = host.stage(host.version("1", &[]), None).deployment;
    host.sysroot.publish_plain(&order(&[&a]), &Silent).unwrap();
    host.sysroot.publish_plain(&order(&[]), &Silent).unwrap();
    host.sysroot.cleanup(&[], &Silent).unwrap();
    assert!(host.sysroot.deployments().unwrap().is_empty());
    assert!(host.sysroot.repo().refs(Some("ostree")).unwrap().is_empty());
}

#[test]
fn kernel_arguments_change_in_place() {
    let host = Host::new();
    let a = host.stage(host.version("1", &[]), None).deployment;
    host.sysroot.publish_plain(&order(&[&a]), &Silent).unwrap();
    let mut with = order(&[&a]);
    with.kargs
        .insert(a.clone(), "root=LABEL=x quiet".parse().unwrap());
    assert!(host.sysroot.publish_plain(&with, &Silent).unwrap().entries);
    assert!(entry(&host, 1).contains("options root=LABEL=x quiet ostree="));
    assert_eq!(
        host.sysroot.deployments().unwrap()[0].kargs.to_string(),
        "root=LABEL=x quiet"
    );
}

#[test]
fn a_host_of_backstop_is_left_to_it() {
    let host = Host::new();
    let a = host.stage(host.version("1", &[]), None).deployment;
    host.sysroot.publish_plain(&order(&[&a]), &Silent).unwrap();
    host.sysroot
        .set_boot_settings(&BootSettings::default())
        .unwrap();
    assert!(host.sysroot.is_managed());
    assert!(host.sysroot.publish_plain(&order(&[&a]), &Silent).is_err());
}

/// Without an initramfs the tree's own program is the first process; the argument goes
/// with the link that it names.
#[test]
fn a_kernel_alone_gets_an_init() {
    let host = Host::new();
    let commit = host.version("1", &[]);
    let tree = host.root().join("../trees/1");
    fs::remove_file(tree.join("usr/lib/modules/1.0/initramfs.img")).unwrap();
    write(&tree.join("usr/lib/modules/1.0/dtb/x/a.dtb"), "a tree");
    let commit_without = host.version_of_tree(&tree);
    assert_ne!(commit, commit_without);
    let a = host.stage(commit_without, None).deployment;
    host.sysroot.publish_plain(&order(&[&a]), &Silent).unwrap();
    let text = entry(&host, 1);
    assert!(text.contains("/0 init=/ostree/boot.1/debian/"), "{text}");
    assert!(
        text.contains("/usr/lib/ostree/ostree-prepare-root\n"),
        "{text}"
    );
    assert!(
        text.contains("\nfdtdir /ostree/debian-") && !text.contains("initrd"),
        "{text}"
    );
    let deployment = &host.sysroot.deployments().unwrap()[0];
    assert_eq!(deployment.kargs.to_string(), "root=LABEL=root ro");
    let fdtdir = text
        .lines()
        .find_map(|l| l.strip_prefix("fdtdir /"))
        .unwrap();
    let installed = host.root().join("boot").join(fdtdir).join("x/a.dtb");
    assert_eq!(fs::read_to_string(installed).unwrap(), "a tree");
}

/// What others wrote for SYSLINUX and U-Boot stays beside our entries.
#[test]
fn bootloaders_get_their_configuration() {
    let host = Host::new();
    let boot = host.root().join("boot");
    fs::create_dir_all(boot.join("loader.0")).unwrap();
    symlink("loader.0", boot.join("loader")).unwrap();
    fs::create_dir_all(boot.join("syslinux")).unwrap();
    symlink("../loader/syslinux.cfg", boot.join("syslinux/syslinux.cfg")).unwrap();
    write(
        &boot.join("loader.0/syslinux.cfg"),
        "PROMPT 1\nLABEL mine\n\tKERNEL /mine\n",
    );
    let a = host.stage(host.version("1", &[]), None).deployment;
    host.sysroot.publish_plain(&order(&[&a]), &Silent).unwrap();
    let text = fs::read_to_string(boot.join("syslinux/syslinux.cfg")).unwrap();
    assert!(text.starts_with("PROMPT 1\nDEFAULT Debian 1 (ostree:0)\nLABEL Debian 1 (ostree:0)\n"));
    assert!(text.contains("\tKERNEL /boot/ostree/debian-") && text.ends_with("\tKERNEL /mine\n"));
    fs::remove_file(boot.join("syslinux/syslinux.cfg")).unwrap();
    symlink("loader/uEnv.txt", boot.join("uEnv.txt")).unwrap();
    let b = host.stage(host.version("2", &[]), Some(&a)).deployment;
    host.sysroot
        .publish_plain(&order(&[&b, &a]), &Silent)
        .unwrap();
    let text = fs::read_to_string(boot.join("uEnv.txt")).unwrap();
    assert!(text.starts_with("kernel_image=/ostree/debian-"), "{text}");
    assert!(
        text.contains("\nbootargs2=root=LABEL=root ro ostree="),
        "{text}"
    );
}
