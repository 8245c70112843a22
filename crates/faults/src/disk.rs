//! A disk image, changed without mounting it: the root filesystem by `debugfs`, the EFI
//! system partition by `mtools`.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use provision::disk::Layout;
use sysroot::Loader;
use testbed::program;

use crate::error::Doing;
use crate::{Error, Result};

const SECTOR: u64 = 512;

/// An image made by `backstop install`, of a machine that is off.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    layout: Layout,
    /// For files on their way.
    work: PathBuf,
}

impl Disk {
    /// The disk in the file `image`; `work` is for throw-away files.
    ///
    /// # Errors
    /// It is too small to be one.
    pub fn open(image: &Path, loader: Loader, work: &Path) -> Result<Self> {
        let size = std::fs::metadata(image).doing("measure", image)?.len();
        let layout = Layout::for_size(size, loader);
        let none = || Error::Disk(format!("{} is too small", image.display()));
        Ok(Self {
            image: image.to_owned(),
            layout: layout.ok_or_else(none)?,
            work: work.to_owned(),
        })
    }

    /// Its file.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// A path for a file on its way.
    #[must_use]
    pub fn temporary(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The names in a directory of the root filesystem.
    ///
    /// # Errors
    /// What `debugfs` said.
    pub fn list(&self, dir: &str) -> Result<Vec<String>> {
        let lines = self.debugfs(&[format!("ls -p \"{dir}\"")])?;
        let name = |line: &str| line.split('/').nth(5).map(str::to_owned);
        let names = lines.lines().filter_map(name);
        Ok(names.filter(|n| n != "." && n != "..").collect())
    }

    /// A file of the root filesystem.
    ///
    /// # Errors
    /// What `debugfs` said, or that it is not there.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let to = self.temporary("read");
        // Left from before, it would be taken for this one.
        let _ = std::fs::remove_file(&to);
        self.debugfs(&[format!("dump \"{path}\" \"{}\"", to.display())])?;
        std::fs::read(&to).doing("read the copy of", Path::new(path))
    }

