//! Taking over a host that `ostree admin` made and GRUB boots, and handing it back.
//!
//! [`plan`] looks at what is there and prints as what would be done;
//! [`AdoptPlan::apply`] does it, in steps that each leave a host that boots the same
//! deployment ([`sysroot::Adoption`]).

mod grub;
mod mounts;
mod place;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boot::grub::{StatePlace, StaticConfig, static_config};
use durable::Fs;
use monitor::Monitor;
use sysroot::{Adoption, AdoptionStep, BootSettings, DeploymentId, Loader, Sysroot, kept_config};

use crate::{Error, Result};
use place::{BootPlace, Esp};

/// The state sector, below `/boot` or the EFI system partition.
const STATE: &str = "/backstop/state";
/// Where the EFI system partition is mounted, relative to the sysroot.
const ESP_DIR: &str = "boot/efi";
/// A deployment with this publishes what `ostree` writes for the boot loader.
const REPUBLISH: &str = "usr/lib/systemd/system/backstop-republish.path";
/// What `ostree` publishes at shutdown is noted here.
const STAGED: &str = "run/ostree/staged-deployment";

/// Which host to take over, and what cannot be found out there.
#[derive(Debug, Clone, Default)]
pub struct AdoptOptions {
    /// Its sysroot.
    pub sysroot: PathBuf,
    /// The file that GRUB goes by, relative to the sysroot, where there are several.
    pub grub_config: Option<PathBuf>,
    /// The UUID of the filesystem that `/boot` will be on, for a sysroot in a directory.
    pub boot_uuid: Option<String>,
    /// Speed of a serial console for the boot loader.
    pub serial: Option<u32>,
}

/// A takeover that may be done.
#[derive(Debug, Clone)]
pub struct AdoptPlan {
    sysroot: Sysroot,
    adoption: Adoption,
    /// What is left to do.
    pub steps: Vec<AdoptionStep>,
    /// The deployments in the boot order, the default first.
    pub deployments: Vec<DeploymentId>,
    /// The default's kernel arguments.
    kargs: String,
    /// What whoever takes over must know.
    pub warnings: Vec<String>,
}

/// Looks at a host and says what taking it over would do.
///
/// # Errors
/// [`Error::Refused`] says why it cannot be taken over.
pub fn plan(fs: &Arc<dyn Fs>, options: &AdoptOptions) -> Result<AdoptPlan> {
    let sysroot = Sysroot::open(Arc::clone(fs), &options.sysroot)?;
    check_loader(&sysroot, &options.sysroot)?;
    let grub_config = grub::config(&**fs, &sysroot, options.grub_config.as_deref())?;
    let all = sysroot.deployments()?;
    let order = sysroot.published()?.order;
    let default = order
        .good
        .first()
        .and_then(|id| all.iter().find(|d| d.id == *id));
    let Some(default) = default else {
        return refuse(
            &options.sysroot,
            "it has no boot entry for a deployment: deploy a version first, by `ostree admin deploy`",
        );
    };
    let place = match &options.boot_uuid {
        Some(uuid) => BootPlace::told(uuid),
        None => BootPlace::find(&**fs, &options.sysroot)?,
    };
    let esp = match options.boot_uuid {
        Some(_) => None,
        None => Esp::find(&**fs, &options.sysroot.join(ESP_DIR))?,
    };
    grub::check_modules(&**fs, &options.sysroot, &grub_config, esp.is_some())?;
    let mut adoption = adoption(options, &grub_config, &place, esp.as_ref())?;
    adoption.settings.without_digests =
        !grub::compares_digests(&**fs, &options.sysroot, &grub_config);
    Ok(AdoptPlan {
        steps: sysroot.adoption_steps(&adoption)?,
        deployments: order.good.clone(),
        kargs: default.kargs.to_string(),
        warnings: warnings(&**fs, &sysroot, &default.id, &adoption.settings),
        adoption,
        sysroot,
    })
}

/// Refuses hosts that boot otherwise than by GRUB, or whose next boot is not known yet.
fn check_loader(sysroot: &Sysroot, root: &Path) -> Result<()> {
    let there = |path: &str| root.join(path).exists();
    if there("ostree/backstop/boot.toml") {
        let loader = sysroot.boot_settings()?.loader;
        if loader != Loader::Grub {
            let why = format!(
                "backstop boots it already, by the boot loader {}",
                loader.name()
            );
            return refuse(root, &why);
        }
    }
    grub::check_other_loaders(root)?;
    if root == Path::new("/") && there(STAGED) {
        return refuse(
            root,
            "ostree has staged a deployment and publishes it at shutdown: reboot first, or \
             remove it by `ostree admin cleanup`",
        );
    }
    Ok(())
}

