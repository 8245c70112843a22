//! What is published, brought to the EFI system partition for systemd-boot.
//!
//! `/boot/loader` stays what counts for everybody else; the EFI system partition holds a
//! copy of it. FAT has no symlinks and no rename that happens at once, so kernels and
//! entries are written under names that nothing refers to, and `loader.conf`, one sector,
//! is overwritten in place to name the new default. Until then the old entries are
//! complete, and so are their links, which no publication touches before
//! [`Esp::settle`] has made `loader.conf` follow `/boot/loader`.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use boot::systemd_boot::{self, EntryFile};
use boot::{BootConfig, ConfigId};
use durable::{Batch, Doing, Fs};

use crate::kernel;
use crate::layout::Layout;
use crate::{Error, Result};

/// Where the kernel shows the firmware's variables, relative to the sysroot.
const VARIABLES: &str = "sys/firmware/efi/efivars";
/// No variable of ours is longer.
const LONGEST_VARIABLE: u64 = 4096;

/// The EFI system partition of a host that systemd-boot boots.
#[derive(Debug)]
pub(crate) struct Esp<'a> {
    fs: &'a dyn Fs,
    layout: &'a Layout,
    /// Where it is mounted.
    root: PathBuf,
    /// Where the state sector is on it.
    state: PathBuf,
}

impl<'a> Esp<'a> {
    /// The one that holds this state sector, `ESP/backstop/state`.
    pub fn of(fs: &'a dyn Fs, layout: &'a Layout, state_sector: &Path) -> Result<Self> {
        let root = state_sector.parent().and_then(Path::parent);
        let root = root.ok_or_else(|| Error::Invalid {
            path: state_sector.to_owned(),
            why: "it is not in a directory of the EFI system partition".to_owned(),
        })?;
        Ok(Self {
            fs,
            layout,
            root: root.to_owned(),
            state: state_sector.to_owned(),
        })
    }

    /// Whether it is mounted: in an empty mount point there is no place for the sector.
    pub fn is_mounted(&self) -> bool {
        let dir = self.state.parent().unwrap_or(&self.root);
        self.fs.metadata(dir).is_ok()
    }

    /// Refuses to write into a mount point, where no boot loader will ever look.
    fn check_mounted(&self) -> Result<()> {
        match self.is_mounted() {
            true => Ok(()),
            false => Err(Error::Invalid {
                path: self.root.clone(),
                why: "the EFI system partition, which systemd-boot goes by, is not mounted there"
                    .to_owned(),
            }),
        }
    }

    /// Writes what a configuration needs. Nothing refers to it yet; what is not needed,
    /// here or by `current`, goes first, to make room.
    pub fn write(&self, config: &BootConfig, current: Option<&BootConfig>) -> Result<()> {
        self.check_mounted()?;
        self.remove_others(config, current)?;
        self.add(config)
    }

    /// The same, removing nothing.
    fn add(&self, config: &BootConfig) -> Result<()> {
        for path in files(config) {
            self.install(path)?;
        }
        let entries = self.root.join(systemd_boot::ENTRIES_DIR);
        durable::create_dir_all(self.fs, &entries, 0o755)?;
        for file in systemd_boot::entry_files(config) {
            self.write_entry(&entries, &file)?;
        }
        let sync = self.fs.sync_filesystem(&self.root);
        Ok(sync.doing("sync the filesystem of", &self.root)?)
    }

    /// An entry's name says what is in it, so one that is there is left unless it is
    /// damaged.
    fn write_entry(&self, dir: &Path, file: &EntryFile) -> Result<()> {
        let path = dir.join(&file.name);
        let there = durable::read_to_string(self.fs, &path);
        if there.is_ok_and(|text| text == file.content) {
            return Ok(());
        }
        Ok(durable::publish_file(
            self.fs,
            &path,
            file.content.as_bytes(),
            0o644,
        )?)
    }

    /// Copies a file of `/boot`, unless it is there already.
    fn install(&self, path: &str) -> Result<()> {
        let from = self.layout.boot().join(path.trim_start_matches('/'));
        let to = self.root.join(systemd_boot::kernel_path(path));
        let wanted = kernel::digest(self.fs, &from, None)?;
        let there = || kernel::digest(self.fs, &to, None).is_ok_and(|d| d == wanted);
        if self.fs.metadata(&to).is_ok() && there() {
            return Ok(());
        }
        let dir = to.parent().unwrap_or(&self.root);
        durable::create_dir_all(self.fs, dir, 0o755)?;
        let tmp = dir.join(".backstop-tmp.new");
        durable::remove_tree(self.fs, &tmp)?;
        let copied = kernel::copy(self.fs, &from, &tmp).and_then(|()| {
            let mut batch = Batch::new();
            batch.add(tmp.clone(), to.clone());
            batch.publish(self.fs, dir)
        });
        if copied.is_err() {
            // The first error is the one that matters.
            let _ = durable::remove_tree(self.fs, &tmp);
        }
        copied?;
        Ok(())
    }

