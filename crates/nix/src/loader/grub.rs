//! GRUB, as NixOS configures it: `next_entry` in `grubenv` is booted once.

use std::path::{Path, PathBuf};

use durable::Fs;

use super::grubenv::{self, Grubenv};
use super::menu::{Menu, NEXT, SAVED};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::store::StorePath;

/// A configuration is no longer.
const LONGEST: u64 = 8 << 20;

/// GRUB and its environment block.
#[derive(Debug)]
pub(crate) struct Grub<'a> {
    fs: &'a dyn Fs,
    layout: &'a Layout,
    menu: Menu,
    block: PathBuf,
}

impl<'a> Grub<'a> {
    /// GRUB, if its configuration is in `/boot`.
    pub fn find(fs: &'a dyn Fs, layout: &'a Layout) -> Result<Option<Self>> {
        let dir = layout.boot().join("grub");
        let path = dir.join("grub.cfg");
        let bytes = match durable::read_bounded(fs, &path, LONGEST) {
            Ok(bytes) => bytes,
            Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        Ok(Some(Self {
            fs,
            layout,
            menu: Menu::parse(layout, &String::from_utf8_lossy(&bytes)),
            block: dir.join("grubenv"),
        }))
    }

    pub fn boot_once(&self, version: &StorePath) -> Result<()> {
        self.can_boot_once()?;
        let entry = self.menu.entry_of(version).ok_or_else(|| {
            Error::NoBootOnce(format!("GRUB's configuration has no entry of {version}"))
        })?;
        self.write(NEXT, Some(&entry.name))
    }

    pub fn boot_default(&self) -> Result<()> {
        if self.is_armed()? {
            self.write(NEXT, None)?;
        }
        Ok(())
    }

    pub fn is_armed(&self) -> Result<bool> {
        Ok(self.read()?.is_some_and(|env| env.get(NEXT).is_some()))
    }

    /// Refuses where a version would be booted more than once.
    pub fn can_boot_once(&self) -> Result<()> {
        let again = self.menu.boots_again().map(str::to_owned);
        match again.or_else(|| self.cannot_write()) {
            Some(why) => Err(Error::NoBootOnce(why)),
            None => Ok(()),
        }
    }

    pub fn default(&self) -> Result<Option<StorePath>> {
        let env = self.read()?.unwrap_or_default();
        let entry = self.menu.default(env.get(SAVED));
        Ok(entry.and_then(|entry| entry.version.clone()))
    }

    /// Where the default is what was booted last, a new configuration alone does not
    /// change it: another generation may have been chosen by hand.
    pub fn settle_default(&self, version: &StorePath) -> Result<()> {
        let entry = self.menu.entry_of(version);
        let entry = entry.filter(|_| self.menu.saves_default());
        match entry {
            Some(entry) if self.default()?.as_ref() != Some(version) => {
                self.write(SAVED, Some(&entry.name))
            }
            _ => Ok(()),
        }
    }

    fn read(&self) -> Result<Option<Grubenv>> {
        match durable::read_bounded(self.fs, &self.block, 1 << 16) {
            Ok(bytes) => Ok(Grubenv::parse(&bytes)),
            Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes the block in its place where there is one, since GRUB knows it by its
    /// sectors.
    fn write(&self, name: &str, value: Option<&str>) -> Result<()> {
        let block = self.fs.metadata(&self.block);
        let there = block.is_ok_and(|found| found.size == grubenv::LENGTH as u64);
        let mut env = self.read()?.unwrap_or_default();
        env.set(name, value);
        let bytes = env.to_bytes().ok_or_else(|| {
            let path = self.block.display();
            Error::NoBootOnce(format!("{path} is too full for another variable"))
        })?;
        if there {
            durable::overwrite_in_place(self.fs, &self.block, &bytes)?;
        } else {
            durable::publish_file(self.fs, &self.block, &bytes, 0o600)?;
        }
        // GRUB replays no journal.
        let dir = self.block.parent().unwrap_or(Path::new("/"));
        self.fs
            .checkpoint(dir)
            .map_err(crate::error::file("sync", dir))
    }

    /// Why GRUB could not take the variable back: then it would boot the version
    /// again and again.
    fn cannot_write(&self) -> Option<String> {
        if !self.layout.is_running_system() {
            return None;
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
        cannot_write_on(&mounts, &self.block, is_made_of_others)
    }
}

/// Whether the kernel makes a block device, by its numbers, out of others: LVM, RAID,
/// encryption. What it was mounted by does not tell: it may be `/dev/disk/by-uuid/…`.
fn is_made_of_others(numbers: &str) -> bool {
    let device = std::fs::canonicalize(Path::new("/sys/dev/block").join(numbers));
    device.is_ok_and(|path| path.to_string_lossy().contains("/virtual/block/"))
}

/// Whether GRUB can write on the filesystem of `path`, by `/proc/self/mountinfo`:
/// only on a plain one, on a plain partition.
fn cannot_write_on(mounts: &str, path: &Path, layered: impl Fn(&str) -> bool) -> Option<String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let point = PathBuf::from(before.get(4)?);
        let numbers = (*before.get(2)?).to_owned();
        let mut after = after.split(' ');
        let (kind, device) = (after.next()?.to_owned(), after.next()?.to_owned());
        // What is mounted when somebody looks.
        let counts = kind != "autofs" && path.starts_with(&point);
        counts.then_some((point, numbers, kind, device))
    };
    let all = mounts.lines().filter_map(mount);
    let (_, numbers, kind, device) = all.max_by_key(|(point, ..)| point.components().count())?;
    if !["ext2", "ext3", "ext4", "vfat", "xfs"].contains(&kind.as_str()) {
        return Some(format!(
            "GRUB cannot write on the {kind} that holds grubenv"
        ));
    }
    let named = device.starts_with("/dev/mapper/") || device.starts_with("/dev/md");
    (named || layered(&numbers)).then(|| {
        format!("GRUB cannot write on {device}, which holds grubenv: it is no plain partition")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;

    const OLD: &str = "00000000000000000000000000000000-nixos-system-a";
    const NEW: &str = "11111111111111111111111111111111-nixos-system-a";

    /// What NixOS writes, in short; what it boots by default may be what it booted last.
    fn config(store: &Path, default: &str) -> String {
        let entry = |title: &str, name: &str| {
            let init = store.join(name).join("init");
            format!(
                "menuentry \"{title}\" --class nixos {{\n  linux /kernel init={} loglevel=4\n  \
                 initrd /initrd\n}}\n",
                init.display()
            )
        };
        format!(
            "if [ \"${{next_entry}}\" ]; then\n  set default=\"${{next_entry}}\"\n  \
             set next_entry=\n  save_env next_entry\n  set boot_once=true\nelse\n  \
             set default={default}\nfi\n{}\
             submenu \"NixOS - All configurations\" --class submenu {{\n{}{}}}\n",
            entry("NixOS", OLD),
            entry("NixOS - Configuration 2 (2026 - 24>05)", NEW),
            entry("NixOS - Configuration 1 (2025 - 24.05)", OLD),
        )
    }

    fn grub<'a>(layout: &'a Layout, default: &str) -> Grub<'a> {
        let dir = layout.boot().join("grub");
        std::fs::create_dir_all(&dir).unwrap();
        let text = config(&layout.store(), default);
        durable::publish_file(&RealFs, &dir.join("grub.cfg"), text.as_bytes(), 0o644).unwrap();
        Grub::find(&RealFs, layout).unwrap().unwrap()
    }

    fn path(layout: &Layout, name: &str) -> StorePath {
        StorePath::parse(layout, &layout.store().join(name).to_string_lossy()).unwrap()
    }

    #[test]
    fn a_version_is_booted_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert!(Grub::find(&RealFs, &layout).unwrap().is_none());
        let grub = grub(&layout, "0");
        let path = |name: &str| path(&layout, name);
        assert_eq!(grub.default().unwrap(), Some(path(OLD)));
        assert!(!grub.is_armed().unwrap());
        grub.boot_once(&path(NEW)).unwrap();
        assert!(grub.is_armed().unwrap());
        let env = grub.read().unwrap().unwrap();
        let name = "NixOS - All configurations>NixOS - Configuration 2 (2026 - 24>>05)";
        assert_eq!(env.get(NEXT), Some(name));
        grub.boot_default().unwrap();
        assert!(!grub.is_armed().unwrap());
        let gone = path("22222222222222222222222222222222-nixos-system-a");
        assert!(grub.boot_once(&gone).is_err());
    }

    #[test]
    fn a_kept_version_boots_where_another_was_chosen_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let grub = grub(&layout, "\"${saved_entry}\"");
        let (old, new) = (path(&layout, OLD), path(&layout, NEW));
        // The first entry counts as chosen: nothing is written.
        grub.settle_default(&old).unwrap();
        assert!(grub.read().unwrap().is_none());
        let by_hand = "NixOS - All configurations>NixOS - Configuration 2 (2026 - 24>>05)";
        grub.write(SAVED, Some(by_hand)).unwrap();
        assert_eq!(grub.default().unwrap(), Some(new));
        grub.settle_default(&old).unwrap();
        assert_eq!(grub.default().unwrap(), Some(old));
        let env = grub.read().unwrap().unwrap();
        assert_eq!(env.get(SAVED), Some("NixOS"));
    }

