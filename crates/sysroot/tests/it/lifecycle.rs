//! A host from its first deployment through upgrades.

use std::fs;
use std::path::Path;

use monitor::Silent;
use sysroot::{BootOrder, BootSettings, Error, EtcConflict, Loader, Standing};

use crate::host::{Host, order, write};

#[test]
fn a_first_deployment_boots() {
    let host = Host::new();
    let commit = host.version(
        "1",
        &[("usr/lib/backstop/kargs.d/10.toml", "kargs = [\"quiet\"]")],
    );
    let staged = host.stage(commit, None);
    assert_eq!(
        host.sysroot.deployments().unwrap()[0].standing,
        Standing::Unlisted
    );
    assert!(host.sysroot.simulate_boot().is_err());
    host.publish(&[&staged.deployment], None);
    let all = host.sysroot.deployments().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].standing, Standing::Good(0));
    assert_eq!(all[0].kargs.to_string(), "quiet root=LABEL=root ro");
    assert_eq!(all[0].origin.refspec(), Some("debian/main"));
    let boot = host.sysroot.simulate_boot().unwrap();
    assert_eq!(boot.deployment, staged.deployment);
    assert_eq!(
        host.sysroot.booted_by(&boot.cmdline).unwrap(),
        Some(boot.deployment)
    );
    let tree = host.tree(&staged.deployment);
    assert_eq!(
        host.sysroot.booted_at(&tree).unwrap(),
        Some(staged.deployment)
    );
    assert_eq!(
        fs::read_to_string(tree.join("etc/hostname")).unwrap(),
        "localhost\n"
    );
}

#[test]
fn a_trial_is_attempted_and_then_given_up() {
    let host = Host::new();
    let good = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&good], None);
    let new = host.stage(host.version("2", &[]), Some(&good)).deployment;
    let id = host.publish(&[&good], Some(&new));
    for left in [1, 0] {
        let boot = host.sysroot.simulate_boot().unwrap();
        assert_eq!(boot.deployment, new);
        assert_eq!(boot.attempts_left, Some(left));
        assert!(boot.cmdline.contains(&format!("backstop.trial={id}")));
        assert!(boot.cmdline.starts_with("panic=3 "), "{}", boot.cmdline);
    }
    for _ in 0..3 {
        let boot = host.sysroot.simulate_boot().unwrap();
        assert_eq!((boot.deployment, boot.attempts_left), (good.clone(), None));
        assert!(!boot.cmdline.contains("backstop"));
    }
    // A person may want to see it again.
    host.sysroot.set_attempts(1).unwrap();
    assert_eq!(host.boot(), new);
    assert_eq!(host.boot(), good);
}

#[test]
fn a_confirmed_trial_becomes_the_default() {
    let host = Host::new();
    let good = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&good], None);
    let new = host.stage(host.version("2", &[]), Some(&good)).deployment;
    host.publish(&[&good], Some(&new));
    assert_eq!(host.boot(), new);
    host.publish(&[&new, &good], None);
    assert_eq!(host.sysroot.state_sector().unwrap().left, 0);
    assert_eq!(host.boot(), new);
    assert!(matches!(host.sysroot.set_attempts(1), Err(Error::Order(_))));
    let bad = BootOrder {
        good: vec![good.clone()],
        bad: vec![new.clone()],
        trial: None,
    };
    host.sysroot.publish(&bad, &Silent).unwrap();
    assert_eq!(host.boot(), good);
    let published = host.sysroot.published().unwrap();
    assert_eq!(published.order, bad);
    assert_eq!(published.standing(&new), Standing::Bad);
}

#[test]
fn a_damaged_sector_means_the_default() {
    let host = Host::new();
    let good = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&good], None);
    let new = host.stage(host.version("2", &[]), Some(&good)).deployment;
    host.publish(&[&good], Some(&new));
    let path = host.sysroot.state_sector_path().unwrap();
    let sector = fs::read(&path).unwrap();
    for damage in [&sector[..511], &[0; 512], b"", &sector[1..]] {
        fs::write(&path, damage).unwrap();
        assert_eq!(host.boot(), good);
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(host.boot(), good);
    assert!(matches!(
        host.sysroot.state_sector(),
        Err(Error::Sector { .. })
    ));
    // The next trial makes it anew.
    host.publish(&[&good], Some(&new));
    assert_eq!(host.boot(), new);
    // Another configuration's attempts are not this one's.
    fs::write(&path, &sector).unwrap();
    assert_eq!(host.boot(), good);
}

