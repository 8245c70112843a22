//! The first deployment below a physical root.

use std::path::Path;
use std::sync::Arc;

use boot::KernelArgs;
use durable::Fs;
use monitor::Monitor;
use ostree::{Checksum, PullOptions, Repo, RepoMode};
use sysroot::{
    BootOrder, BootSettings, DeploymentId, Loader, Origin, StageKargs, StageRequest, Sysroot,
};

use super::InstallPlan;
use super::write::{ESP_DIR, STATE_ON_ESP, fstab_line};
use crate::Result;

/// Where the state sector is without an ESP, relative to the physical root.
const STATE_IN_BOOT: &str = "boot/backstop/state";

/// Makes a sysroot in `dir` with the wanted version as its only deployment.
pub(super) fn first(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    plan: &InstallPlan,
    monitor: &dyn Monitor,
) -> Result<DeploymentId> {
    let options = &plan.options;
    // Bare repositories keep owners, which takes root; others keep them aside.
    let mode = match rustix::process::geteuid().is_root() {
        true => RepoMode::Bare,
        false => RepoMode::BareUser,
    };
    let sysroot = Sysroot::create(Arc::clone(fs), dir, mode)?;
    sysroot.add_stateroot(&options.stateroot)?;
    let commit = fetch(fs, &sysroot, plan, monitor)?;
    sysroot.set_boot_settings(&settings(plan))?;
    let request = StageRequest {
        stateroot: options.stateroot.clone(),
        commit,
        merge_from: None,
        origin: plan.refspec().map(Origin::following).unwrap_or_default(),
        kargs: StageKargs::Local(kargs(plan)?),
    };
    let deployment = sysroot.stage(&request, monitor)?.deployment;
    mount_esp(&**fs, &sysroot, &deployment, plan)?;
    let order = BootOrder {
        good: vec![deployment.clone()],
        ..BootOrder::default()
    };
    sysroot.publish(&order, monitor)?;
    Ok(deployment)
}

/// Brings the version into the sysroot's own repository.
fn fetch(
    fs: &Arc<dyn Fs>,
    sysroot: &Sysroot,
    plan: &InstallPlan,
    monitor: &dyn Monitor,
) -> Result<Checksum> {
    let from = Repo::open(Arc::clone(fs), &plan.options.repo)?;
    let commit = from.resolve(&plan.options.rev)?;
    let pull = PullOptions {
        depth: Some(0),
        ..PullOptions::default()
    };
    let what = [commit.to_string()];
    sysroot.repo().pull_local(&from, &what, &pull, monitor)?;
    if let Some(name) = plan.refspec() {
        sysroot.repo().set_ref(name, Some(&commit))?;
    }
    Ok(commit)
}

fn settings(plan: &InstallPlan) -> BootSettings {
    match plan.identity {
        Some(_) => BootSettings {
            state_sector: format!("{ESP_DIR}{STATE_ON_ESP}").into(),
            loader: plan.options.loader,
            without_digests: false,
        },
        None => BootSettings {
            state_sector: STATE_IN_BOOT.into(),
            loader: Loader::None,
            without_digests: false,
        },
    }
}

fn kargs(plan: &InstallPlan) -> Result<KernelArgs> {
    Ok(plan.kargs().join(" ").parse()?)
}

/// Adds the ESP to the deployment's `fstab`: a change local to this host, which
/// upgrades carry over.
fn mount_esp(
    fs: &dyn Fs,
    sysroot: &Sysroot,
    deployment: &DeploymentId,
    plan: &InstallPlan,
) -> Result<()> {
    let Some(identity) = &plan.identity else {
        return Ok(());
    };
    let fstab = sysroot.layout().deployment(deployment).join("etc/fstab");
    let mut text = match fs.metadata(&fstab) {
        Ok(_) => durable::read_to_string(fs, &fstab)?,
        Err(_) => String::new(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&fstab_line(identity));
    Ok(durable::publish_file(fs, &fstab, text.as_bytes(), 0o644)?)
}
