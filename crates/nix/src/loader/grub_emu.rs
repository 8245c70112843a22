//! Tests with `grub-emu`: GRUB's own menu, script engine and environment block, as a
//! program on a disk image. It loads no kernel: `linux` says what it was given, and
//! `initrd` ends it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::grubenv::Grubenv;
use super::menu::tests::{config, layout, version};
use super::menu::{Menu, NEXT, SAVED};
use crate::store::StorePath;

const PROGRAMS: [&str; 3] = ["grub-emu", "mkfs.ext4", "debugfs"];
const PRELUDE: &str = "set pager=0
function linux {
  echo \"EMU $2\"
}
function initrd {
  halt
}
";

/// A disk with GRUB's configuration and environment block.
struct Disk {
    dir: tempfile::TempDir,
}

fn run(program: &str, arguments: &[&str]) -> String {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", path);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    said
}

impl Disk {
    fn new(config: &str, variables: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Self { dir };
        let grub = disk.path("tree/boot/grub");
        std::fs::create_dir_all(&grub).unwrap();
        let mut env = Grubenv::default();
        for (name, value) in variables {
            env.set(name, Some(value));
        }
        let publish = |name: &str, bytes: &[u8]| {
            let to = grub.join(name);
            durable::publish_file(&durable::RealFs, &to, bytes, 0o600).unwrap();
        };
        publish("grubenv", &env.to_bytes().unwrap());
        publish("grub.cfg", (PRELUDE.to_owned() + config).as_bytes());
        let (tree, image) = (disk.text("tree"), disk.text("image"));
        run("mkfs.ext4", &["-q", "-F", "-d", &tree, &image, "4M"]);
        let map = format!("(hd0) {image}\n");
        let to = disk.path("map");
        durable::publish_file(&durable::RealFs, &to, map.as_bytes(), 0o600).unwrap();
        disk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Starts it; gives the version that it boots.
    fn start(&self) -> StorePath {
        let map = self.text("map");
        // At its menu it would wait for a person.
        let emu = [
            "60",
            "grub-emu",
            "-r",
            "hd0",
            "-d",
            "/boot/grub",
            "-m",
            &map,
        ];
        let said = run("timeout", &emu);
        let init = said.split("EMU init=").nth(1);
        let init = init.and_then(|rest| rest.split_whitespace().next());
        let init = Path::new(init.unwrap_or_else(|| panic!("it boots nothing: {said}")));
        let toplevel = init.parent().unwrap();
        StorePath::parse(&layout(), &toplevel.to_string_lossy()).unwrap()
    }

    fn env(&self) -> Grubenv {
        let block = self.text("block");
        let dump = format!("dump /boot/grub/grubenv {block}");
        run("debugfs", &["-R", &dump, &self.text("image")]);
        Grubenv::parse(&std::fs::read(block).unwrap()).unwrap()
    }
}

#[test]
fn grub_boots_each_version_once_by_its_name() {
    if !testing::have(&PROGRAMS, &[]) {
        return;
    }
    let config = config("0");
    let menu = Menu::parse(&layout(), &config);
    for n in 0..4 {
        let name = &menu.entry_of(&version(n)).unwrap().name;
        let disk = Disk::new(&config, &[("other", "x"), (NEXT, name)]);
        assert_eq!(disk.start(), version(n), "{name}");
        let env = disk.env();
        assert_eq!((env.get(NEXT), env.get("other")), (None, Some("x")));
        assert_eq!(disk.start(), version(2), "the default");
    }
}

#[test]
fn grub_boots_what_was_saved_by_its_name() {
    if !testing::have(&PROGRAMS, &[]) {
        return;
    }
    let config = config("\"${saved_entry}\"");
    let menu = Menu::parse(&layout(), &config);
    let mut names: Vec<_> = (0..4).map(version).collect();
    let mut names: Vec<_> = names
        .drain(..)
        .map(|v| menu.entry_of(&v).unwrap().name.clone())
        .collect();
    names.extend(["gone", "2>gone", "2>2", "2"].map(str::to_owned));
    for name in names {
        let disk = Disk::new(&config, &[(SAVED, &name)]);
        let expected = menu.default(Some(&name)).and_then(|e| e.version.clone());
        // The first of the submenu is no version: GRUB stops there.
        if let Some(expected) = expected {
            assert_eq!(disk.start(), expected, "{name}");
        }
    }
}
