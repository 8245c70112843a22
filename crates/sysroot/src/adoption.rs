//! Taking over a host whose GRUB goes by what `ostree admin` publishes, and handing it
//! back.
//!
//! GRUB reads one file, `grub.cfg`. It is replaced by one that goes by what backstop
//! publishes, and by the configuration from before where nothing of backstop's boots. So
//! the host boots at any instant: until the replacement as before; from then on the same
//! way, by the kept file; and from the publication on by backstop's script, which names
//! the same deployments with the same kernel arguments. Handing back goes the same way
//! from the other end.

use std::io;
use std::path::{Path, PathBuf};

use boot::ConfigId;
use boot::grub::is_static_config;
use durable::{Doing, FileKind};
use monitor::Monitor;

use crate::plain::PlainOrder;
use crate::state::{BootSettings, Loader};
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// The end of the name of the configuration that was there before.
const KEPT: &str = ".before-backstop";
/// No `grub.cfg` is longer.
const LONGEST_CONFIG: u64 = 8 << 20;
/// What a configuration has in it that goes by the boot entries that count.
const FOLLOWING: [&str; 2] = ["blscfg", "loader/grub.cfg"];

/// What becomes of a host that is taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adoption {
    /// The file that GRUB goes by, relative to the sysroot.
    pub grub_config: PathBuf,
    /// What is in it afterwards.
    pub script: String,
    /// How the host boots afterwards.
    pub settings: BootSettings,
}

/// One step of taking a host over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdoptionStep {
    /// GRUB's configuration gets a second name.
    Keep,
    /// It is replaced.
    Replace,
    /// How the host boots is written down, and the state sector made.
    Settings,
    /// The boot order is published for backstop's script.
    Publish,
}

impl AdoptionStep {
    /// One word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Replace => "replace",
            Self::Settings => "settings",
            Self::Publish => "publish",
        }
    }
}

/// The name by which the configuration from before is kept, beside the one that counts.
#[must_use]
pub fn kept_config(grub_config: &Path) -> PathBuf {
    let mut name = grub_config.file_name().unwrap_or_default().to_owned();
    name.push(KEPT);
    grub_config.with_file_name(name)
}

impl Sysroot {
    /// What is left to do until the host is taken over; nothing where it is.
    ///
    /// # Errors
    /// The disk's.
    pub fn adoption_steps(&self, adoption: &Adoption) -> Result<Vec<AdoptionStep>> {
        let now = self.grub_text(&adoption.grub_config)?;
        let settled = self.fs().metadata(&self.layout().boot_settings()).is_ok()
            && self.boot_settings()? == adoption.settings
            && self.state_sector().is_ok();
        // What was written over backstop's configuration is not what the host had before.
        let has_kept = self.replaced_config()?.is_some();
        let steps = [
            (AdoptionStep::Keep, !is_static_config(&now) && !has_kept),
            (AdoptionStep::Replace, now != adoption.script),
            (AdoptionStep::Settings, !settled),
            (AdoptionStep::Publish, self.published()?.config.is_none()),
        ];
        Ok(steps
            .into_iter()
            .filter_map(|(step, left)| left.then_some(step))
            .collect())
    }

    /// Takes the host over: does what is left of it, in order. Cut off anywhere, the
    /// host boots the same deployment, and the next run goes on.
    ///
    /// # Errors
    /// That there is no boot entry, or the disk's.
    pub fn adopt(&self, adoption: &Adoption, monitor: &dyn Monitor) -> Result<ConfigId> {
        let order = self.published()?.order;
        order.check()?;
        for step in self.adoption_steps(adoption)? {
            let _lock = self.lock()?;
            match step {
                AdoptionStep::Keep => self.keep_config(&adoption.grub_config)?,
                AdoptionStep::Replace => self.replace_config(adoption)?,
                AdoptionStep::Settings => self.set_boot_settings(&adoption.settings)?,
                AdoptionStep::Publish => {}
            }
        }
        self.publish(&order, monitor)
    }