#[test]
fn attempts_are_not_counted_where_grub_does_not_look() {
    let host = Host::new();
    let good = host.stage(host.version("1", &[]), None).deployment;
    let settings = BootSettings {
        state_sector: "boot/efi/backstop/state".into(),
        loader: Loader::Grub,
        without_digests: false,
    };
    host.sysroot.set_boot_settings(&settings).unwrap();
    host.publish(&[&good], None);
    let new = host.stage(host.version("2", &[]), Some(&good)).deployment;
    host.publish(&[&good], Some(&new));
    assert_eq!(host.boot(), new);
    host.publish(&[&good], None);
    // As when the EFI system partition is not mounted.
    let esp = host.root().join("boot/efi");
    fs::rename(esp.join("backstop"), host.root().join("elsewhere")).unwrap();
    let refused = host.sysroot.publish(&order(&[&good], Some(&new)), &Silent);
    assert!(matches!(refused, Err(Error::Sector { source: None, .. })));
    assert!(!esp.join("backstop").exists());
    assert_eq!(host.boot(), good);
    host.publish(&[&new, &good], None);
    assert_eq!(host.boot(), new);
    for outside in ["../state", "/state"] {
        let text = format!("state_sector = \"{outside}\"\nloader = \"grub\"\n");
        write(&host.sysroot.layout().boot_settings(), &text);
        assert!(matches!(
            host.sysroot.boot_settings(),
            Err(Error::Invalid { .. })
        ));
    }
}

#[test]
fn local_changes_in_etc_go_along() {
    let host = Host::new();
    let files = [("usr/etc/a", "1"), ("usr/etc/b", "1"), ("usr/etc/d/x", "1")];
    let good = host.stage(host.version("1", &files), None).deployment;
    host.publish(&[&good], None);
    let etc = host.tree(&good).join("etc");
    fs::write(etc.join("a"), "mine").unwrap();
    fs::write(etc.join("b"), "mine").unwrap();
    fs::write(etc.join("added"), "mine").unwrap();
    fs::remove_file(etc.join("d/x")).unwrap();
    let files = [
        ("usr/etc/a", "1"),
        ("usr/etc/b", "2"),
        ("usr/etc/d/x", "1"),
        ("usr/etc/new", "2"),
    ];
    let commit = host.version("2", &files);
    let staged = host.stage(commit, Some(&good));
    let names = |list: &[std::path::PathBuf]| {
        let names = list.iter().map(|p| p.to_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&staged.etc.carried), ["a", "added", "d/x"]);
    assert_eq!(
        staged.etc.conflicts,
        [("b".into(), EtcConflict::BothChanged)]
    );
    let tree = host.tree(&staged.deployment);
    let preview = host.sysroot.preview_etc(&good, &tree).unwrap();
    assert_eq!(preview, staged.etc);
    let read = |name: &str| fs::read_to_string(tree.join("etc").join(name)).ok();
    let expected = [
        ("a", Some("mine")),
        ("b", Some("mine")),
        ("added", Some("mine")),
        ("d/x", None),
        ("new", Some("2")),
    ];
    for (name, content) in expected {
        assert_eq!(read(name).as_deref(), content, "{name}");
    }
    // The running system's are as they were, and the objects too.
    assert_eq!(fs::read_to_string(etc.join("a")).unwrap(), "mine");
    fs::write(tree.join("etc/new"), "changed").unwrap();
    assert_eq!(fs::read_to_string(tree.join("usr/etc/new")).unwrap(), "2");
}

#[test]
fn kernels_are_shared_and_repaired() {
    let host = Host::new();
    let commit = host.version("1", &[]);
    let first = host.stage(commit, None).deployment;
    let second = host.stage(commit, Some(&first)).deployment;
    assert_eq!((first.serial, second.serial), (0, 1));
    host.publish(&[&first, &second], None);
    let kernels = host.root().join("boot/ostree");
    let dirs: Vec<_> = fs::read_dir(&kernels)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    assert_eq!(dirs.len(), 1);
    let vmlinuz = dirs[0].join("vmlinuz-1.0");
    assert_eq!(fs::read_to_string(&vmlinuz).unwrap(), "kernel of 1");
    fs::write(&vmlinuz, "kernel of X").unwrap();
    host.publish(&[&first], Some(&second));
    assert_eq!(fs::read_to_string(&vmlinuz).unwrap(), "kernel of 1");
    fs::remove_file(&vmlinuz).unwrap();
    host.publish(&[&first, &second], None);
    assert_eq!(fs::read_to_string(&vmlinuz).unwrap(), "kernel of 1");
}

