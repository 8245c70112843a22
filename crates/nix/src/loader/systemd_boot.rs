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
    /// systemd-boot, if its configuration is on the ESP.
    pub fn find(layout: &'a Layout, limit: Duration) -> Option<Self> {
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

fn parse(text: &str) -> Result<Vec<Entry>> {
    serde_json::from_str(text).map_err(|e| Error::Garbled {
        program: "bootctl list",
        why: e.to_string(),
    })
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
}
