//! The state sector and where it is.

use std::path::{Component, PathBuf};

use boot::sector::SIZE;
use boot::{ConfigId, StateSector};
use durable::Doing;
use serde::{Deserialize, Serialize};

use crate::esp::Esp;
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// Which bootloader reads what is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loader {
    /// GRUB.
    Grub,
    /// systemd-boot, with kernels and entries on the EFI system partition. The state
    /// sector is there too; a trial is armed by an EFI variable, and booted once.
    SystemdBoot,
    /// None: something else decides by [`Sysroot::simulate_boot`].
    None,
}

impl Loader {
    /// What it is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Grub => "GRUB",
            Self::SystemdBoot => "systemd-boot",
            Self::None => "none",
        }
    }
}

/// How a host boots: `ostree/backstop/boot.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootSettings {
    /// The state sector's file, relative to the sysroot.
    pub state_sector: PathBuf,
    /// Which bootloader there is.
    pub loader: Loader,
    /// Whether a GRUB that backstop did not install lacks what compares digests.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_digests: bool,
}

/// What a boot loader that compares no digests comes to.
const UNSEEN: &str = "without Secure Boot, a damaged kernel is not noticed when it is loaded: it \
     may hang until power-off, or run";

impl BootSettings {
    /// What this host's boot loader cannot do that GRUB, as backstop installs it, does.
    #[must_use]
    pub fn limits(&self) -> &'static [&'static str] {
        match self.loader {
            Loader::Grub if self.without_digests => &[UNSEEN],
            Loader::Grub | Loader::None => &[],
            Loader::SystemdBoot => &[
                "a version on trial is booted once, not several times",
                UNSEEN,
                "if the default does not load, no older version is booted by itself",
            ],
        }
    }
}

impl Default for BootSettings {
    fn default() -> Self {
        Self {
            state_sector: PathBuf::from("boot/backstop/state"),
            loader: Loader::None,
            without_digests: false,
        }
    }
}

impl Sysroot {
    /// How this host boots; the defaults when nothing says so.
    ///
    /// # Errors
    /// A file that cannot be read, or a path that leaves the sysroot.
    pub fn boot_settings(&self) -> Result<BootSettings> {
        let path = self.layout().boot_settings();
        if self.fs().metadata(&path).is_err() {
            return Ok(BootSettings::default());
        }
        let text = durable::read_to_string(self.fs(), &path)?;
        let invalid = |why: String| Error::Invalid {
            path: path.clone(),
            why,
        };
        let settings: BootSettings =
            toml::from_str(&text).map_err(|e| invalid(e.message().to_owned()))?;
        let inside = |c: Component<'_>| matches!(c, Component::Normal(_));
        if settings.state_sector.components().all(inside) {
            return Ok(settings);
        }
        Err(invalid("state_sector leaves the sysroot".to_owned()))
    }

    /// Writes down how this host boots, and makes the state sector's file if it
    /// is not there.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_boot_settings(&self, settings: &BootSettings) -> Result<()> {
        let path = self.layout().boot_settings();
        let text = toml::to_string(settings).map_err(|e| Error::Invalid {
            path: path.clone(),
            why: e.to_string(),
        })?;
        durable::create_dir_all(self.fs(), &self.layout().memory(), 0o755)?;
        durable::publish_file(self.fs(), &path, text.as_bytes(), 0o644)?;
        if self.state_sector().is_err() {
            self.make_sector(&StateSector::fresh(ConfigId::of(b""), 0))?;
        }
        Ok(())
    }

    /// The state sector's path.
    ///
    /// # Errors
    /// As [`boot_settings`](Self::boot_settings).
    pub fn state_sector_path(&self) -> Result<PathBuf> {
        Ok(self.path().join(self.boot_settings()?.state_sector))
    }

    /// What the state sector says.
    ///
    /// # Errors
    /// [`Error::Sector`] when it is not there or holds none; a bootloader boots
    /// the default then.
    pub fn state_sector(&self) -> Result<StateSector> {
        let path = self.state_sector_path()?;
        let Ok(bytes) = durable::read_bounded(self.fs(), &path, 2 * SIZE as u64) else {
            return Err(Error::Sector { path, source: None });
        };
        let parsed = StateSector::parse(&bytes);
        let mut sector = parsed.map_err(|source| Error::Sector {
            path,
            source: Some(source),
        })?;
        if let Some(esp) = self.esp(&self.boot_settings()?)?
            && !esp.is_armed(sector.config)
        {
            // systemd-boot counts by forgetting the variable.
            sector.left = 0;
        }
        Ok(sector)
    }

    /// The EFI system partition, where systemd-boot reads it.
    pub(crate) fn esp(&self, settings: &BootSettings) -> Result<Option<Esp<'_>>> {
        if settings.loader != Loader::SystemdBoot {
            return Ok(None);
        }
        let sector = self.path().join(&settings.state_sector);
        Esp::of(self.fs(), self.layout(), &sector).map(Some)
    }

    /// Sets the attempts left of the trial that is published.
    ///
    /// # Errors
    /// That nothing is on trial, or the disk's.
    pub fn set_attempts(&self, left: u8) -> Result<()> {
        let _lock = self.lock()?;
        let published = self.published()?;
        match (published.config, published.order.trial) {
            (Some(config), Some(_)) => {
                if let Some(esp) = self.esp(&self.boot_settings()?)? {
                    match left {
                        0 => esp.disarm()?,
                        _ => esp.arm(config)?,
                    }
                }
                self.write_sector(&StateSector::fresh(config, left))
            }
            _ => Err(Error::Order("no deployment is on trial in it")),
        }
    }

    /// Writes the sector in the blocks it has. One that is missing or of another
    /// length is made anew; it means nothing to the bootloader until then.
    pub(crate) fn write_sector(&self, sector: &StateSector) -> Result<()> {
        let settings = self.boot_settings()?;
        let path = self.path().join(&settings.state_sector);
        let fs = self.fs();
        if fs.metadata(&path).is_ok_and(|m| m.size == SIZE as u64) {
            let written = durable::overwrite_in_place(fs, &path, &sector.encode());
            if let (Err(_), Some(dir)) = (&written, path.parent()) {
                // Linux tells the next sync of this filesystem of the same failure, which
                // would be taken for one of all that is synced then.
                let _ = fs.sync_filesystem(dir);
            }
            return Ok(written?);
        }
        let mounted = path.parent().is_some_and(|dir| fs.metadata(dir).is_ok());
        if settings.loader != Loader::None && !mounted {
            // A file in an empty mount point is none that a boot loader will ever read.
            return Err(Error::Sector { path, source: None });
        }
        self.make_sector(sector)
    }

    /// Makes the sector's file, with its directory.
    fn make_sector(&self, sector: &StateSector) -> Result<()> {
        let path = self.state_sector_path()?;
        let fs = self.fs();
        let dir = path.parent().unwrap_or(self.path());
        durable::create_dir_all(fs, dir, 0o755)?;
        durable::publish_file(fs, &path, &sector.encode(), 0o644)?;
        // GRUB replays no journal: the new file's place must be on the disk.
        let checkpoint = fs.checkpoint(dir);
        Ok(checkpoint.doing("checkpoint", dir)?)
    }
}
