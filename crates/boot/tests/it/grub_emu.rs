//! `grub-emu`: GRUB's own script engine, environment blocks and filesystem drivers as
//! a program, on disk images. It loads no kernel: instead of `linux` and `initrd` the
//! scripts call functions, which say what they were given, and end it where a kernel would
//! take over.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use boot::grub::{StatePlace, StaticConfig, static_config};

use crate::grub::toolbox;

const UUID: &str = "b0b5cf62-8ad6-4ac5-a6a4-1f6d3fe0b7bb";
/// Size of the EFI system partition in KiB.
const ESP_KIB: &str = "128";
/// Who cannot write the images.
const NOBODY: &str = "65534";

pub const PROGRAMS: [&str; 6] = [
    "grub-emu",
    "mkfs.ext4",
    "mkfs.vfat",
    "mcopy",
    "mmd",
    "setpriv",
];

/// What stands before `grub.cfg`.
const PRELUDE: &str = r#"
set pager=0
function emu_linux {
  echo "EMU linux $1"
  if [ "$1" = "(hd0)REFUSED" ]; then false; else true; fi
}
function emu_initrd {
  echo "EMU initrd $1"
  if [ "$1" = "(hd0)REFUSED" ]; then false; else
    echo "EMU boots"
    halt
  fi
}
"#;

/// A script that calls the functions of the prelude. They have names of their own: since
/// GRUB 2.12 `grub-emu` has commands of the old names, and these go before functions.
pub fn emulated(script: &str) -> String {
    script
        .replace("if linux ", "if emu_linux ")
        .replace("if initrd ", "if emu_initrd ")
}

fn run(program: &str, args: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program).args(args).env("PATH", path).output();
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What one start came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The kernel at this path took over.
    Kernel(String),
    /// GRUB restarted the machine.
    Reboot,
}

/// A machine with this content of `/boot`; each start has a state sector of its own.
pub struct Emulated {
    dir: tempfile::TempDir,
    esp: Vec<u8>,
    /// Where the sector's file lies in the EFI system partition.
    offset: usize,
}

impl Emulated {
    /// `refused` is the path of a kernel or initrd that cannot be loaded.
    pub fn new(boot: &Path, refused: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
        let root = at.join("root");
        run(
            "mkfs.ext4",
            &["-q", "-F", "-U", UUID, "-d", text(boot), text(&root), "4M"],
        );
        let config = StaticConfig {
            boot_uuid: UUID.into(),
            boot_dir: String::new(),
            state: StatePlace::BesideGrubConfig("/state".into()),
            serial: None,
            before: None,
        };
        let script = PRELUDE.replace("REFUSED", refused) + &static_config(&config).unwrap();
        let esp = at.join("esp");
        let marker = [0xa5; 512];
        fs::write(at.join("grub.cfg"), script).unwrap();
        fs::write(at.join("state"), marker).unwrap();
        run("mkfs.vfat", &["-C", text(&esp), ESP_KIB]);
        run("mmd", &["-i", text(&esp), "::/grub"]);
        for (file, to) in [("grub.cfg", "::/grub/grub.cfg"), ("state", "::/state")] {
            run("mcopy", &["-i", text(&esp), text(&at.join(file)), to]);
        }
        let esp = fs::read(&esp).unwrap();
        let offset = esp.windows(512).position(|w| w == marker).unwrap();
        Self { dir, esp, offset }
    }

    /// Starts it with this sector and gives what it came to, and the sector then.
    /// Nothing else may be written.
    pub fn start(&self, name: &str, sector: &[u8; 512], writable: bool) -> (Ended, [u8; 512]) {
        let (esp, map) = self.images(name, sector, writable);
        // Root could write to anything.
        let root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let mut command = toolbox().command("grub-emu");
        if root && !writable {
            command = toolbox().command("setpriv");
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
            command.arg("grub-emu");
        }
        command.args(["-r", "hd1", "-d", "/grub", "-m", text(&map)]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let log = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{name}: {log}");
        let after = fs::read(&esp).unwrap();
        let mut expected = self.esp.clone();
        let sector = self.offset..self.offset + 512;
        expected[sector.clone()].copy_from_slice(&after[sector.clone()]);
        assert!(after == expected, "{name}: GRUB wrote besides the sector");
        fs::remove_file(&esp).unwrap();
        fs::remove_file(&map).unwrap();
        (ended(&log), after[sector].try_into().unwrap())
    }

    /// The EFI system partition with this sector, and the list of disks.
    fn images(&self, name: &str, sector: &[u8; 512], writable: bool) -> (PathBuf, PathBuf) {
        let at = |what: &str| self.dir.path().join(format!("{name}.{what}"));
        let (esp, map) = (at("esp"), at("map"));
        let file = fs::File::create(&esp).unwrap();
        file.write_all_at(&self.esp, 0).unwrap();
        file.write_all_at(sector, self.offset as u64).unwrap();
        let mode = if writable { 0o644 } else { 0o444 };
        file.set_permissions(fs::Permissions::from_mode(mode))
            .unwrap();
        let root = self.dir.path().join("root");
        let disks = format!("(hd0) {}\n(hd1) {}\n", root.display(), esp.display());
        fs::write(&map, disks).unwrap();
        (esp, map)
    }
}

/// What GRUB's output says.
fn ended(log: &str) -> Ended {
    let lines: Vec<&str> = log
        .lines()
        .filter_map(|l| l.split_once("EMU ").map(|(_, said)| said.trim()))
        .collect();
    if lines.last() != Some(&"boots") {
        assert!(
            log.contains("did not load"),
            "it ended without a word: {log}"
        );
        return Ended::Reboot;
    }
    let kernel = lines
        .iter()
        .rev()
        .find_map(|l| l.strip_prefix("linux (hd0)"));
    Ended::Kernel(kernel.unwrap().to_owned())
}
