//! A machine with real GRUB: a disk with an EFI system partition and a root
//! filesystem; GRUB's BIOS core between partition table and first partition, or
//! its EFI program.

use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use boot::grub::{MODULES, StatePlace, StaticConfig, static_config};

use crate::grub::toolbox;

const UUID: &str = "b0b5cf62-8ad6-4ac5-a6a4-1f6d3fe0b7bb";
const SECTOR: u64 = 512;
const ESP_START: u64 = 2048;
const ESP_SECTORS: u64 = 4096;
const ROOT_START: u64 = ESP_START + ESP_SECTORS;
const ROOT_SECTORS: u64 = 16384;
/// Nothing takes longer, unless it hangs; several machines may share two cores.
const PATIENCE: Duration = Duration::from_secs(150);

/// What the machine needs to be built and run.
pub const PROGRAMS: [&str; 6] = [
    "grub-mkimage",
    "qemu-system-x86_64",
    "mkfs.ext4",
    "mkfs.vfat",
    "mcopy",
    "mmd",
];
pub const FILES: [&str; 2] = [
    "/usr/lib/grub/i386-pc/boot.img",
    "/usr/lib/grub/i386-pc/hashsum.mod",
];

/// What the machine needs to start by UEFI.
pub const EFI_FILES: [&str; 2] = [OVMF, "/usr/lib/grub/x86_64-efi/hashsum.mod"];
const OVMF: &str = "/usr/share/OVMF/OVMF_CODE_4M.fd";

/// GRUB, and who starts it.
pub enum Firmware {
    /// The first sectors of the disk.
    Bios(Vec<u8>),
    /// The program `BOOTX64.EFI`.
    Efi(Vec<u8>),
}

/// Runs a program that must do well.
pub fn run(program: &str, args: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(program)
        .args(args)
        .env("PATH", path)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {errors}");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// An image of GRUB with the modules that the scripts need.
fn grub_image(platform: &str, prefix: &str, more: &[&str], with_hashsum: bool) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    let optional = ["hashsum", "gcry_sha256"];
    let modules = MODULES
        .iter()
        .filter(|m| with_hashsum || !optional.contains(m));
    let mut args = vec!["-O", platform, "-p", prefix, "-o", text(&image)];
    args.extend(["part_msdos", "fat", "ext2"]);
    args.extend(more.iter().chain(modules));
    let made = toolbox().command("grub-mkimage").args(&args).output();
    let made = made.unwrap();
    let errors = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "grub-mkimage {args:?}: {errors}");
    fs::read(&image).unwrap()
}

/// GRUB's EFI program.
pub fn grub_efi() -> Firmware {
    Firmware::Efi(grub_image("x86_64-efi", "/grub", &[], true))
}

/// GRUB's two BIOS parts, as they lie on the disk from sector 0 on.
pub fn grub_core(with_hashsum: bool) -> Firmware {
    let prefix = "(hd0,msdos1)/grub";
    let mut core = grub_image("i386-pc", prefix, &["biosdisk"], with_hashsum);
    let mut boot = fs::read(toolbox().path(FILES[0])).unwrap();
    core.resize(core.len().next_multiple_of(512), 0);
    assert!(core.len() as u64 / SECTOR < ESP_START - 1);
    // Where the first part finds the second, and that one its own rest.
    boot[0x5c..0x64].copy_from_slice(&1u64.to_le_bytes());
    core[0x1f4..0x1fc].copy_from_slice(&2u64.to_le_bytes());
    let rest = u16::try_from(core.len() / 512 - 1).unwrap();
    core[0x1fc..0x1fe].copy_from_slice(&rest.to_le_bytes());
    boot.truncate(440);
    boot.extend(&partition_table()[440..]);
    boot.extend(core);
    Firmware::Bios(boot)
}

fn partition_table() -> [u8; 512] {
    let mut boot = [0; 512];
    for (at, kind, start, sectors) in [
        (446, 0xef, ESP_START, ESP_SECTORS),
        (462, 0x83, ROOT_START, ROOT_SECTORS),
    ] {
        boot[at + 4] = kind;
        let le = |n: u64| u32::try_from(n).unwrap().to_le_bytes();
        boot[at + 8..at + 12].copy_from_slice(&le(start));
        boot[at + 12..at + 16].copy_from_slice(&le(sectors));
    }
    boot[510..512].copy_from_slice(&[0x55, 0xaa]);
    boot
}

/// A disk that can be started from.
pub struct Machine {
    dir: tempfile::TempDir,
    /// Where the state is; beside `grub.cfg` unless a test says otherwise.
    pub state_in_boot: bool,
    pub readonly: bool,
    efi: bool,
}