/// Not every boot loader compares what it loads: a damaged kernel may come up.
#[test]
fn keeping_a_version_mends_its_kernel_and_going_back_does_not_read_it() {
    for kept in [true, false] {
        let host = Host::new();
        let good = host.stage(host.version("1", &[]), None).deployment;
        host.publish(&[&good], None);
        let new = host.stage(host.version("2", &[]), Some(&good)).deployment;
        host.publish(&[&good], Some(&new));
        let tree = host.tree(&new).join("usr/lib/modules/1.0/vmlinuz");
        let config = host.sysroot.boot_config().unwrap();
        let linux = &config.trial().unwrap().entry.linux;
        let installed = host.root().join(format!("boot{linux}"));
        for path in [&installed, &tree] {
            assert_eq!(fs::read_to_string(path).unwrap(), "kernel of 2");
        }
        fs::remove_file(&installed).unwrap();
        write(&installed, "kernel of X");
        if kept {
            host.publish(&[&new, &good], None);
            assert_eq!(fs::read_to_string(&installed).unwrap(), "kernel of 2");
        } else {
            // Neither may the version's own disk be in the way.
            fs::remove_file(&tree).unwrap();
            host.publish(&[&good], None);
        }
        assert_eq!(host.boot(), if kept { new } else { good });
    }
}

#[test]
fn cleaning_up_leaves_what_can_boot() {
    let host = Host::new();
    let mut ids = Vec::new();
    for n in 0..5 {
        let name = n.to_string();
        ids.push(host.stage(host.version(&name, &[]), ids.last()).deployment);
        host.publish(&ids.iter().rev().collect::<Vec<_>>(), None);
    }
    host.publish(&[&ids[1]], Some(&ids[2]));
    host.sysroot.set_pinned(&ids[3], true).unwrap();
    for id in [&ids[1], &ids[2], &ids[3]] {
        assert!(matches!(
            host.sysroot.undeploy(id),
            Err(Error::InUse { .. })
        ));
    }
    let report = host.sysroot.cleanup(&[ids[4].clone()], &Silent).unwrap();
    assert_eq!(report.deployments, [ids[0].clone()]);
    assert_eq!(report.kernels.len(), 3);
    let left = host.sysroot.deployments().unwrap();
    assert_eq!(left.len(), 4);
    assert_eq!(host.boot(), ids[2]);
    host.sysroot.set_pinned(&ids[3], false).unwrap();
    host.sysroot.undeploy(&ids[3]).unwrap();
    let report = host.sysroot.cleanup(&[], &Silent).unwrap();
    assert_eq!(report.deployments, [ids[4].clone()]);
    assert!(!host.tree(&ids[4]).exists());
    // Only the two are still held by refs, and by the branch.
    let refs = host.sysroot.repo().refs(None).unwrap();
    let gone = host.sysroot.repo().load_commit(&ids[3].checksum);
    assert!(gone.is_err() && report.object_bytes > 0);
    let kept: Vec<_> = refs.keys().filter(|r| *r != "debian/main").collect();
    assert_eq!(kept.len(), 4, "{kept:?}");
    assert_eq!(host.boot(), ids[2]);
}

#[test]
fn what_cannot_be_deployed_leaves_nothing_behind() {
    let host = Host::new();
    let good = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&good], None);
    let with_etc = host.version("etc", &[("etc/x", "1")]);
    let two_kernels = host.version("two", &[("usr/lib/modules/2.0/vmlinuz", "x")]);
    let before = host.sysroot.deployments().unwrap();
    for commit in [with_etc, two_kernels] {
        let request = host.request(commit, Some(&good));
        let result = host.sysroot.stage(&request, &Silent);
        assert!(
            matches!(result, Err(Error::NotDeployable { .. })),
            "{result:?}"
        );
    }
    let mut request = host.request(with_etc, Some(&good));
    request.stateroot = "other".into();
    assert!(matches!(
        host.sysroot.stage(&request, &Silent),
        Err(Error::NoStateroot(_))
    ));
    assert_eq!(host.sysroot.deployments().unwrap(), before);
    assert!(!host.root().join("ostree/backstop/staging").exists());
    let mut gone = good.clone();
    gone.serial = 7;
    for bad in [
        order(&[], Some(&good)),
        order(&[&gone], None),
        order(&[&good, &good], None),
    ] {
        assert!(host.sysroot.publish(&bad, &Silent).is_err());
    }
    assert_eq!(host.boot(), good);
}