fn adoption(
    options: &AdoptOptions,
    grub_config: &Path,
    place: &BootPlace,
    esp: Option<&Esp>,
) -> Result<Adoption> {
    let (state, sector) = match esp {
        Some(esp) => (
            StatePlace::Filesystem {
                uuid: esp.uuid.clone(),
                path: STATE.into(),
            },
            format!("{ESP_DIR}{STATE}"),
        ),
        None => {
            place.check_writable(&options.sysroot)?;
            (StatePlace::Boot(STATE.into()), format!("boot{STATE}"))
        }
    };
    let kept = kept_config(grub_config);
    let below_boot = kept.strip_prefix("boot").unwrap_or(&kept);
    let script = static_config(&StaticConfig {
        boot_uuid: place.uuid.clone(),
        boot_dir: place.dir.clone(),
        state,
        serial: options.serial,
        before: Some(format!("/{}", below_boot.display())),
    })?;
    Ok(Adoption {
        grub_config: grub_config.to_owned(),
        script,
        settings: BootSettings {
            state_sector: sector.into(),
            loader: Loader::Grub,
            without_digests: false,
        },
    })
}

fn warnings(
    fs: &dyn Fs,
    sysroot: &Sysroot,
    default: &DeploymentId,
    settings: &BootSettings,
) -> Vec<String> {
    let tree = sysroot.layout().deployment(default);
    let no_units = fs.metadata(&tree.join(REPUBLISH)).is_err().then(|| {
        format!(
            "the default {default} does not hold backstop's units: until a version that does is \
             booted, what `ostree` deploys boots by the configuration from before"
        )
    });
    let limits = settings.limits().iter();
    let limits = limits.map(|limit| format!("this GRUB cannot compare digests, so {limit}"));
    no_units.into_iter().chain(limits).collect()
}

impl AdoptPlan {
    /// Does what is left.
    ///
    /// # Errors
    /// The disk's. The host boots the same deployment, and the next run goes on.
    pub fn apply(&self, monitor: &dyn Monitor) -> Result<()> {
        self.sysroot.adopt(&self.adoption, monitor)?;
        Ok(())
    }

    /// What one step does, in words.
    fn tell(&self, step: AdoptionStep) -> String {
        let config = self.adoption.grub_config.display();
        match step {
            AdoptionStep::Keep => {
                let kept = kept_config(&self.adoption.grub_config);
                format!("keep /{config} as /{}", kept.display())
            }
            AdoptionStep::Replace => format!(
                "replace /{config} by one that goes by what backstop publishes, and by the kept \
                 one where that does not boot"
            ),
            AdoptionStep::Settings => format!(
                "make the state sector /{}, and write down how the host boots in \
                 /ostree/backstop/boot.toml",
                self.adoption.settings.state_sector.display()
            ),
            AdoptionStep::Publish => "publish the boot entries again, with GRUB's script".into(),
        }
    }
}

impl fmt::Display for AdoptPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = self.sysroot.path().display();
        if self.steps.is_empty() {
            return writeln!(f, "nothing to do: {root} boots by backstop's configuration");
        }
        writeln!(f, "to take over the host at {root}:")?;
        for step in &self.steps {
            writeln!(f, "  {}", self.tell(*step))?;
        }
        let mut deployments = self.deployments.iter();
        if let Some(default) = deployments.next() {
            writeln!(f, "  boots as before: {default}")?;
            writeln!(f, "    with: {}", self.kargs)?;
        }
        for other in deployments {
            writeln!(f, "  to go back to: {other}")?;
        }
        self.warnings
            .iter()
            .try_for_each(|w| writeln!(f, "  note: {w}"))
    }
}

/// Hands a host back that was taken over.
///
/// # Errors
/// [`Error::Refused`] when it was not taken over; a version on trial; a configuration
/// from before that would not find the deployments; the disk's.
pub fn undo(fs: &Arc<dyn Fs>, options: &AdoptOptions, monitor: &dyn Monitor) -> Result<()> {
    let sysroot = Sysroot::open(Arc::clone(fs), &options.sysroot)?;
    let grub_config = grub::config(&**fs, &sysroot, options.grub_config.as_deref())?;
    let kept = options.sysroot.join(kept_config(&grub_config));
    if !sysroot.is_adopted()? && fs.metadata(&kept).is_err() {
        return refuse(&options.sysroot, "backstop has not taken it over");
    }
    Ok(sysroot.hand_back(&grub_config, monitor)?)
}

fn refuse<T>(path: &Path, why: &str) -> Result<T> {
    Err(Error::Refused {
        path: path.to_owned(),
        why: why.to_owned(),
    })
}
