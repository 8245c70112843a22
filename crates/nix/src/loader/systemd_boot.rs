//! systemd-boot: an EFI variable names the entry that is booted once.

use std::time::Duration;

use serde::Deserialize;

use super::version_in;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::program::{self, ask};
use crate::store::StorePath;

/// The variable, as the kernel shows it.
const ONE_SHOT: &str =
    "sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// What is there when UEFI started the system.
const EFI: &str = "sys/firmware/efi";
/// Where its configuration may be, below the root.
const CONFIGS: [&str; 3] = [
    "boot/loader/loader.conf",
    "boot/efi/loader/loader.conf",
    "efi/loader/loader.conf",
];

/// systemd-boot, by way of `bootctl`.
#[derive(Debug)]
pub(crate) struct SystemdBoot<'a> {
    layout: &'a Layout,
    limit: Duration,
}

/// An entry as `bootctl list --json` shows it.
#[derive(Debug, Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    options: Option<String>,
    #[serde(default, rename = "isDefault")]
    is_default: Option<bool>,
}

impl<'a> SystemdBoot<'a> {
    /// systemd-boot, if its configuration is on the ESP, and UEFI started this system:
    /// it may be left from before GRUB.
    pub fn find(layout: &'a Layout, limit: Duration) -> Option<Self> {
        if layout.is_running_system() && !layout.root().join(EFI).is_dir() {
            return None;
        }
        let there = |path: &&&str| layout.root().join(path).is_file();
        CONFIGS.iter().find(there)?;
        Some(Self { layout, limit })
    }

    pub fn boot_once(&self, version: &StorePath) -> Result<()> {
        let entries = self.entries()?;
        let of_version = |e: &&Entry| self.version(e).as_ref() == Some(version);
        let entry = entries
            .iter()
            .find(of_version)
            .ok_or_else(|| Error::NoBootOnce(format!("systemd-boot has no entry of {version}")))?;
        self.set_one_shot("let systemd-boot try the version", &entry.id)
    }

    pub fn boot_default(&self) -> Result<()> {
        if self.is_armed() {
            self.set_one_shot("let systemd-boot boot the default", "")?;
        }
        Ok(())
    }

    pub fn is_armed(&self) -> bool {
        self.layout.root().join(ONE_SHOT).exists()
    }

    pub fn default(&self) -> Result<Option<StorePath>> {
        let entries = self.entries()?;
        let default = entries.iter().find(|entry| entry.is_default == Some(true));
        Ok(default.and_then(|entry| self.version(entry)))
    }

    fn set_one_shot(&self, doing: &str, id: &str) -> Result<()> {
        let mut command = program::command(self.layout, "bootctl");
        command.args(["set-oneshot", id]);
        ask(doing, command, self.limit).map(drop)
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let mut command = program::command(self.layout, "bootctl");
        command.args(["list", "--json=short"]);
        let text = ask("list the boot entries", command, self.limit)?;
        parse(&text)
    }

    fn version(&self, entry: &Entry) -> Option<StorePath> {
        version_in(self.layout, entry.options.as_deref()?)
    }
}

/// What `bootctl list --json` prints, again and again: newer ones print one array, that
/// of systemd 252 one entry after another.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Listed {
    Entry(Entry),
    Entries(Vec<Entry>),
}

fn parse(text: &str) -> Result<Vec<Entry>> {
    let garbled = |e: serde_json::Error| Error::Garbled {
        program: "bootctl list",
        why: e.to_string(),
    };
    let mut entries = Vec::new();
    for listed in serde_json::Deserializer::from_str(text).into_iter() {
        match listed.map_err(garbled)? {
            Listed::Entry(entry) => entries.push(entry),
            Listed::Entries(more) => entries.extend(more),
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn entries_are_found_by_their_init() {
        let text = r#"[
            {"type":"type1","id":"nixos-generation-2.conf","title":"NixOS","isDefault":false,
             "options":"init=/nix/store/11111111111111111111111111111111-nixos-system-a/init quiet"},
            {"type":"loader","id":"auto-reboot-to-firmware-setup","isDefault":false}
        ]"#;
        let layout = Layout::new(Path::new("/"));
        let loader = SystemdBoot {
            layout: &layout,
            limit: Duration::ZERO,
        };
        let entries = parse(text).unwrap();
        let versions: Vec<_> = entries.iter().map(|e| loader.version(e)).collect();
        let name = "/nix/store/11111111111111111111111111111111-nixos-system-a";
        let expected = StorePath::parse(&layout, name).unwrap();
        assert_eq!(versions, [Some(expected), None]);
        assert!(parse("No entries").is_err());
    }

    #[test]
    fn entries_of_systemd_252_follow_each_other() {
        let text = "{\"id\":\"nixos-generation-2.conf\",\"options\":\"init=/x quiet\"}\n\
                    {\"id\":\"nixos-generation-1.conf\",\"initrd\":[\"/EFI/nixos/i\"]}\n\
                    {\"id\":\"auto-reboot-to-firmware-setup\",\"showTitle\":\"Reboot\"}\n";
        let entries = parse(text).unwrap();
        let ids: Vec<_> = entries.iter().map(|e| e.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "nixos-generation-2.conf",
                "nixos-generation-1.conf",
                "auto-reboot-to-firmware-setup"
            ]
        );
        assert!(entries.iter().all(|e| e.is_default.is_none()));
        assert!(parse("{\"id\":\"a\"}\n{\"id\":").is_err());
    }
}