    /// Puts a file into the root filesystem, in place of what is there; links to the
    /// old one keep it.
    ///
    /// # Errors
    /// What `debugfs` said, or that the directory is not there.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        let from = self.temporary("write");
        std::fs::write(&from, content).doing("write", &from)?;
        let (dir, name) = path.rsplit_once('/').unwrap_or(("/", path));
        self.debugfs(&[
            format!("rm \"{path}\""),
            format!("cd \"{dir}\""),
            format!("write \"{}\" \"{name}\"", from.display()),
            format!("set_inode_field \"{name}\" mode 0{:o}", 0o100_000 | mode),
        ])?;
        match self.read(path)? == content {
            true => Ok(()),
            false => Err(Error::Disk(format!("{path} was not written"))),
        }
    }

    /// Makes a directory of the root filesystem, if there is none.
    ///
    /// # Errors
    /// What `debugfs` said.
    pub fn make_dir(&self, path: &str) -> Result<()> {
        self.debugfs(&[format!("mkdir \"{path}\"")]).map(drop)
    }

    /// Makes a symlink in the root filesystem.
    ///
    /// # Errors
    /// What `debugfs` said.
    pub fn symlink(&self, path: &str, target: &str) -> Result<()> {
        self.debugfs(&[format!("symlink \"{path}\" \"{target}\"")])
            .map(drop)
    }

    /// Removes a file or symlink from the root filesystem.
    ///
    /// # Errors
    /// What `debugfs` said, or that it was not there.
    pub fn remove(&self, path: &str) -> Result<()> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("/", path));
        if !self.list(dir)?.iter().any(|n| n == name) {
            return Err(Error::Disk(format!("there is no {path} to remove")));
        }
        self.debugfs(&[format!("rm \"{path}\"")]).map(drop)
    }

    /// Runs commands of `debugfs`, which goes on after one that fails.
    fn debugfs(&self, commands: &[String]) -> Result<String> {
        let device = format!("{}?offset={}", self.image.display(), self.layout.root.start);
        let script = self.temporary("script");
        std::fs::write(&script, commands.join("\n") + "\n").doing("write", &script)?;
        let mut debugfs = Command::new("debugfs");
        debugfs.args(["-w", "-f"]).arg(&script).arg(device);
        Ok(program::run(&mut debugfs)?)
    }

    /// A file of the EFI system partition.
    ///
    /// # Errors
    /// What `mtype` said.
    pub fn read_esp(&self, path: &str) -> Result<Vec<u8>> {
        let mut mtype = Command::new("mtype");
        mtype.arg("-i").arg(self.esp()).arg(format!("::{path}"));
        let output = program::output(&mut mtype)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(Error::Disk(format!("there is no {path} on the ESP"))),
        }
    }

    /// Puts a file into the EFI system partition.
    ///
    /// # Errors
    /// What `mcopy` said.
    pub fn write_esp(&self, path: &str, content: &[u8]) -> Result<()> {
        let mut mcopy = Command::new("mcopy");
        mcopy.args(["-o", "-D", "o", "-i"]).arg(self.esp());
        mcopy.args(["-".to_owned(), format!("::{path}")]);
        let start = |source| testbed::Error::Start {
            program: "mcopy".into(),
            source,
        };
        let mut child = mcopy.stdin(Stdio::piped()).spawn().map_err(start)?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(content).doing("write", Path::new(path))?;
        }
        let status = child.wait().map_err(start)?;
        match status.success() && self.read_esp(path)? == content {
            true => Ok(()),
            false => Err(Error::Disk(format!("{path} was not written to the ESP"))),
        }
    }

    /// Makes a directory of the EFI system partition.
    ///
    /// # Errors
    /// What `mmd` said.
    pub fn make_dir_esp(&self, path: &str) -> Result<()> {
        let mut mmd = Command::new("mmd");
        mmd.arg("-i").arg(self.esp()).arg(format!("::{path}"));
        program::run(&mut mmd)?;
        Ok(())
    }

    /// The UUID of the EFI system partition's filesystem.
    ///
    /// # Errors
    /// What `blkid` said.
    pub fn esp_uuid(&self) -> Result<String> {
        let mut blkid = Command::new("blkid");
        blkid.args(["-p", "-o", "value", "-s", "UUID", "-O"]);
        blkid.arg(self.layout.esp.start.to_string());
        Ok(program::run(blkid.arg(&self.image))?.trim().to_owned())
    }

    /// Removes a file from the EFI system partition.
    ///
    /// # Errors
    /// What `mdel` said.
    pub fn remove_esp(&self, path: &str) -> Result<()> {
        let mut mdel = Command::new("mdel");
        mdel.arg("-i").arg(self.esp()).arg(format!("::{path}"));
        program::run(&mut mdel)?;
        Ok(())
    }

    /// Fills what is free on the EFI system partition with a file.
    ///
    /// # Errors
    /// What `mcopy` said, or that something is free all the same.
    pub fn fill_esp(&self) -> Result<()> {
        let mut mdir = Command::new("mdir");
        let text = program::run(mdir.arg("-i").arg(self.esp()).arg("::/"))?;
        let free = text
            .lines()
            .find_map(|l| l.trim().strip_suffix("bytes free"));
        let digits: String = free.unwrap_or_default().replace(' ', "");
        let free: usize = digits
            .parse()
            .map_err(|_| Error::Disk(format!("mdir says nothing of free bytes: {text}")))?;
        self.write_esp("/fill", &vec![0; free])
    }

    /// The disk's sector that holds the whole of a short file of the EFI system
    /// partition.
    ///
    /// # Errors
    /// That it is not there once.
    pub fn sector_of_esp(&self, content: &[u8]) -> Result<u64> {
        let file = std::fs::File::open(&self.image).doing("open", &self.image)?;
        let esp = self.layout.esp;
        let mut bytes = vec![0; usize::try_from(esp.size).unwrap_or(0)];
        file.read_exact_at(&mut bytes, esp.start)
            .doing("read", &self.image)?;
        let mut sectors = (0..).zip(bytes.chunks(SECTOR as usize));
        let found = sectors.find(|(_, sector)| *sector == content);
        let none = || Error::Disk("the ESP has no such sector".into());
        found.map(|(n, _)| esp.start / SECTOR + n).ok_or_else(none)
    }

    fn esp(&self) -> String {
        format!("{}@@{}", self.image.display(), self.layout.esp.start)
    }
}
