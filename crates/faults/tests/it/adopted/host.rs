//! A disk as `ostree admin` and GRUB leave it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use faults::Disk;
use provision::disk::{DEFAULT_IMAGE_SIZE, Layout};
use sysroot::Loader;
use testbed::versions::Recipe;
use testbed::{Firmware, Fixture, Machine, Toolbox, fixture, program};

/// The root filesystem.
const UUID: &str = "b0b5cf62-8ad6-4ac5-a6a4-1f6d3fe0b7bb";
/// The version that `ostree` deployed.
pub const FIRST: u32 = 10;
/// Stands for `grub-mkconfig`, which can only configure a running system: the first boot
/// entry as GRUB's commands.
const GENERATOR: &str = r#"#!/bin/sh
set -eu
dir=$(dirname "$2")
first=$dir/entries/$(ls -r "$dir/entries" | head -n 1)
value() { sed -n "s/^$1 //p" "$first"; }
cat > "$2" <<END
serial --unit=0 --speed=115200
terminal_output serial
echo 'by the configuration of ostree'
linux /boot$(value linux) $(value options)
initrd /boot$(value initrd)
boot
END
"#;
/// What Debian puts beside GRUB on the EFI system partition.
const STUB: &str = "search --no-floppy --fs-uuid --set=root UUID
set prefix=($root)'/boot/grub'
configfile $prefix/grub.cfg
";
/// What publishes at shutdown, where Debian's `ostree-boot` is installed.
const UNITS: &str = "lib/systemd/system";
const STAGED: [&str; 3] = [
    "ostree-finalize-staged.path",
    "ostree-finalize-staged.service",
    "ostree-finalize-staged-hold.service",
];
/// GRUB's modules for UEFI, and Debian's signed programs.
const MODULES: &str = "/usr/lib/grub/x86_64-efi";
const SHIM: &str = "/usr/lib/shim/shimx64.efi.signed";
const SIGNED: &str = "/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed";
/// UEFI's variables with Microsoft's keys in them.
const KEYS: &str = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd";

/// How GRUB came onto the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grub {
    /// One that has all that it needs built in, for a BIOS.
    Bios,
    /// As `grub-install` makes it: its modules are in `/boot/grub`.
    Efi,
    /// Debian's signed one, started by `shim`.
    Signed,
    /// The same, and the firmware starts nothing that is not signed.
    SecureBoot,
}

impl Grub {
    fn firmware(self) -> Firmware {
        match self {
            Self::Bios => Firmware::Bios,
            Self::Efi | Self::Signed | Self::SecureBoot => Firmware::Efi,
        }
    }
}

/// Puts what a host of `ostree`'s has into the tree that further versions are made of:
/// `ostree` itself with its libraries, and what configures GRUB.
pub fn furnish(fixture: &Fixture) {
    let tree = fixture.tree(1);
    put(&tree.join("usr/sbin/grub-mkconfig"), GENERATOR, 0o755);
    let toolbox = fixture.toolbox();
    let ostree = PathBuf::from("/usr/bin/ostree");
    let linked = program::run(toolbox.command("ldd").arg(&ostree)).unwrap();
    let libraries = linked.lines().filter_map(|line| {
        let path = line.split_once("=> ")?.1.split(' ').next()?;
        Some(PathBuf::from(path))
    });
    for from in libraries.chain([ostree.clone()]) {
        let name = from.file_name().unwrap();
        let to = match from == ostree {
            true => tree.join("usr/bin").join(name),
            false => tree.join("usr/lib/x86_64-linux-gnu").join(name),
        };
        if !to.exists() {
            fs::copy(toolbox.path(from.to_str().unwrap()), &to).unwrap();
        }
    }
    publishes_at_shutdown(&tree.join("usr").join(UNITS));
    let host = fixture.add(FIRST, Recipe::Good, "host", &monitor::Silent);
    host.unwrap();
}

/// As Debian's `ostree-boot` does, where that is installed.
fn publishes_at_shutdown(units: &Path) {
    let from = Path::new("/").join(UNITS);
    let there = STAGED.iter().filter(|unit| from.join(unit).exists());
    for unit in there {
        fs::copy(from.join(unit), units.join(unit)).unwrap();
        if unit.ends_with(".path") {
            let wanted = units.join("multi-user.target.wants").join(unit);
            symlink(format!("../{unit}"), wanted).unwrap();
        }
    }
}

