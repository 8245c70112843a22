//! A host whose GRUB `ostree` configures, taken over and handed back by the program.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::host::{BACKSTOP, DemoHost};

const UUID: &str = "b0b5cf62-8ad6-4ac5-a6a4-1f6d3fe0b7bb";
/// Stands for `grub-mkconfig`, which can only configure a running system: prints the
/// first boot entry of the set that it is asked for.
const GENERATOR: &str = r#"#!/bin/sh
set -eu
dir=$(dirname "$2")
first=$(ls -r "$dir/entries" | head -n 1)
{ echo '# generated'; cat "$dir/entries/$first"; } > "$2"
"#;

struct Host {
    root: PathBuf,
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir(&root).unwrap();
        let host = Self { root, dir };
        let generator = host.generator();
        fs::write(&generator, GENERATOR).unwrap();
        fs::set_permissions(&generator, fs::Permissions::from_mode(0o755)).unwrap();
        host.ostree(&["admin", "init-fs", "ROOT"]);
        host.ostree(&["admin", "os-init", "--sysroot=ROOT", "debian"]);
        // `ostree` looks for this file to know that GRUB boots the host.
        fs::create_dir_all(host.root.join("boot/grub")).unwrap();
        fs::write(host.grub_config(), "").unwrap();
        host.deploy("1");
        fs::remove_file(host.grub_config()).unwrap();
        symlink("../loader/grub.cfg", host.grub_config()).unwrap();
        host
    }

    fn generator(&self) -> PathBuf {
        self.dir.path().join("generator")
    }

    fn grub_config(&self) -> PathBuf {
        self.root.join("boot/grub/grub.cfg")
    }

    /// What GRUB reads.
    fn config(&self) -> String {
        fs::read_to_string(self.grub_config()).unwrap()
    }

    fn ostree(&self, args: &[&str]) -> String {
        let root = self.root.to_str().unwrap();
        let args: Vec<_> = args.iter().map(|a| a.replace("ROOT", root)).collect();
        let mut ostree = Command::new("ostree");
        let output = ostree
            .args(&args)
            .env("OSTREE_GRUB2_EXEC", self.generator())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ostree {args:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Commits a version and deploys it as `ostree` does; gives its name.
    fn deploy(&self, name: &str) -> String {
        let tree = self.dir.path().join(name);
        let files = [
            ("usr/lib/modules/1.0/vmlinuz", name),
            ("usr/lib/modules/1.0/initramfs.img", name),
            ("usr/lib/os-release", "ID=debian"),
            ("usr/etc/hostname", "x"),
        ];
        for (path, text) in files {
            let path = tree.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let tree = format!("--tree=dir={}", tree.display());
        let made = self.ostree(&["commit", "--repo=ROOT/ostree/repo", "-b", "main", &tree]);
        let deploy = ["admin", "deploy", "--sysroot=ROOT", "--os=debian", "main"];
        self.ostree(&[&deploy[..], &["--karg=root=LABEL=x"]].concat());
        made.trim().to_owned()
    }

    /// What a command of backstop prints, and its exit code.
    fn backstop(&self, args: &[&str]) -> (String, i32) {
        let mut backstop = Command::new(BACKSTOP);
        backstop.arg("--sysroot").arg(&self.root).args(args);
        let output = backstop
            .env("OSTREE_GRUB2_EXEC", self.generator())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        (text, output.status.code().unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Deployments are immutable.
        let _ = durable::remove_tree(&durable::RealFs, &self.root);
    }
}

/// Whether hosts of `ostree` can be made here.
fn able() -> bool {
    testing::as_root() && testing::have(&["ostree"], &[])
}

#[test]
fn a_grub_host_of_ostree_and_back() {
    if !able() {
        return;
    }
    let host = Host::new();
    let before = host.config();
    assert!(
        before.contains("root=LABEL=x ostree=/ostree/boot."),
        "{before}"
    );
    let (refused, code) = host.backstop(&["adopt", "--dry-run"]);
    assert!(code != 0 && refused.contains("--boot-uuid"), "{refused}");
    let (plan, code) = host.backstop(&["adopt", "--boot-uuid", UUID, "--dry-run"]);
    assert_eq!(code, 0, "{plan}");
    assert!(plan.contains("publish the boot entries again"), "{plan}");
    assert_eq!(host.config(), before);

    let (said, code) = host.backstop(&["adopt", "--boot-uuid", UUID]);
    assert!(code == 0 && said.ends_with("Taken over.\n"), "{said}");
    let script = host.config();
    assert!(script.contains(&format!("--set=root {UUID}\n")), "{script}");
    let kept = "configfile \"${backstop_boot}/grub/grub.cfg.before-backstop\"";
    assert!(script.contains(kept), "{script}");
    let (status, code) = host.backstop(&["status"]);
    assert_eq!(code, 0, "{status}");
    let (again, code) = host.backstop(&["adopt", "--boot-uuid", UUID, "--json"]);
    assert!(code == 0 && again.contains("\"steps\":[]"), "{again}");

    // What `ostree` deploys boots by its own configuration until it is published.
    let second = host.deploy("2");
    let kept = host.root.join("boot/grub/grub.cfg.before-backstop");
    let theirs = fs::read_to_string(&kept).unwrap();
    assert!(theirs.contains("ostree=/ostree/boot."), "{theirs}");
    assert_eq!(host.config(), script);
    let (said, code) = host.backstop(&["republish"]);
    assert_eq!(code, 0, "{said}");
    assert!(host.root.join("boot/loader/backstop.cfg").exists());
    let status = host.ostree(&["admin", "status", "--sysroot=ROOT"]);
    assert!(status.contains(&second), "{status}");

    let (said, code) = host.backstop(&["adopt", "--undo"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        fs::read_link(host.grub_config()).unwrap(),
        PathBuf::from("../loader/grub.cfg")
    );
    assert!(host.config().starts_with("# generated\n"));
    assert!(!kept.exists());
    let third = host.deploy("3");
    assert!(host.config().contains("root=LABEL=x"));
    let status = host.ostree(&["admin", "status", "--sysroot=ROOT"]);
    assert!(status.contains(&third), "{status}");
    let (said, code) = host.backstop(&["adopt", "--undo"]);
    assert!(
        code != 0 && said.contains("has not taken it over"),
        "{said}"
    );
}

/// `update-grub` wrote over the configuration: a live trial is refused like a boot trial,
/// before anything of the new version is here; what it keeps would not boot.
#[test]
fn where_grub_goes_by_something_else_no_kind_of_trial_begins() {
    let host = DemoHost::new();
    let before = host.status()["running"].clone();
    let version = host.release(2);
    let write = |path: &str, text: &str| {
        let path = host.dir().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let settings = "ostree/backstop/boot.toml";
    let before_grub = fs::read_to_string(host.dir().join(settings)).ok();
    write(
        settings,
        "state_sector = \"boot/backstop/state\"\nloader = \"grub\"\n",
    );
    write("boot/grub/grub.cfg.before-backstop", "# by hand\n");
    write("boot/grub/grub.cfg", "menuentry x { linux /x }\n");

    for kind in ["--live", "--boot"] {
        let said = host.run(&["upgrade", kind, "--wait"], 3);
        for part in ["boot/grub/grub.cfg", "`backstop adopt` puts it back"] {
            assert!(said.contains(part), "{kind}: {said}");
        }
    }
    let status = host.status();
    assert_eq!(status["running"], before);
    assert!(!status["deployments"].to_string().contains(&version));
    assert!(host.run(&["status"], 0).contains("Something wrote over"));

    // No fault of the version: once the configuration is back, it is tried.
    match before_grub {
        Some(text) => write(settings, &text),
        None => fs::remove_file(host.dir().join(settings)).unwrap(),
    }
    fs::remove_file(host.dir().join("boot/grub/grub.cfg.before-backstop")).unwrap();
    host.run(&["upgrade", "--live", "--wait"], 0);
    let last = host.history().pop().unwrap();
    assert_eq!(last["outcome"]["end"], "kept", "{last}");
}
