//! Taking over hosts, and refusing to.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use boot::grub::is_static_config;
use durable::{Fs, RealFs};
use monitor::Silent;
use provision::adopt::{self, AdoptOptions};
use sysroot::{BootOrder, StageKargs, StageRequest, Sysroot, TrialEntry};

const UUID: &str = "b0b5cf62-8ad6-4ac5-a6a4-1f6d3fe0b7bb";

fn real() -> Arc<dyn Fs> {
    Arc::new(RealFs)
}

/// Whether `ostree admin` can make hosts here.
fn able() -> bool {
    testing::as_root() && testing::have(&["ostree"], &[])
}

/// A host that `ostree admin` made, in a directory that goes away with it.
struct Host {
    root: PathBuf,
    dir: tempfile::TempDir,
}

impl Host {
    /// With one version deployed, and GRUB's configuration by hand.
    fn new() -> Self {
        let host = Self::empty();
        host.ostree(&["admin", "os-init", "--sysroot=ROOT", "debian"]);
        host.version("1");
        host.deploy(&["--karg=root=LABEL=x", "--karg=quiet"]);
        host
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let host = Self { root, dir };
        host.ostree(&["admin", "init-fs", "ROOT"]);
        host.ostree(&[
            "config",
            "--repo=ROOT/ostree/repo",
            "set",
            "sysroot.bootloader",
            "none",
        ]);
        host.write("boot/grub/grub.cfg", "# by hand\nblscfg\n");
        host
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }

    /// What `ostree ARGS` prints, `ROOT` being the sysroot.
    fn ostree(&self, args: &[&str]) -> String {
        let root = self.root.to_str().unwrap();
        let args: Vec<_> = args.iter().map(|a| a.replace("ROOT", root)).collect();
        let output = Command::new("ostree").args(&args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ostree {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Commits a version; gives its name.
    fn version(&self, name: &str) -> String {
        let tree = self.dir.path().join(name);
        let write = |path: &str, text: &str| {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text} {name}\n")).unwrap();
        };
        write("usr/lib/modules/1.0/vmlinuz", "kernel of");
        write("usr/lib/modules/1.0/initramfs.img", "initramfs of");
        write("usr/lib/os-release", "ID=debian\nVERSION_ID=1\n#");
        write("usr/etc/hostname", "#");
        let tree = format!("--tree=dir={}", tree.display());
        let made = self.ostree(&[
            "commit",
            "--repo=ROOT/ostree/repo",
            "-b",
            "debian/main",
            &tree,
        ]);
        made.trim().to_owned()
    }

    fn deploy(&self, more: &[&str]) {
        let args = [
            "admin",
            "deploy",
            "--sysroot=ROOT",
            "--os=debian",
            "debian/main",
        ];
        self.ostree(&[&args[..], more].concat());
    }

    /// The deployments as `ostree admin status` lists them.
    fn status(&self) -> Vec<String> {
        let text = self.ostree(&["admin", "status", "--sysroot=ROOT"]);
        let line = |l: &str| {
            Some(
                l.trim()
                    .strip_prefix("debian ")?
                    .split('.')
                    .next()?
                    .to_owned(),
            )
        };
        text.lines().filter_map(line).collect()
    }

    fn options(&self) -> AdoptOptions {
        AdoptOptions {
            sysroot: self.root.clone(),
            boot_uuid: Some(UUID.into()),
            ..AdoptOptions::default()
        }
    }

    fn sysroot(&self) -> Sysroot {
        Sysroot::open(real(), &self.root).unwrap()
    }

    /// What GRUB boots by backstop's script: the commit, and the kernel arguments
    /// without those that lead to it.
    fn boots(&self) -> (String, String) {
        let start = self.sysroot().simulate_boot().unwrap();
        let kargs = start.cmdline.split(" ostree=").next().unwrap().to_owned();
        (start.deployment.checksum.to_string(), kargs)
    }

    fn refused(&self, options: &AdoptOptions) -> String {
        let e = adopt::plan(&real(), options).unwrap_err();
        e.to_string()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Deployments are immutable.
        let _ = durable::remove_tree(&RealFs, &self.root);
    }
}

#[test]
fn a_grub_that_compares_no_digests_is_known_for_it() {
    if !able() {
        return;
    }
    let host = Host::new();
    let limits = || {
        let plan = adopt::plan(&real(), &host.options()).unwrap();
        plan.apply(&Silent).unwrap();
        let said = plan.to_string().contains("cannot compare digests");
        let settings = host.sysroot().boot_settings().unwrap();
        assert_eq!(said, !settings.limits().is_empty(), "{plan}");
        settings.limits()
    };
    assert_eq!(limits().len(), 1, "nothing is known of its modules");
    for module in boot::grub::MODULES {
        host.write(&format!("boot/grub/i386-pc/{module}.mod"), "");
    }
    assert_eq!(limits(), [""; 0]);
    fs::remove_file(host.root.join("boot/grub/i386-pc/hashsum.mod")).unwrap();
    assert_eq!(limits().len(), 1);
}

#[test]
fn a_host_of_ostree_is_taken_over_upgraded_and_handed_back() {
    if !able() {
        return;
    }
    let host = Host::new();
    let first = host.status();
    let plan = adopt::plan(&real(), &host.options()).unwrap();
    let text = plan.to_string();
    assert!(
        text.contains("keep /boot/grub/grub.cfg as /boot/grub/grub.cfg.before"),
        "{text}"
    );
    assert!(text.contains("    with: root=LABEL=x quiet\n"), "{text}");
    assert!(text.contains("note: the default debian/"), "{text}");
    assert_eq!(
        host.read("boot/grub/grub.cfg"),
        "# by hand\nblscfg\n",
        "a plan does nothing"
    );

    plan.apply(&Silent).unwrap();
    assert!(is_static_config(&host.read("boot/grub/grub.cfg")));
    assert_eq!(
        host.read("boot/grub/grub.cfg.before-backstop"),
        "# by hand\nblscfg\n"
    );
    assert_eq!(
        host.boots(),
        (first[0].clone(), "root=LABEL=x quiet".to_owned())
    );
    assert_eq!(host.status(), first);
    let again = adopt::plan(&real(), &host.options()).unwrap();
    assert!(again.steps.is_empty(), "{again}");

    let second = upgraded(&host, &first[0]);
    let third = deployed_by_ostree(&host, &second);

    adopt::undo(&real(), &host.options(), &Silent).unwrap();
    assert_eq!(host.read("boot/grub/grub.cfg"), "# by hand\nblscfg\n");
    for left in [
        "boot/grub/grub.cfg.before-backstop",
        "boot/backstop",
        "ostree/backstop/boot.toml",
    ] {
        assert!(!host.root.join(left).exists(), "{left}");
    }
    assert_eq!(host.status()[0], third);
    assert!(!host.sysroot().is_managed());
    host.version("4");
    host.deploy(&[]);
    let text = host.ostree(&["admin", "status", "--sysroot=ROOT"]);
    assert_ne!(host.status()[0], third, "{text}");
    host.ostree(&["fsck", "--repo=ROOT/ostree/repo"]);
    let e = adopt::undo(&real(), &host.options(), &Silent).unwrap_err();
    assert!(e.to_string().contains("has not taken it over"), "{e}");
}

/// Upgrades by a boot trial that goes well; gives the new version.
fn upgraded(host: &Host, before: &str) -> String {
    let version = host.version("2");
    let sysroot = host.sysroot();
    let old = sysroot.published().unwrap().order.good[0].clone();
    let request = StageRequest {
        stateroot: "debian".into(),
        commit: version.parse().unwrap(),
        merge_from: Some(old.clone()),
        origin: sysroot.deployment(&old).unwrap().origin,
        kargs: StageKargs::CarryOver,
    };
    let new = sysroot.stage(&request, &Silent).unwrap().deployment;
    let trial = BootOrder {
        good: vec![old.clone()],
        bad: Vec::new(),
        trial: Some(TrialEntry {
            deployment: new.clone(),
            attempts: 1,
            kargs: boot::KernelArgs::new(),
        }),
    };
    sysroot.publish(&trial, &Silent).unwrap();
    let e = adopt::undo(&real(), &host.options(), &Silent).unwrap_err();
    assert!(e.to_string().contains("on trial"), "{e}");
    assert_eq!(host.boots().0, version, "its one attempt");
    assert_eq!(host.boots().0, before, "then the default");
    let kept = BootOrder {
        good: vec![new, old],
        ..BootOrder::default()
    };
    sysroot.publish(&kept, &Silent).unwrap();
    assert_eq!(host.status(), [version.clone(), before.to_owned()]);
    version
}

/// `ostree admin deploy` goes on working; gives the version it deployed.
fn deployed_by_ostree(host: &Host, before: &str) -> String {
    let version = host.version("3");
    host.deploy(&[]);
    assert_eq!(host.status()[..2], [version.clone(), before.to_owned()]);
    let left = host.sysroot().published().unwrap();
    assert_eq!(
        left.config, None,
        "GRUB goes by the configuration from before here"
    );
    let plan = adopt::plan(&real(), &host.options()).unwrap();
    assert_eq!(plan.steps, [sysroot::AdoptionStep::Publish]);
    // What backstop-republish.service does.
    let machine = Box::new(machine::Offline::new(real()));
    let image = image::ImageHost::over(real(), &host.root, machine).unwrap();
    assert!(image.republish(&Silent).unwrap());
    assert_eq!(
        host.boots(),
        (version.clone(), "root=LABEL=x quiet".to_owned())
    );
    version
}

#[test]
fn a_host_that_is_not_taken_over_is_left_to_ostree() {
    if !able() {
        return;
    }
    let host = Host::new();
    let sysroot = host.sysroot();
    let order = sysroot.published().unwrap().order;
    let e = sysroot.publish(&order, &Silent).unwrap_err();
    assert!(e.to_string().contains("by `backstop adopt`"), "{e}");
    let machine = Box::new(machine::Offline::new(real()));
    let image = image::ImageHost::over(real(), &host.root, machine).unwrap();
    assert!(!image.republish(&Silent).unwrap());
    assert!(!host.root.join("boot/loader/backstop.cfg").exists());
}

#[test]
fn hosts_that_cannot_be_taken_over() {
    if !able() {
        return;
    }
    let empty = Host::empty();
    let e = empty.refused(&empty.options());
    assert!(e.contains("no boot entry"), "{e}");

    let host = Host::new();
    type Change = fn(&Host);
    let cases: [(&str, Change, &str); 9] = [
        (
            "boot/grub2/grub.cfg",
            |h| h.write("boot/grub2/grub.cfg", "x"),
            "with --grub-config",
        ),
        (
            "boot/syslinux",
            |h| h.write("boot/syslinux/syslinux.cfg", "x"),
            "SYSLINUX boots it",
        ),
        (
            "boot/uEnv.txt",
            |h| h.write("boot/uEnv.txt", "x"),
            "U-Boot boots it",
        ),
        (
            "boot/efi",
            |h| h.write("boot/efi/EFI/fedora/grub.cfg", "menuentry x { linux /x }"),
            "does not lead to /boot/grub/grub.cfg",
        ),
        (
            "boot/grub/i386-pc",
            |h| h.write("boot/grub/i386-pc/linux.mod", "x"),
            "lacks normal, boot",
        ),
        (
            "boot/efi",
            |h| {
                h.write("boot/efi/EFI/systemd/systemd-bootx64.efi", "x");
                fs::rename(h.root.join("boot/grub"), h.root.join("grub")).unwrap();
            },
            "systemd-boot boots it",
        ),
        (
            "none",
            |h| fs::rename(h.root.join("boot/grub"), h.root.join("grub")).unwrap(),
            "GRUB does not boot it",
        ),
        (
            "ostree/backstop",
            |h| {
                h.write(
                    "ostree/backstop/boot.toml",
                    "state_sector = \"s\"\nloader = \"none\"\n",
                )
            },
            "by the boot loader none",
        ),
        (
            "ostree/backstop",
            |h| {
                let text =
                    "state_sector = \"boot/efi/backstop/state\"\nloader = \"systemd-boot\"\n";
                h.write("ostree/backstop/boot.toml", text);
            },
            "by the boot loader systemd-boot",
        ),
    ];
    for (mends, change, why) in cases {
        change(&host);
        let e = host.refused(&host.options());
        assert!(e.contains(why), "{mends}: {e}");
        let path = host.root.join(mends);
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        let _ = fs::rename(host.root.join("grub"), host.root.join("boot/grub"));
        fs::remove_dir_all(host.root.join("boot/grub2")).unwrap_or_default();
        adopt::plan(&real(), &host.options()).unwrap();
    }
    let mut options = host.options();
    options.boot_uuid = None;
    let e = host.refused(&options);
    assert!(e.contains("--boot-uuid"), "{e}");
    options = host.options();
    options.grub_config = Some("boot/none.cfg".into());
    assert!(host.refused(&options).contains("no boot/none.cfg"));
    let none = tempfile::tempdir().unwrap();
    options.sysroot = none.path().to_owned();
    assert!(host.refused(&options).contains("no host with deployments"));
}

/// `update-grub` is run on a host that was taken over.
#[test]
fn nothing_is_tried_where_grub_goes_by_something_else() {
    if !able() {
        return;
    }
    let host = Host::new();
    let take_over = || {
        let plan = adopt::plan(&real(), &host.options()).unwrap();
        plan.apply(&Silent).unwrap();
    };
    take_over();
    let sysroot = host.sysroot();
    assert_eq!(sysroot.replaced_config().unwrap(), None);
    let config = "boot/grub/grub.cfg";
    host.write(config, "menuentry x { linux /x }\n");
    assert_eq!(sysroot.replaced_config().unwrap(), Some(config.into()));
    let good = sysroot.published().unwrap().order.good;
    let trial = BootOrder {
        trial: Some(TrialEntry {
            deployment: good[0].clone(),
            attempts: 1,
            kargs: boot::KernelArgs::new(),
        }),
        good: good.clone(),
        ..BootOrder::default()
    };
    let e = format!("{:?}", sysroot.publish(&trial, &Silent).unwrap_err());
    assert!(e.contains("`backstop adopt` puts it back"), "{e}");
    // Going back must not wait for that.
    let order = BootOrder {
        trial: None,
        ..trial
    };
    sysroot.publish(&order, &Silent).unwrap();

    take_over();
    assert_eq!(sysroot.replaced_config().unwrap(), None);
    let kept = host.read("boot/grub/grub.cfg.before-backstop");
    assert_eq!(kept, "# by hand\nblscfg\n", "what the host had before");
}

/// A configuration from before that names deployments by itself would boot old ones.
#[test]
fn only_to_what_finds_the_deployments_a_host_is_handed_back() {
    if !able() {
        return;
    }
    let config = "boot/grub/grub.cfg";
    type Make = fn(&Host, &Path);
    let kinds: [(Make, Option<&str>); 3] = [
        (
            |h, _| h.write("boot/grub/grub.cfg", "menuentry x { linux /x }\n"),
            Some("names deployments"),
        ),
        (
            |_, config| {
                fs::remove_file(config).unwrap();
                symlink("../loader/grub.cfg", config).unwrap();
            },
            Some("bootloader=grub2"),
        ),
        (
            |h, _| h.write("boot/grub/grub.cfg", "insmod blscfg\nblscfg\n"),
            None,
        ),
    ];
    for (make, refusal) in kinds {
        let host = Host::new();
        make(&host, &host.root.join(config));
        adopt::plan(&real(), &host.options())
            .unwrap()
            .apply(&Silent)
            .unwrap();
        let before = host.boots();
        let undone = adopt::undo(&real(), &host.options(), &Silent);
        match refusal {
            Some(why) => {
                let e = undone.unwrap_err();
                let text = format!("{e:?}");
                assert!(text.contains(why), "{text}");
                assert_eq!(host.boots(), before, "it boots as it did");
                assert!(host.sysroot().is_adopted().unwrap());
            }
            None => undone.unwrap(),
        }
    }
}
