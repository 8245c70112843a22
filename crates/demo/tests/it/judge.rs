//! What is said of a disk that power was taken from: by the boot loader's view of it,
//! by Linux once it replayed the journal, and by the checkers of both filesystems.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use boot::grub::published_config;
use boot::{BootConfig, StateSector, decide};
use durable::RealFs;
use provision::disk::{Layout, Partition};
use sha2::{Digest, Sha256};
use sysroot::Sysroot;

/// How long a mount may be busy after its use.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a disk is not good, or nothing.
pub type Verdict = Result<(), String>;

/// An image, and where it may be mounted.
pub struct Judge<'i> {
    pub image: &'i Path,
    pub scratch: &'i Path,
    pub layout: Layout,
}

/// A mounted filesystem.
struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        // The kernel may hold it for a moment longer than those who used it.
        let until = Instant::now() + PATIENCE;
        while Command::new("umount")
            .arg(&self.0)
            .status()
            .is_ok_and(|s| !s.success())
        {
            if Instant::now() > until {
                println!("{} is still busy", self.0.display());
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<(i32, String), String> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|e| format!("{program}: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = text + &String::from_utf8_lossy(&output.stderr);
    Ok((output.status.code().unwrap_or(-1), text))
}

fn sha256(files: &[PathBuf]) -> Result<String, String> {
    let mut digest = Sha256::new();
    for file in files {
        let bytes = std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?;
        digest.update(bytes);
    }
    let digest = digest.finalize();
    Ok(digest.iter().map(|b| format!("{b:02x}")).collect())
}

impl Judge<'_> {
    /// All of it.
    pub fn judge(&self, repository: bool) -> Verdict {
        let sector = self.esp()?;
        let seen = {
            let mount = self.mount("ro,noload")?;
            let config = loader_sees(&mount.0).map_err(|e| format!("to GRUB: {e}"))?;
            let decision = decide(&config, sector.as_ref(), true);
            let chosen = decision.chosen(&config).ok_or("no choice")?;
            chosen.options.to_string()
        };
        {
            let mount = self.mount("rw")?;
            linux_sees(&mount.0, &seen, repository).map_err(|e| format!("to Linux: {e}"))?;
        }
        self.root_is_clean()
    }

    fn mount(&self, how: &str) -> Result<Mount, String> {
        let Partition { start, size, .. } = self.layout.root;
        let at = self.scratch.join("mnt");
        std::fs::create_dir_all(&at).map_err(|e| e.to_string())?;
        let options = format!("{how},loop,offset={start},sizelimit={size}");
        let image = self.image.display().to_string();
        let to = at.display().to_string();
        let (code, said) = run("mount", &["-t", "ext4", "-o", &options, &image, &to])?;
        if code != 0 {
            return Err(format!("cannot be mounted {how}: {said}"));
        }
        Ok(Mount(at))
    }

    /// The EFI system partition: sound, save for the mark that it is in use. Gives
    /// the state sector.
    fn esp(&self) -> Result<Option<StateSector>, String> {
        let Partition { start, size, .. } = self.layout.esp;
        let copy = self.scratch.join("esp");
        let part = [
            format!("if={}", self.image.display()),
            format!("of={}", copy.display()),
            "bs=1M".to_owned(),
            format!("skip={}", start >> 20),
            format!("count={}", size >> 20),
            "conv=sparse".to_owned(),
            "status=none".to_owned(),
        ];
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        run("dd", &part)?;
        let copy = copy.display().to_string();
        let (code, said) = run("fsck.vfat", &["-n", &copy])?;
        if code > 1 || (code == 1 && !said.contains("Dirty bit is set")) {
            return Err(format!("the EFI system partition is damaged: {said}"));
        }
        let to = self.scratch.join("sector");
        let _ = std::fs::remove_file(&to);
        let to_text = to.display().to_string();
        run("mcopy", &["-n", "-i", &copy, "::/backstop/state", &to_text])?;
        let bytes = std::fs::read(&to).unwrap_or_default();
        Ok(StateSector::parse(&bytes).ok())
    }

    /// After the journal was replayed and the filesystem put away.
    fn root_is_clean(&self) -> Verdict {
        let image = format!("{}?offset={}", self.image.display(), self.layout.root.start);
        let (code, said) = run("e2fsck", &["-f", "-n", &image])?;
        match code {
            0 => Ok(()),
            _ => Err(format!("e2fsck: {said}")),
        }
    }
}

/// Reads the boot configuration; it must be whole, and so must all that it loads.
fn configuration(root: &Path) -> Result<(Sysroot, BootConfig), String> {
    let sysroot = Sysroot::open(Arc::new(RealFs), root).map_err(|e| e.to_string())?;
    let config = sysroot.boot_config().map_err(|e| format!("{e:?}"))?;
    let script = std::fs::read_to_string(root.join("boot/loader/backstop.cfg"));
    let script = script.map_err(|e| e.to_string())?;
    if script != published_config(&config) {
        return Err("the script is not the one that was published".to_owned());
    }
    let trial = config.trial().map(|t| &t.entry);
    for entry in config.entries().iter().chain(trial) {
        let files = std::iter::once(&entry.linux).chain(&entry.initrds);
        let files: Vec<PathBuf> = files
            .map(|f| root.join("boot").join(f.trim_start_matches('/')))
            .collect();
        // The directory is named after what is in it.
        let sum = sha256(&files)?;
        if !entry.linux.contains(&sum) {
            return Err(format!("{} or its initramfs is not whole", entry.linux));
        }
    }
    Ok((sysroot, config))
}

fn loader_sees(root: &Path) -> Result<BootConfig, String> {
    configuration(root).map(|(_, config)| config)
}

/// What the boot loader chose must be a whole deployment, and so must the default.
fn linux_sees(root: &Path, cmdline: &str, repository: bool) -> Verdict {
    let (sysroot, config) = configuration(root)?;
    let default = config.entries()[0].options.to_string();
    for cmdline in [cmdline, &default] {
        let found = sysroot.booted_by(cmdline).map_err(|e| e.to_string())?;
        let id = found.ok_or_else(|| format!("no deployment for {cmdline}"))?;
        let dir = sysroot.layout().deployment(&id);
        for file in ["usr/bin/backstop", "usr/lib/os-release", "etc/passwd"] {
            let found = std::fs::metadata(dir.join(file)).is_ok_and(|m| m.len() > 0);
            if !found {
                return Err(format!("{id} lacks {file}"));
            }
        }
    }
    if repository {
        let options = ostree::FsckOptions::default();
        let report = sysroot.repo().fsck(&options, &monitor::Silent);
        let report = report.map_err(|e| e.to_string())?;
        if !report.is_clean() {
            return Err("the repository is damaged".to_owned());
        }
    }
    Ok(())
}