    #[test]
    fn a_block_of_another_length_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let grub = grub(&layout, "0");
        durable::publish_file(&RealFs, &grub.block, b"torn", 0o600).unwrap();
        assert!(!grub.is_armed().unwrap());
        grub.boot_once(&path(&layout, NEW)).unwrap();
        assert!(grub.is_armed().unwrap());
    }

    #[test]
    fn grub_writes_on_plain_filesystems_only() {
        let line = |point: &str, kind: &str, device: &str| {
            let numbers = if device.contains("uuid") {
                "253:0"
            } else {
                "254:1"
            };
            format!("29 1 {numbers} / {point} rw,relatime shared:1 - {kind} {device} rw\n")
        };
        let path = Path::new("/boot/grub/grubenv");
        let table = [
            (vec![line("/", "ext4", "/dev/vda1")], true),
            (vec![line("/", "btrfs", "/dev/vda1")], false),
            (vec![line("/", "ext4", "/dev/mapper/root")], false),
            // LVM, by a name that does not tell.
            (vec![line("/", "ext4", "/dev/disk/by-uuid/12")], false),
            (
                vec![line("/", "zfs", "tank"), line("/boot", "vfat", "/dev/sda1")],
                true,
            ),
            (
                vec![
                    line("/", "ext4", "/dev/vda1"),
                    line("/boot", "autofs", "systemd-1"),
                ],
                true,
            ),
        ];
        for (mounts, can) in table {
            let mounts = mounts.concat();
            let why = cannot_write_on(&mounts, path, |numbers| numbers == "253:0");
            assert_eq!(why.is_none(), can, "{mounts}");
        }
    }
}