    fn keep_config(&self, grub_config: &Path) -> Result<()> {
        let from = self.path().join(grub_config);
        let to = kept_config(&from);
        let meta = self.fs().metadata(&from).doing("look at", &from)?;
        if meta.kind == FileKind::Symlink {
            let target = self
                .fs()
                .read_link(&from)
                .doing("read the symlink", &from)?;
            return Ok(durable::publish_symlink(self.fs(), &target, &to)?);
        }
        let bytes = durable::read_bounded(self.fs(), &from, LONGEST_CONFIG)?;
        let mode = meta.mode & 0o777;
        Ok(durable::publish_file(self.fs(), &to, &bytes, mode)?)
    }

    fn replace_config(&self, adoption: &Adoption) -> Result<()> {
        let path = self.path().join(&adoption.grub_config);
        Ok(durable::switch_file(
            self.fs(),
            &path,
            adoption.script.as_bytes(),
            0o644,
        )?)
    }

    /// Hands a host back that was taken over: its good deployments are published as
    /// `ostree` does, and GRUB goes by its configuration from before. Cut off anywhere,
    /// the host boots the same deployment, and the next run goes on.
    ///
    /// # Errors
    /// That a version is on trial, that the configuration from before would not find the
    /// deployments, that GRUB's configuration cannot be made, or the disk's.
    pub fn hand_back(&self, grub_config: &Path, monitor: &dyn Monitor) -> Result<()> {
        let path = self.path().join(grub_config);
        let kept = kept_config(&path);
        self.check_hand_back(grub_config, &kept)?;
        let published = self.published()?;
        {
            let _lock = self.lock()?;
            self.remove_settings()?;
        }
        if published.config.is_some() {
            let order = PlainOrder {
                deployments: published.order.good,
                ..PlainOrder::default()
            };
            self.switch_plain(&order, monitor)?;
        }
        if self.fs().metadata(&kept).is_ok() {
            self.restore_config(&path, &kept)?;
        }
        Ok(())
    }