#[test]
fn entries_changed_by_hand_are_noticed() {
    let host = Host::new();
    let good = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&good], None);
    host.sysroot.boot_config().unwrap();
    let entry = host.root().join("boot/loader/entries/ostree-1-debian.conf");
    let text = fs::read_to_string(&entry).unwrap();
    write(&entry, &text.replace("root=LABEL=root", "root=/dev/sda1"));
    assert!(matches!(host.sysroot.boot_config(), Err(Error::Order(_))));
    // What a person wrote there holds for the next publication.
    let before = fs::read_link(host.root().join("boot/loader")).unwrap();
    host.publish(&[&good], None);
    let boot = host.sysroot.simulate_boot().unwrap();
    assert!(boot.cmdline.contains("root=/dev/sda1"));
    // The same again changes nothing, unless something of it is damaged.
    let loader = || fs::read_link(host.root().join("boot/loader")).unwrap();
    assert_ne!(loader(), before);
    let after = loader();
    host.publish(&[&good], None);
    assert_eq!(loader(), after);
    fs::remove_file(host.root().join("boot/loader/backstop.cfg")).unwrap();
    host.publish(&[&good], None);
    assert_ne!(loader(), after);
}

#[test]
fn deleted_deployments_do_not_stand_in_the_way() {
    let host = Host::new();
    let mut ids = Vec::new();
    for n in ["1", "2", "3"] {
        ids.push(host.stage(host.version(n, &[]), ids.last()).deployment);
        host.publish(&ids.iter().rev().collect::<Vec<_>>(), None);
    }
    // By hand: one good deployment, and the commit of another.
    durable::remove_tree(&durable::RealFs, &host.tree(&ids[0])).unwrap();
    let left = host.sysroot.deployments().unwrap();
    assert_eq!(left.len(), 2);
    let commit = ids[1].checksum.to_string();
    let object = host.root().join("ostree/repo/objects").join(&commit[..2]);
    fs::remove_file(object.join(format!("{}.commit", &commit[2..]))).unwrap();
    let told = monitor::Recorded::default();
    let wanted = order(&[&ids[1], &ids[0]], None);
    host.sysroot.publish(&wanted, &told).unwrap();
    assert_eq!(host.boot(), ids[1]);
    assert_eq!(
        host.sysroot.published().unwrap().order.good,
        [ids[1].clone()]
    );
    let notes = told.notes.lock().unwrap().join("\n");
    assert!(
        notes.contains("left out") && notes.contains("pruned"),
        "{notes}"
    );
    // The default itself cannot be left out.
    let wanted = order(&[&ids[0], &ids[1]], None);
    let refused = host.sysroot.publish(&wanted, &Silent);
    assert!(matches!(refused, Err(Error::NoDeployment(_))));
    assert_eq!(host.boot(), ids[1]);
}

#[test]
fn a_trial_whose_link_is_gone_can_be_put_back() {
    let host = Host::new();
    let good = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&good], None);
    let new = host.stage(host.version("2", &[]), Some(&good)).deployment;
    host.publish(&[&good], Some(&new));
    let links = host.root().join("ostree").join(
        fs::read_link(host.root().join("boot/loader"))
            .unwrap()
            .to_str()
            .unwrap()
            .replace("loader", "boot"),
    );
    let of_trial = |link: &Path| {
        let target = fs::read_link(link);
        target.is_ok_and(|to| to.to_string_lossy().contains(&new.checksum.to_string()))
    };
    let mut all = Vec::new();
    for dir in fs::read_dir(links.join("debian")).unwrap() {
        let names = fs::read_dir(dir.unwrap().path()).unwrap();
        all.extend(names.map(|link| link.unwrap().path()));
    }
    let link = all.iter().find(|link| of_trial(link)).unwrap();
    fs::remove_file(link).unwrap();
    assert_eq!(host.sysroot.deployments().unwrap().len(), 2);
    host.publish(&[&good], None);
    assert_eq!(host.boot(), good);
    assert!(host.sysroot.published().unwrap().order.trial.is_none());
}
