//! How a disk is divided.

use std::fmt::Write as _;

use sysroot::Loader;

/// Bytes in a sector, as partition tables count them.
pub(crate) const SECTOR: u64 = 512;
/// Partitions begin at multiples of this.
const ALIGN: u64 = 1 << 20;
/// The last sectors hold the second copy of the table.
const TAIL: u64 = 1 << 20;
/// The least that is worth an installation.
const LEAST_ROOT: u64 = 256 << 20;

/// Bytes for the EFI system partition: systemd-boot has all kernels on it.
pub(crate) fn esp_size(loader: Loader) -> u64 {
    match loader {
        Loader::SystemdBoot => 512 << 20,
        Loader::Grub | Loader::None => 64 << 20,
    }
}

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// GRUB's core image, for a BIOS.
    BiosBoot,
    /// The EFI system partition; holds `grub.cfg` and the state sector for
    /// either firmware.
    Esp,
    /// The root filesystem.
    Root,
}

impl Role {
    /// The partition type's GUID.
    fn guid(self) -> &'static str {
        match self {
            Self::BiosBoot => "21686148-6449-6E6F-744E-656564454649",
            Self::Esp => "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
            Self::Root => "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::BiosBoot => "bios",
            Self::Esp => "esp",
            Self::Root => "root",
        }
    }
}

/// A partition: bytes from the disk's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// What it is for.
    pub role: Role,
    /// Where it begins.
    pub start: u64,
    /// How long it is.
    pub size: u64,
}

/// A GPT with three partitions: BIOS boot, ESP, root, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Number 1.
    pub bios: Partition,
    /// Number 2.
    pub esp: Partition,
    /// Number 3: all that is left.
    pub root: Partition,
}

impl Layout {
    /// Divides a disk of `size` bytes; `None` when it is too small.
    #[must_use]
    pub fn for_size(size: u64, loader: Loader) -> Option<Self> {
        let bios = Partition {
            role: Role::BiosBoot,
            start: ALIGN,
            size: ALIGN,
        };
        let esp = Partition {
            role: Role::Esp,
            start: bios.start + bios.size,
            size: esp_size(loader),
        };
        let start = esp.start + esp.size;
        let end = size.checked_sub(TAIL)? / ALIGN * ALIGN;
        let root = Partition {
            role: Role::Root,
            start,
            size: end.checked_sub(start).filter(|s| *s >= LEAST_ROOT)?,
        };
        Some(Self { bios, esp, root })
    }

    /// The least size of a disk, in bytes.
    #[must_use]
    pub fn least(loader: Loader) -> u64 {
        LEAST_ROOT + esp_size(loader) + 2 * ALIGN + TAIL
    }

    /// What `sfdisk` reads; `esp_uuid` becomes the ESP's partition UUID.
    #[must_use]
    pub fn sfdisk_script(&self, esp_uuid: &str) -> String {
        let mut text = String::from("label: gpt\nunit: sectors\n");
        for part in [self.bios, self.esp, self.root] {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "start={}, size={}, type={}, name={}",
                part.start / SECTOR,
                part.size / SECTOR,
                part.role.guid(),
                part.role.name()
            );
            if part.role == Role::Esp {
                let _ = write!(text, ", uuid={esp_uuid}");
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_a_disk_and_refuses_a_small_one() {
        assert_eq!(Layout::for_size(0, Loader::Grub), None);
        assert_eq!(
            Layout::for_size(Layout::least(Loader::Grub) - 1, Loader::Grub),
            None
        );
        let least = Layout::for_size(Layout::least(Loader::Grub), Loader::Grub).unwrap();
        assert_eq!(least.root.size, LEAST_ROOT);
        let odd = Layout::for_size((2 << 30) + 12_345, Loader::SystemdBoot).unwrap();
        assert_eq!(odd.root.start + odd.root.size, (2 << 30) - TAIL);
        let script = odd.sfdisk_script("u");
        assert!(
            script.contains("start=4096, size=1048576, type=C12A"),
            "{script}"
        );
        assert!(script.contains("name=esp, uuid=u\n"));
    }
}
