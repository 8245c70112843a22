//! A deployment's kernel arguments: those of its image and those of this host, and
//! changing them without a new deployment.

use boot::{ConfigId, KernelArgs};
use monitor::Monitor;

use crate::deployment::DeploymentId;
use crate::order::{BootOrder, TrialEntry};
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// Where a deployment's kernel arguments come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KargsSources {
    /// The image's defaults.
    pub image: KernelArgs,
    /// What this host adds.
    pub added: KernelArgs,
    /// Defaults that this host leaves out.
    pub removed: KernelArgs,
    /// All that its kernel is started with, save for `ostree=`.
    pub effective: KernelArgs,
}

impl Sysroot {
    /// A deployment's kernel arguments by where they come from.
    ///
    /// # Errors
    /// It is not there, or the disk's.
    pub fn kargs_of(&self, id: &DeploymentId) -> Result<KargsSources> {
        let effective = self.deployment(id)?.kargs;
        let image = self.image_kargs(&self.layout().deployment(id))?;
        Ok(KargsSources {
            added: effective.without(&image),
            removed: image.without(&effective),
            image,
            effective,
        })
    }

    /// Changes the kernel arguments of a deployment from the next start on, by a
    /// publication of the same boot order.
    ///
    /// # Errors
    /// A version is on trial; or as [`publish`](Self::publish): then they are as before.
    pub fn set_kargs(
        &self,
        id: &DeploymentId,
        kargs: &KernelArgs,
        monitor: &dyn Monitor,
    ) -> Result<ConfigId> {
        let order = self.order_without_trial()?;
        self.publish_kargs(&order, (id, kargs), monitor)
    }

    /// Publishes a boot order in which one deployment has these kernel arguments from now
    /// on.
    ///
    /// # Errors
    /// As [`publish`](Self::publish): then they are as before.
    pub fn publish_kargs(
        &self,
        order: &BootOrder,
        (id, kargs): (&DeploymentId, &KernelArgs),
        monitor: &dyn Monitor,
    ) -> Result<ConfigId> {
        let config = self.publish_with(order, Some((id, kargs)), monitor)?;
        let mut origin = self.origin(id)?;
        origin.set_kargs(kargs);
        self.write_origin(id, &origin)?;
        Ok(config)
    }

    /// Lets a deployment be booted once with these arguments, in the place of its own. The
    /// default stays, with the arguments it has.
    ///
    /// # Errors
    /// No arguments at all; or as [`set_kargs`](Self::set_kargs).
    pub fn try_kargs(
        &self,
        id: &DeploymentId,
        own: &KernelArgs,
        monitor: &dyn Monitor,
    ) -> Result<ConfigId> {
        if own.is_empty() {
            return Err(Error::Order("a trial without any kernel argument"));
        }
        let mut order = self.order_without_trial()?;
        order.trial = Some(TrialEntry {
            deployment: id.clone(),
            attempts: 1,
            kargs: own.clone(),
        });
        self.publish(&order, monitor)
    }

    /// What is published, unless it is being tried. A trial that is over does not count.
    fn order_without_trial(&self) -> Result<BootOrder> {
        let mut order = self.published()?.order;
        let waits = self.state_sector().is_ok_and(|sector| sector.left > 0);
        if order.trial.is_some() && waits {
            return Err(Error::Order("a version is on trial in it"));
        }
        order.trial = None;
        Ok(order)
    }
}