fn put(path: &Path, text: &str, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A machine of this host, switched on; its files are in `dir`, which is made. `releases`
/// is a disk with further versions, and `esp` says whether the EFI system partition is
/// mounted.
pub fn boot(
    fixture: &Fixture,
    dir: &Path,
    (grub, esp): (Grub, bool),
    releases: &Path,
) -> (Machine, Keyboard) {
    fs::create_dir(dir).unwrap();
    let image = image(fixture, dir, grub, esp);
    let mut options = fixture.machine(&image, grub.firmware()).unwrap();
    options.more_disks.push(releases.to_owned());
    options.efi_variables = (grub == Grub::SecureBoot).then(|| KEYS.into());
    let keyboard = Keyboard(dir.join("keyboard"));
    let socket = format!("unix:{},server=on,wait=off", keyboard.0.display());
    options.more_arguments = vec!["-monitor".into(), socket];
    (Machine::boot(options).unwrap(), keyboard)
}

/// Presses keys of a machine.
pub struct Keyboard(PathBuf);

impl Keyboard {
    /// One key, by QEMU's name; then a moment passes, as with a person.
    pub fn press(&self, key: &str) {
        let mut monitor = UnixStream::connect(&self.0).unwrap();
        monitor
            .write_all(format!("sendkey {key}\n").as_bytes())
            .unwrap();
        std::thread::sleep(Duration::from_millis(700));
    }
}

/// A disk of the host. GRUB goes by the configuration in `/boot/grub`.
fn image(fixture: &Fixture, dir: &Path, grub: Grub, esp: bool) -> PathBuf {
    let name = format!("{}.img", dir.file_name().unwrap().display());
    let image = fixture.image(fixture::BRANCH, &name, &monitor::Silent);
    let image = image.unwrap();
    let disk = Disk::open(&image, Loader::Grub, dir).unwrap();
    let root = sysroot(fixture, dir);
    if esp {
        let line = format!(
            "UUID={} /boot/efi vfat umask=0077 0 2\n",
            disk.esp_uuid().unwrap()
        );
        for name in deployments(&root) {
            put(&name.join("etc/fstab"), &line, 0o644);
        }
        fs::create_dir(root.join("boot/efi")).unwrap();
    }
    if grub != Grub::Bios {
        let to = root.join("boot/grub/x86_64-efi");
        let modules = fixture.toolbox().path(MODULES);
        program::run(Command::new("cp").arg("-r").args([modules, to])).unwrap();
    }
    let layout = Layout::for_size(DEFAULT_IMAGE_SIZE, Loader::Grub).unwrap();
    let mut mkfs = fixture.toolbox().command("mkfs.ext4");
    mkfs.args(["-q", "-F", "-U", UUID])
        .args(["-O", "^metadata_csum_seed,^orphan_file"])
        .arg("-E")
        .arg(format!("offset={},nodiscard", layout.root.start))
        .arg("-d")
        .args([&root, &image])
        .arg(format!("{}k", layout.root.size / 1024));
    program::run(&mut mkfs).unwrap();
    durable::remove_tree(&durable::RealFs, &root).unwrap();
    start_files(&disk, dir, grub, fixture.toolbox());
    image
}

/// What the firmware starts, on the EFI system partition.
fn start_files(disk: &Disk, dir: &Path, grub: Grub, toolbox: &Toolbox) {
    let stub = STUB.replace("UUID", UUID);
    let program = "/EFI/BOOT/BOOTX64.EFI";
    let copy = |from: &Path, to: &str| disk.write_esp(to, &fs::read(from).unwrap()).unwrap();
    if grub == Grub::Bios {
        return disk.write_esp("/grub/grub.cfg", stub.as_bytes()).unwrap();
    }
    // What `backstop install` put there is none of this host's.
    disk.remove_esp("/grub/grub.cfg").unwrap();
    disk.remove_esp("/backstop/state").unwrap();
    if grub == Grub::Efi {
        let (made, first) = (dir.join("grubx64.efi"), dir.join("load.cfg"));
        put(
            &first,
            &format!("search.fs_uuid {UUID} root\nset prefix=($root)'/boot/grub'\n"),
            0o644,
        );
        let mut make = toolbox.command("grub-mkimage");
        make.args(["-O", "x86_64-efi", "-p", "/boot/grub", "-c"])
            .arg(&first)
            .arg("-o")
            .arg(&made)
            .args(["part_gpt", "ext2", "search_fs_uuid"]);
        program::run(&mut make).unwrap();
        return copy(&made, program);
    }
    disk.make_dir_esp("/EFI/debian").unwrap();
    disk.write_esp("/EFI/debian/grub.cfg", stub.as_bytes())
        .unwrap();
    copy(&toolbox.path(SHIM), program);
    copy(&toolbox.path(SIGNED), "/EFI/BOOT/grubx64.efi");
}

/// The root of a host as `ostree admin` makes it.
fn sysroot(fixture: &Fixture, dir: &Path) -> PathBuf {
    let generator = dir.join("generator");
    put(&generator, GENERATOR, 0o755);
    let root = dir.join("by-ostree");
    fs::create_dir(&root).unwrap();
    let run = |args: &[&str]| ostree(fixture.toolbox(), args, &root, &generator);
    run(&["admin", "init-fs", "ROOT"]);
    run(&["admin", "os-init", "--sysroot=ROOT", fixture::STATEROOT]);
    let from = fixture.repo().path().to_str().unwrap();
    run(&["pull-local", "--repo=ROOT/ostree/repo", from, "host"]);
    let grub = root.join("boot/grub");
    fs::create_dir_all(&grub).unwrap();
    fs::write(grub.join("grub.cfg"), "").unwrap();
    let uuid = format!("--karg=root=UUID={UUID}");
    let kargs = [
        "rw",
        "console=ttyS0",
        "systemd.gpt_auto=0",
        "no_timer_check",
    ];
    let kargs = kargs.map(|karg| format!("--karg={karg}"));
    let mut deploy = vec!["admin", "deploy", "--sysroot=ROOT", "--os=debian", &uuid];
    deploy.extend(kargs.iter().map(String::as_str));
    deploy.push("host");
    run(&deploy);
    fs::remove_file(grub.join("grub.cfg")).unwrap();
    symlink("../loader/grub.cfg", grub.join("grub.cfg")).unwrap();
    root
}

fn ostree(toolbox: &Toolbox, args: &[&str], dir: &Path, generator: &Path) -> String {
    let dir = dir.to_str().unwrap();
    let args = args.iter().map(|a| a.replace("ROOT", dir));
    let mut ostree = toolbox.command("ostree");
    ostree.args(args).env("OSTREE_GRUB2_EXEC", generator);
    program::run(&mut ostree).unwrap()
}

fn deployments(root: &Path) -> Vec<PathBuf> {
    let dir = root.join("ostree/deploy/debian/deploy");
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}
