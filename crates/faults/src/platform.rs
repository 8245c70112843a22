//! What starts a machine: firmware and boot loader.

use sysroot::Loader;
use testbed::Firmware;

/// Firmware and boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// GRUB by a PC's BIOS.
    GrubBios,
    /// GRUB by UEFI.
    GrubEfi,
    /// systemd-boot by UEFI.
    SystemdBoot,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::GrubBios, Self::GrubEfi, Self::SystemdBoot];

    /// Its name, for the command line too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GrubBios => "grub-bios",
            Self::GrubEfi => "grub-efi",
            Self::SystemdBoot => "systemd-boot",
        }
    }

    /// What starts the boot loader.
    #[must_use]
    pub fn firmware(self) -> Firmware {
        match self {
            Self::GrubBios => Firmware::Bios,
            Self::GrubEfi | Self::SystemdBoot => Firmware::Efi,
        }
    }

    /// The boot loader.
    #[must_use]
    pub fn loader(self) -> Loader {
        match self {
            Self::GrubBios | Self::GrubEfi => Loader::Grub,
            Self::SystemdBoot => Loader::SystemdBoot,
        }
    }

    /// How often a version on trial may be booted.
    #[must_use]
    pub fn attempts(self) -> usize {
        match self.loader() {
            Loader::SystemdBoot => usize::from(boot::systemd_boot::ATTEMPTS),
            Loader::Grub | Loader::None => 2,
        }
    }
}
