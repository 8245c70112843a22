//! GRUB, as NixOS configures it: `next_entry` in `grubenv` is booted once.

use std::path::{Path, PathBuf};

use durable::Fs;

use super::grubenv::Grubenv;
use super::version_in;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::store::StorePath;

/// The variable that GRUB's configuration takes for one boot.
const NEXT: &str = "next_entry";
/// A configuration is no longer.
const LONGEST: u64 = 8 << 20;

/// GRUB and its environment block.
#[derive(Debug)]
pub(crate) struct Grub<'a> {
    fs: &'a dyn Fs,
    layout: &'a Layout,
    config: String,
    block: PathBuf,
}

/// An entry of the menu.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// How it is named to GRUB: `Submenu>Title`.
    name: String,
    /// What it boots.
    version: Option<StorePath>,
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
        let config = String::from_utf8_lossy(&bytes).into_owned();
        let block = dir.join("grubenv");
        Ok(Some(Self {
            fs,
            layout,
            config,
            block,
        }))
    }

    pub fn boot_once(&self, version: &StorePath) -> Result<()> {
        if !self.config.contains(NEXT) {
            let why = "GRUB's configuration does not look at next_entry".to_owned();
            return Err(Error::NoBootOnce(why));
        }
        if let Some(why) = self.cannot_write() {
            return Err(Error::NoBootOnce(why));
        }
        let entries = entries(self.layout, &self.config);
        let of_version = |e: &&Entry| e.version.as_ref() == Some(version);
        let entry = entries.iter().find(of_version).ok_or_else(|| {
            Error::NoBootOnce(format!("GRUB's configuration has no entry of {version}"))
        })?;
        self.write(Some(&entry.name))
    }

    pub fn boot_default(&self) -> Result<()> {
        if self.is_armed()? {
            self.write(None)?;
        }
        Ok(())
    }

    pub fn is_armed(&self) -> Result<bool> {
        Ok(self.read()?.is_some_and(|env| env.get(NEXT).is_some()))
    }

    pub fn default(&self) -> Result<Option<StorePath>> {
        let entries = entries(self.layout, &self.config);
        Ok(entries.into_iter().next().and_then(|entry| entry.version))
    }

    fn read(&self) -> Result<Option<Grubenv>> {
        match durable::read_bounded(self.fs, &self.block, 1 << 16) {
            Ok(bytes) => Ok(Grubenv::parse(&bytes)),
            Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes the block in its place, since GRUB knows it by its sectors.
    fn write(&self, next: Option<&str>) -> Result<()> {
        let there = self.fs.metadata(&self.block).is_ok();
        let mut env = self.read()?.unwrap_or_default();
        env.set(NEXT, next);
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
        cannot_write_on(&mounts, &self.block)
    }
}

/// Whether GRUB can write on the filesystem of `path`, by `/proc/self/mountinfo`:
/// only on a plain one, on a plain partition.
fn cannot_write_on(mounts: &str, path: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let point = PathBuf::from(before.split(' ').nth(4)?);
        let mut after = after.split(' ');
        let (kind, device) = (after.next()?.to_owned(), after.next()?.to_owned());
        path.starts_with(&point).then_some((point, kind, device))
    };
    let all = mounts.lines().filter_map(mount);
    let (_, kind, device) = all.max_by_key(|(point, ..)| point.components().count())?;
    if !["ext2", "ext3", "ext4", "vfat", "xfs"].contains(&kind.as_str()) {
        return Some(format!(
            "GRUB cannot write on the {kind} that holds grubenv"
        ));
    }
    let layered = device.starts_with("/dev/mapper/") || device.starts_with("/dev/md");
    layered.then(|| format!("GRUB cannot write on {device}, which holds grubenv"))
}

/// The entries of a configuration, in their order.
fn entries(layout: &Layout, config: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut submenus: Vec<Option<String>> = Vec::new();
    for line in config.lines().map(str::trim) {
        let opens = line.ends_with('{');
        let closes = line == "}";
        if let Some(title) = titled(line, "submenu") {
            submenus.push(Some(title));
        } else if let Some(title) = titled(line, "menuentry") {
            let path = submenus.iter().flatten().cloned().chain([title]);
            found.push(Entry {
                name: path.collect::<Vec<_>>().join(">"),
                version: None,
            });
            submenus.push(None);
        } else if opens {
            submenus.push(None);
        } else if closes {
            submenus.pop();
        } else if line.starts_with("linux")
            && let Some(entry) = found.last_mut()
        {
            entry.version = entry.version.take().or_else(|| version_in(layout, line));
        }
    }
    found
}

/// The title in `menuentry "Title" …`; GRUB separates titles by `>`, so one in a
/// title is written twice.
fn titled(line: &str, word: &str) -> Option<String> {
    let rest = line.strip_prefix(word)?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let title = rest[1..].split(quote).next()?;
    Some(title.replace('>', ">>"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;

    const OLD: &str = "00000000000000000000000000000000-nixos-system-a";
    const NEW: &str = "11111111111111111111111111111111-nixos-system-a";

    /// What NixOS writes, in short.
    fn config(store: &Path) -> String {
        let entry = |title: &str, name: &str| {
            let init = store.join(name).join("init");
            format!(
                "menuentry \"{title}\" --class nixos {{\n  linux /kernel init={} loglevel=4\n  \
                 initrd /initrd\n}}\n",
                init.display()
            )
        };
        format!(
            "if [ \"${{next_entry}}\" ]; then\n  set default=\"${{next_entry}}\"\nfi\n{}\
             submenu \"NixOS - All configurations\" --class submenu {{\n{}{}}}\n",
            entry("NixOS", OLD),
            entry("NixOS - Configuration 2 (2026 - 24>05)", NEW),
            entry("NixOS - Configuration 1 (2025 - 24.05)", OLD),
        )
    }

    #[test]
    fn a_version_is_booted_once() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let grub_dir = layout.boot().join("grub");
        std::fs::create_dir_all(&grub_dir).unwrap();
        assert!(Grub::find(&RealFs, &layout).unwrap().is_none());
        let text = config(&layout.store());
        durable::publish_file(&RealFs, &grub_dir.join("grub.cfg"), text.as_bytes(), 0o644).unwrap();
        let grub = Grub::find(&RealFs, &layout).unwrap().unwrap();
        let path = |name: &str| {
            StorePath::parse(&layout, &layout.store().join(name).to_string_lossy()).unwrap()
        };
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
    fn grub_writes_on_plain_filesystems_only() {
        let line = |point: &str, kind: &str, device: &str| {
            format!("29 1 254:1 / {point} rw,relatime shared:1 - {kind} {device} rw\n")
        };
        let path = Path::new("/boot/grub/grubenv");
        let table = [
            (vec![line("/", "ext4", "/dev/vda1")], true),
            (vec![line("/", "btrfs", "/dev/vda1")], false),
            (vec![line("/", "ext4", "/dev/mapper/root")], false),
            (
                vec![line("/", "zfs", "tank"), line("/boot", "vfat", "/dev/sda1")],
                true,
            ),
        ];
        for (mounts, can) in table {
            let mounts = mounts.concat();
            assert_eq!(cannot_write_on(&mounts, path).is_none(), can, "{mounts}");
        }
    }
}