    /// Removes entries first, and then the kernels that none of the others needs.
    fn remove_others(&self, config: &BootConfig, current: Option<&BootConfig>) -> Result<()> {
        let both = || std::iter::once(config).chain(current);
        let names: BTreeSet<String> = both()
            .flat_map(systemd_boot::entry_files)
            .map(|file| file.name)
            .collect();
        let dir = self.root.join(systemd_boot::ENTRIES_DIR);
        for name in names_in(self.fs, &dir)? {
            if systemd_boot::is_entry(&name) && !names.contains(&name) {
                durable::remove_tree(self.fs, &dir.join(name))?;
            }
        }
        let kernels: BTreeSet<PathBuf> = both()
            .flat_map(files)
            .filter_map(|path| {
                let path = self.root.join(systemd_boot::kernel_path(path));
                path.parent().map(Path::to_owned)
            })
            .collect();
        let dir = self.root.join(systemd_boot::KERNELS_DIR);
        for name in names_in(self.fs, &dir)? {
            let path = dir.join(name);
            if !kernels.contains(&path) {
                durable::remove_tree(self.fs, &path)?;
            }
        }
        Ok(())
    }

    /// Makes the configuration's first entry the default: one sector.
    pub fn set_default(&self, config: ConfigId) -> Result<()> {
        let path = self.root.join(systemd_boot::CONFIG_PATH);
        let bytes = systemd_boot::loader_config(config);
        let size = self.fs.metadata(&path).map(|m| m.size);
        if size.is_ok_and(|size| size == bytes.len() as u64) {
            return Ok(durable::overwrite_in_place(self.fs, &path, &bytes)?);
        }
        if let Some(dir) = path.parent() {
            durable::create_dir_all(self.fs, dir, 0o755)?;
        }
        Ok(durable::publish_file(self.fs, &path, &bytes, 0o644)?)
    }

    /// Whether the configuration's first entry is the default already.
    pub fn is_default(&self, config: ConfigId) -> bool {
        let path = self.root.join(systemd_boot::CONFIG_PATH);
        let limit = 2 * systemd_boot::CONFIG_SIZE as u64;
        let there = durable::read_bounded(self.fs, &path, limit);
        there.is_ok_and(|bytes| bytes == systemd_boot::loader_config(config))
    }

    /// Makes sure that the default is the one which counts in `/boot`: who published
    /// last may have died in between. Files that somebody deleted come back.
    pub fn settle(&self, config: &BootConfig) -> Result<()> {
        self.check_mounted()?;
        let entries = self.root.join(systemd_boot::ENTRIES_DIR);
        let there = |file: &EntryFile| self.fs.metadata(&entries.join(&file.name)).is_ok();
        let whole = systemd_boot::entry_files(config).iter().all(there)
            && files(config).all(|path| {
                let path = self.root.join(systemd_boot::kernel_path(path));
                self.fs.metadata(&path).is_ok_and(|m| m.size > 0)
            });
        if !whole {
            self.add(config)?;
        }
        if self.is_default(config.id()) {
            return Ok(());
        }
        // What it names now may go only after this.
        self.set_default(config.id())
    }

    /// Lets systemd-boot boot the configuration's trial once.
    pub fn arm(&self, config: ConfigId) -> Result<()> {
        let path = self.variable();
        self.disarm()?;
        let id = systemd_boot::entry_id(config, None);
        let bytes = systemd_boot::one_shot(&id);
        let mut file = self.fs.create(&path, 0o644).doing("create", &path)?;
        // The firmware takes a variable in one write.
        Ok(io::Write::write_all(&mut file, &bytes).doing("write", &path)?)
    }

    /// Takes the trial away.
    pub fn disarm(&self) -> Result<()> {
        let path = self.variable();
        if self.fs.metadata(&path).is_err() {
            return Ok(());
        }
        // The kernel guards variables against `rm -rf` by that.
        let mutable = self.fs.set_immutable(&path, false);
        mutable.doing("make mutable", &path)?;
        Ok(self.fs.remove_file(&path).doing("remove", &path)?)
    }

    /// Whether this configuration's trial is booted next.
    pub fn is_armed(&self, config: ConfigId) -> bool {
        let read = durable::read_bounded(self.fs, &self.variable(), LONGEST_VARIABLE);
        let id = read
            .ok()
            .and_then(|bytes| systemd_boot::one_shot_id(&bytes));
        id.is_some_and(|id| id == systemd_boot::entry_id(config, None))
    }

    fn variable(&self) -> PathBuf {
        let variables = self.layout.root().join(VARIABLES);
        variables.join(systemd_boot::ONE_SHOT)
    }
}

/// Every file that a configuration's entries load, as `/boot` names it.
fn files(config: &BootConfig) -> impl Iterator<Item = &str> {
    let trial = config.trial().map(|trial| &trial.entry);
    config
        .entries()
        .iter()
        .chain(trial)
        .flat_map(|entry| std::iter::once(&entry.linux).chain(&entry.initrds))
        .map(String::as_str)
}

/// The names in a directory; none when it is not there.
fn names_in(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>> {
    match fs.read_dir(dir) {
        Ok(entries) => Ok(entries
            .into_iter()
            .filter_map(|e| e.name.into_string().ok())
            .collect()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(e).doing("list", dir).map_err(Error::from),
    }
}