impl Machine {
    /// A disk with this content of `/boot` and of the state sector's file.
    pub fn new(grub: &Firmware, boot: &Path, state: Option<&[u8]>, state_in_boot: bool) -> Self {
        let machine = Self {
            dir: tempfile::tempdir().unwrap(),
            state_in_boot,
            readonly: false,
            efi: matches!(grub, Firmware::Efi(_)),
        };
        machine.make_root(boot, state.filter(|_| state_in_boot));
        machine.make_esp(state.filter(|_| !state_in_boot));
        if let Firmware::Efi(program) = grub {
            machine.install_program(program);
        }
        let disk = fs::File::create(machine.disk()).unwrap();
        disk.set_len((ROOT_START + ROOT_SECTORS) * SECTOR).unwrap();
        for (image, start) in [("esp", ESP_START), ("root", ROOT_START)] {
            let image = fs::read(machine.dir.path().join(image)).unwrap();
            disk.write_all_at(&image, start * SECTOR).unwrap();
        }
        match grub {
            Firmware::Bios(core) => disk.write_all_at(core, 0).unwrap(),
            Firmware::Efi(_) => disk.write_all_at(&partition_table(), 0).unwrap(),
        }
        machine
    }

    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    fn make_root(&self, boot: &Path, state: Option<&[u8]>) {
        let dir = self.dir.path();
        let tree = dir.join("tree");
        fs::create_dir(&tree).unwrap();
        run("cp", &["-a", text(boot), text(&tree.join("boot"))]);
        if let Some(state) = state {
            fs::create_dir(tree.join("boot/backstop")).unwrap();
            fs::write(tree.join("boot/backstop/state"), state).unwrap();
        }
        let size = format!("{}k", ROOT_SECTORS / 2);
        let (tree, image) = (tree, dir.join("root"));
        let args = [
            "-q",
            "-F",
            "-U",
            UUID,
            "-d",
            text(&tree),
            text(&image),
            &size,
        ];
        run("mkfs.ext4", &args);
    }

    fn make_esp(&self, state: Option<&[u8]>) {
        let dir = self.dir.path();
        let esp = dir.join("esp");
        let size = (ESP_SECTORS / 2).to_string();
        run("mkfs.vfat", &["-C", text(&esp), &size]);
        let config = StaticConfig {
            boot_uuid: UUID.into(),
            boot_dir: "/boot".into(),
            state: if self.state_in_boot {
                StatePlace::Boot("/backstop/state".into())
            } else {
                StatePlace::BesideGrubConfig("/backstop/state".into())
            },
            serial: Some(115_200),
            before: None,
        };
        let path = dir.join("grub.cfg");
        fs::write(&path, static_config(&config).unwrap()).unwrap();
        run("mmd", &["-i", text(&esp), "::/grub", "::/backstop"]);
        run(
            "mcopy",
            &["-i", text(&esp), text(&path), "::/grub/grub.cfg"],
        );
        if let Some(state) = state {
            let path = dir.join("state");
            fs::write(&path, state).unwrap();
            run(
                "mcopy",
                &["-i", text(&esp), text(&path), "::/backstop/state"],
            );
        }
    }

    fn install_program(&self, program: &[u8]) {
        let (esp, path) = (self.dir.path().join("esp"), self.dir.path().join("efi"));
        fs::write(&path, program).unwrap();
        run("mmd", &["-i", text(&esp), "::/EFI", "::/EFI/BOOT"]);
        let to = "::/EFI/BOOT/BOOTX64.EFI";
        run("mcopy", &["-i", text(&esp), text(&path), to]);
    }

    /// The state sector's file as it is on the disk now.
    pub fn state(&self) -> Vec<u8> {
        let to = self.dir.path().join("state-after");
        if self.state_in_boot {
            let image = self.dir.path().join("root-after");
            let mut root = vec![0; usize::try_from(ROOT_SECTORS * SECTOR).unwrap()];
            let disk = fs::File::open(self.disk()).unwrap();
            disk.read_exact_at(&mut root, ROOT_START * SECTOR).unwrap();
            fs::write(&image, root).unwrap();
            let command = format!("dump /boot/backstop/state {}", text(&to));
            run("debugfs", &["-R", &command, text(&image)]);
        } else {
            let image = format!("{}@@{}", text(&self.disk()), ESP_START * SECTOR);
            run(
                "mcopy",
                &["-o", "-i", &image, "::/backstop/state", text(&to)],
            );
        }
        fs::read(&to).unwrap()
    }

    /// Runs the machine until its kernel ends it, and gives what it printed.
    /// `keys` are typed once the words before them have been printed.
    pub fn run(&self, keys: &[(&str, &str)]) -> String {
        let log = self.dir.path().join("serial");
        let mut qemu = self.start(&log);
        let began = Instant::now();
        let mut keys = keys.iter().peekable();
        let mut read = 0;
        loop {
            let printed = fs::read(&log).unwrap_or_default();
            let fresh = String::from_utf8_lossy(&printed[read..]).into_owned();
            if let Some((_, typed)) = keys.next_if(|(words, _)| fresh.contains(words)) {
                read = printed.len();
                let stdin = qemu.stdin.as_mut().unwrap();
                stdin.write_all(typed.as_bytes()).unwrap();
                stdin.flush().unwrap();
            }
            if qemu.try_wait().unwrap().is_some() {
                break;
            }
            if began.elapsed() > PATIENCE {
                let _ = qemu.kill();
                let _ = qemu.wait();
                let printed = fs::read(&log).unwrap_or_default();
                panic!("it hangs: {}", String::from_utf8_lossy(&printed));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned()
    }

    fn start(&self, log: &Path) -> Child {
        let readonly = if self.readonly { "on" } else { "off" };
        let drive = format!(
            "file={},format=raw,if=virtio,cache=unsafe,readonly={readonly}",
            text(&self.disk())
        );
        let chardev = format!("stdio,id=serial,signal=off,logfile={}", text(log));
        let firmware = format!("if=pflash,format=raw,readonly=on,file={OVMF}");
        let mut qemu = Command::new("qemu-system-x86_64");
        if self.efi {
            qemu.args(["-drive", &firmware]);
        }
        qemu.args(["-machine", "pc", "-accel", "tcg", "-m", "128"])
            .args(["-nodefaults", "-display", "none", "-drive", &drive])
            .args(["-chardev", &chardev, "-serial", "chardev:serial"])
            .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}
