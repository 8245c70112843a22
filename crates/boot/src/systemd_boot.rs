//! systemd-boot: entry files, `loader.conf`, and the variable that boots an entry once.
//!
//! Its own counting by file names (`NAME+3.conf`) goes uncounted where it cannot rename,
//! so it is not used. The default is named by `loader.conf`, one sector that is written in
//! place; the version on trial is named by the EFI variable `LoaderEntryOneShot`, which
//! systemd-boot deletes before it boots the entry. So a trial is booted once, and
//! whatever becomes of it, the next start is the default's.
//!
//! Entry files and kernels are written under names that nothing refers to yet and are
//! never changed. `docs/formats/boot-state.md` has the layout.

use crate::bls::BlsEntry;
use crate::config::{BootConfig, ConfigId, Entry};

/// How often systemd-boot boots a version on trial.
pub const ATTEMPTS: u8 = 1;
/// Length of `loader.conf` in bytes: one sector.
pub const CONFIG_SIZE: usize = 512;
/// `loader.conf`, relative to the EFI system partition.
pub const CONFIG_PATH: &str = "loader/loader.conf";
/// The directory of the entries, relative to the EFI system partition.
pub const ENTRIES_DIR: &str = "loader/entries";
/// The directory of kernels, relative to the EFI system partition.
pub const KERNELS_DIR: &str = "EFI/backstop";
/// The variable's name below `/sys/firmware/efi/efivars`.
pub const ONE_SHOT: &str = "LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// What the names of all entries begin with.
const PREFIX: &str = "backstop-";
/// Kept without power, and to be seen by the firmware and by the kernel.
const ATTRIBUTES: u32 = 7;

/// A boot entry's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFile {
    /// Its name in [`ENTRIES_DIR`], which is also the entry's id.
    pub name: String,
    /// Its content.
    pub content: String,
}

/// The id of an entry: of the trial where there is no index.
#[must_use]
pub fn entry_id(config: ConfigId, index: Option<usize>) -> String {
    match index {
        Some(index) => format!("{PREFIX}{config}-{index}.conf"),
        None => format!("{PREFIX}{config}-trial.conf"),
    }
}

/// Whether a file in [`ENTRIES_DIR`] is one of these.
#[must_use]
pub fn is_entry(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(".conf")
}

/// Where a file of `/boot` is on the EFI system partition, relative to that.
#[must_use]
pub fn kernel_path(path: &str) -> String {
    let below = path.strip_prefix("/ostree/").unwrap_or(path);
    format!("{KERNELS_DIR}/{}", below.trim_start_matches('/'))
}

/// The entry files of a configuration, the default's first and the trial's last.
#[must_use]
pub fn entry_files(config: &BootConfig) -> Vec<EntryFile> {
    let count = config.entries().len();
    let mut files: Vec<EntryFile> = (0..)
        .zip(config.entries())
        .map(|(index, entry)| EntryFile {
            name: entry_id(config.id(), Some(index)),
            content: entry_file(entry, count - index),
        })
        .collect();
    files.extend(config.trial().map(|trial| EntryFile {
        name: entry_id(config.id(), None),
        content: entry_file(&trial.entry, 0),
    }));
    files
}

/// Higher versions come first in the menu, and boot where nothing names a default.
fn entry_file(entry: &Entry, version: usize) -> String {
    let mut bls = BlsEntry::new();
    bls.push("title", &entry.title);
    bls.push("sort-key", "backstop");
    bls.push("version", &version.to_string());
    bls.push("linux", &format!("/{}", kernel_path(&entry.linux)));
    for initrd in &entry.initrds {
        bls.push("initrd", &format!("/{}", kernel_path(initrd)));
    }
    bls.push("options", &entry.options.to_string());
    bls.to_string()
}

/// `loader.conf` for a configuration: which entry is the default. It has always the same
/// length, so that it is written in place.
#[must_use]
pub fn loader_config(config: ConfigId) -> [u8; CONFIG_SIZE] {
    let text = format!(
        "# Written by backstop, always 512 bytes in place.\ndefault {}\ntimeout 1\n\
         editor no\nauto-firmware no\n#",
        entry_id(config, Some(0))
    );
    let mut bytes = [b'#'; CONFIG_SIZE];
    for (to, from) in bytes.iter_mut().zip(text.as_bytes()) {
        *to = *from;
    }
    bytes[CONFIG_SIZE - 1] = b'\n';
    bytes
}

/// The variable's content that boots an entry once, with its attributes, as `efivarfs`
/// wants it.
#[must_use]
pub fn one_shot(id: &str) -> Vec<u8> {
    let mut bytes = ATTRIBUTES.to_le_bytes().to_vec();
    bytes.extend(id.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
    bytes
}

/// The entry that such a content names; `None` when it is none. Without a zero at its
/// end systemd-boot does not read it as it is written (252 drops the last letter).
#[must_use]
pub fn one_shot_id(bytes: &[u8]) -> Option<String> {
    let (units, []) = bytes.get(4..)?.as_chunks::<2>() else {
        return None;
    };
    let units: Vec<u16> = units.iter().copied().map(u16::from_le_bytes).collect();
    let (0, units) = units.split_last()? else {
        return None;
    };
    let text = units.split(|unit| *unit == 0).next()?;
    String::from_utf16(text).ok().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{entry, trial};

    #[test]
    fn the_default_is_named_and_comes_first() {
        let entries = vec![entry("a"), entry("b")];
        let config = BootConfig::new(entries, Some(trial("c", 1))).unwrap();
        let files = entry_files(&config);
        let text = String::from_utf8(loader_config(config.id()).to_vec()).unwrap();
        assert_eq!(text.len(), CONFIG_SIZE);
        assert!(text.ends_with("#\n"), "{text}");
        assert!(text.contains(&format!("\ndefault {}\n", files[0].name)));
        let versions = files.iter().map(|f| BlsEntry::parse(&f.content).unwrap());
        let versions: Vec<_> = versions
            .map(|b| b.get("version").map(str::to_owned))
            .collect();
        assert_eq!(
            versions,
            [Some("2".into()), Some("1".into()), Some("0".into())]
        );
        assert!(files.iter().all(|f| is_entry(&f.name)));
        assert!(files[2].content.contains(crate::config::TRIAL_ARG));
    }

    #[test]
    fn kernels_go_to_a_directory_of_their_own() {
        let path = kernel_path("/ostree/debian-0f/vmlinuz-6.1");
        assert_eq!(path, "EFI/backstop/debian-0f/vmlinuz-6.1");
        assert_eq!(kernel_path("/vmlinuz"), "EFI/backstop/vmlinuz");
    }

    #[test]
    fn the_variable_reads_back() {
        let id = entry_id(ConfigId::of(b"x"), None);
        assert_eq!(one_shot_id(&one_shot(&id)), Some(id));
        let without_end = b"\x07\0\0\0a\0";
        for bad in [
            &b""[..],
            b"\x07\0\0",
            b"\x07\0\0\0",
            b"\x07\0\0\0\0\0",
            without_end,
        ] {
            assert_eq!(one_shot_id(bad), None, "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_content_names_an_entry_or_none(bytes in proptest::collection::vec(0u8.., 0..40)) {
            let _ = one_shot_id(&bytes);
        }
    }
}
