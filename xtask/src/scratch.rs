//! Where a benchmark works.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// A place for one round of a benchmark, gone at its end: as root a new ext4 of its
/// own, so that nothing that was removed before slows it down; else a directory.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    mounted: bool,
}

impl Scratch {
    /// Makes room for work on a tree of `bytes`.
    pub fn new(bytes: u64) -> anyhow::Result<Self> {
        let dir = PathBuf::from(format!("/var/tmp/backstop-bench-{}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut scratch = Self {
            dir,
            mounted: false,
        };
        std::fs::create_dir(scratch.dir())?;
        if rustix::process::geteuid().is_root() {
            scratch.mount(bytes)?;
        }
        Ok(scratch)
    }

    /// What it is, for the report.
    pub fn kind(&self) -> &'static str {
        if self.mounted {
            "a new ext4 in a file on the disk"
        } else {
            "the filesystem of /var/tmp"
        }
    }

    /// The directory to work in.
    pub fn dir(&self) -> PathBuf {
        self.dir.join("work")
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "an image that nobody needs later"
    )]
    fn mount(&mut self, bytes: u64) -> anyhow::Result<()> {
        let image = self.dir.join("image");
        // Two programs with four repositories and a checkout by copies each, and the floor.
        let size = (bytes * 14).max(1 << 30) + (4 << 30);
        std::fs::File::create(&image)?.set_len(size)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        // Without the thread that goes on writing inode tables.
        let options = ["-o", "loop,noinit_itable"];
        run(Command::new("mount")
            .args(options)
            .arg(&image)
            .arg(self.dir()))?;
        self.mounted = true;
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run(Command::new("umount").arg(self.dir()));
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = Path::new(command.get_program()).display().to_string();
    let out = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    ensure!(
        out.status.success(),
        "{name}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}