    fn check_hand_back(&self, grub_config: &Path, kept: &Path) -> Result<()> {
        if self.published()?.order.trial.is_some() {
            return Err(Error::Order("a version is on trial: end that first"));
        }
        let ours = is_static_config(&self.grub_text(grub_config)?);
        let there = self.fs().metadata(kept);
        let invalid = |why: &str| {
            Err(Error::Invalid {
                path: kept.to_owned(),
                why: why.to_owned(),
            })
        };
        match there {
            Err(e) if e.kind() == io::ErrorKind::NotFound && !ours => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                invalid("it is not there, so nothing is known to hand the host back to")
            }
            Err(e) => Err(e).doing("look at", kept).map_err(Error::from),
            Ok(meta) => match self.follows_entries(kept, meta.kind)? {
                Follows::Directly => Ok(()),
                Follows::Generated if self.generates_grub()? => Ok(()),
                Follows::Generated => invalid(
                    "it leads to a configuration that ostree does not write here: set \
                     `[sysroot] bootloader=grub2` in ostree/repo/config",
                ),
                Follows::No => invalid(
                    "it does not go by the boot entries, so it names deployments as they were \
                     then: replace it by a symlink to ../loader/grub.cfg, or by one with blscfg",
                ),
            },
        }
    }

    fn follows_entries(&self, kept: &Path, kind: FileKind) -> Result<Follows> {
        let text = match kind {
            FileKind::Symlink => {
                let target = self.fs().read_link(kept).doing("read the symlink", kept)?;
                target.to_string_lossy().into_owned()
            }
            _ => lossy(&durable::read_bounded(self.fs(), kept, LONGEST_CONFIG)?),
        };
        Ok(match FOLLOWING.map(|word| text.contains(word)) {
            [true, _] => Follows::Directly,
            [_, true] => Follows::Generated,
            _ => Follows::No,
        })
    }

    /// The state sector and the settings; without them the default boots, as before.
    fn remove_settings(&self) -> Result<()> {
        let settings = self.layout().boot_settings();
        if self.fs().metadata(&settings).is_err() {
            return Ok(());
        }
        let sector = self.state_sector_path()?;
        if let Some(dir) = sector.parent() {
            durable::remove_tree(self.fs(), &sector)?;
            if self.fs().read_dir(dir).is_ok_and(|left| left.is_empty()) {
                durable::remove_tree(self.fs(), dir)?;
            }
        }
        Ok(durable::remove_tree(self.fs(), &settings)?)
    }

    fn restore_config(&self, path: &Path, kept: &Path) -> Result<()> {
        let fs = self.fs();
        let meta = fs.metadata(kept).doing("look at", kept)?;
        if meta.kind == FileKind::Symlink {
            let target = fs.read_link(kept).doing("read the symlink", kept)?;
            durable::switch_symlink(fs, &target, path)?;
        } else {
            let bytes = durable::read_bounded(fs, kept, LONGEST_CONFIG)?;
            durable::switch_file(fs, path, &bytes, meta.mode & 0o777)?;
        }
        Ok(durable::remove_tree(fs, kept)?)
    }

    /// Whether the boot loader goes by what backstop publishes, or there is none.
    ///
    /// # Errors
    /// The repository's settings cannot be read.
    pub fn is_taken_over(&self) -> Result<bool> {
        if self.fs().metadata(&self.layout().boot_settings()).is_ok() {
            return Ok(true);
        }
        Ok(self.grub_configs().is_empty() && !self.has_bootloader()?)
    }

    /// Refuses a host whose boot loader goes by something else than what backstop
    /// publishes: it would not boot any more.
    pub(crate) fn check_taken_over(&self) -> Result<()> {
        match self.is_taken_over()? {
            true => Ok(()),
            false => Err(Error::Order(
                "the boot loader goes by what ostree publishes here: take the host over first, \
                 by `backstop adopt`",
            )),
        }
    }

    /// The files that GRUB may go by, as distributions have them, relative to the
    /// sysroot.
    #[must_use]
    pub fn grub_configs(&self) -> Vec<PathBuf> {
        let places = ["boot/grub/grub.cfg", "boot/grub2/grub.cfg"].map(PathBuf::from);
        let there = |path: &PathBuf| self.fs().metadata(&self.path().join(path)).is_ok();
        places.into_iter().filter(there).collect()
    }

    /// Whether backstop boots this host by GRUB already.
    ///
    /// # Errors
    /// Settings that cannot be read.
    pub fn is_adopted(&self) -> Result<bool> {
        let there = self.fs().metadata(&self.layout().boot_settings()).is_ok();
        Ok(there && self.boot_settings()?.loader == Loader::Grub)
    }

    /// GRUB's configuration, relative to the sysroot, where the host was taken over and
    /// something wrote over what backstop put there, as `update-grub` does. GRUB counts
    /// no attempts then, and boots nothing on trial.
    ///
    /// # Errors
    /// The disk's.
    pub fn replaced_config(&self) -> Result<Option<PathBuf>> {
        if !self.is_adopted()? {
            return Ok(None);
        }
        for path in self.grub_configs() {
            let kept = kept_config(&self.path().join(&path));
            let was_ours = self.fs().metadata(&kept).is_ok();
            if was_ours && !is_static_config(&self.grub_text(&path)?) {
                return Ok(Some(path));
            }
        }
        Ok(None)
    }

    /// Refuses to try a version where the boot loader does not go by what backstop
    /// publishes, because the host was not taken over or GRUB's configuration was written
    /// over: neither the trial nor what is kept of it would boot.
    ///
    /// # Errors
    /// That, with what to do; or the disk's.
    pub fn check_config(&self) -> Result<()> {
        self.check_taken_over()?;
        match self.replaced_config()? {
            None => Ok(()),
            Some(path) => Err(Error::Invalid {
                path: self.path().join(path),
                why: "it is not the one that backstop put there (`update-grub` replaces it), so \
                      nothing on trial or kept would boot: `backstop adopt` puts it back"
                    .to_owned(),
            }),
        }
    }

    /// The text of GRUB's configuration; empty where there is none, or a symlink that
    /// leads nowhere.
    fn grub_text(&self, grub_config: &Path) -> Result<String> {
        let path = self.path().join(grub_config);
        match durable::read_bounded(self.fs(), &path, LONGEST_CONFIG) {
            Ok(bytes) => Ok(lossy(&bytes)),
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(e) => Err(e.into()),
        }
    }
}

/// How a configuration of GRUB's finds the deployments that count.
enum Follows {
    /// By the boot entries.
    Directly,
    /// By a file that `ostree` has generated for each publication.
    Generated,
    No,
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
