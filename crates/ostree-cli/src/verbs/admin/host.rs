//! The host that is worked on, and its deployments.

use std::path::PathBuf;
use std::sync::Arc;

use boot::KernelArgs;
use durable::RealFs;
use monitor::Silent;
use ostree::Checksum;
use sysroot::{BootOrder, Deployment, Origin, StageKargs, StageRequest, Standing, Sysroot};

use crate::cx::Cx;
use crate::fail;

/// Where the host is: the option, the environment, or this machine.
pub fn path(cx: &Cx) -> PathBuf {
    let named = cx.given.value("sysroot").map(PathBuf::from);
    let set = || std::env::var_os("OSTREE_SYSROOT").map(PathBuf::from);
    named.or_else(set).unwrap_or_else(|| PathBuf::from("/"))
}

/// Opens it.
pub fn open(cx: &Cx) -> anyhow::Result<Sysroot> {
    Ok(Sysroot::open(Arc::new(RealFs), &path(cx))?)
}

/// The deployments that can boot, the default first.
pub fn bootable(host: &Sysroot) -> anyhow::Result<Vec<Deployment>> {
    let all = host.deployments()?;
    Ok(all
        .into_iter()
        .filter(|d| matches!(d.standing, Standing::Good(_)))
        .collect())
}

/// The operating system that is meant: the named one, that which runs, or the
/// default's.
pub fn stateroot(cx: &Cx, host: &Sysroot) -> anyhow::Result<String> {
    if let Some(name) = cx.given.value("os").or(cx.given.value("stateroot")) {
        return Ok(name.to_owned());
    }
    if let Some(running) = host.booted_at(std::path::Path::new("/"))? {
        return Ok(running.stateroot);
    }
    match bootable(host)?.first() {
        Some(first) => Ok(first.id.stateroot.clone()),
        None => fail("Not currently booted into an OSTree system, and no --os given"),
    }
}

/// The deployment whose settings a new one of an operating system goes on with.
pub fn merge_from(host: &Sysroot, stateroot: &str) -> anyhow::Result<Option<Deployment>> {
    Ok(bootable(host)?
        .into_iter()
        .find(|d| d.id.stateroot == stateroot))
}

/// Which deployments stay besides the new one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keep {
    /// All.
    pub all: bool,
    /// Those before the one that is merged from.
    pub pending: bool,
    /// Those after it.
    pub rollback: bool,
    /// The new one is not the default.
    pub not_default: bool,
    /// Nothing is removed.
    pub no_cleanup: bool,
}

/// What is to be deployed.
#[derive(Debug)]
pub struct Wanted {
    /// For which operating system.
    pub stateroot: String,
    /// The version.
    pub commit: Checksum,
    /// Where it comes from.
    pub origin: Origin,
    /// Its kernel arguments.
    pub kargs: StageKargs,
    /// Whose `/etc` it goes on with.
    pub merge: Option<Deployment>,
}

/// Checks a version out, puts it in the boot order, and removes what is old.
pub fn deploy(host: &Sysroot, wanted: Wanted, keep: Keep) -> anyhow::Result<()> {
    let merge = wanted.merge.as_ref().map(|d| d.id.clone());
    let request = StageRequest {
        stateroot: wanted.stateroot.clone(),
        commit: wanted.commit,
        merge_from: merge.clone(),
        origin: wanted.origin,
        kargs: wanted.kargs,
    };
    let staged = host.stage(&request, &Silent)?;
    let old = bootable(host)?;
    let merged_at = merge.and_then(|m| old.iter().position(|d| d.id == m));
    let stays = |at: usize, d: &Deployment| {
        keep.all
            || d.id.stateroot != wanted.stateroot
            || d.origin.is_pinned()
            || merged_at
                .is_none_or(|m| at == m || (at < m && keep.pending) || (at > m && keep.rollback))
    };
    let kept = old.iter().enumerate().filter(|(at, d)| stays(*at, d));
    let mut good: Vec<_> = kept.map(|(_, d)| d.id.clone()).collect();
    let place = usize::from(keep.not_default && !good.is_empty());
    good.insert(place, staged.deployment);
    publish(host, good, keep.no_cleanup)
}

/// Publishes a boot order, and removes what is in it no more.
pub fn publish(
    host: &Sysroot,
    good: Vec<sysroot::DeploymentId>,
    no_cleanup: bool,
) -> anyhow::Result<()> {
    let order = BootOrder {
        good,
        ..BootOrder::default()
    };
    host.publish(&order, &Silent)?;
    if !no_cleanup {
        host.cleanup(&[], &Silent)?;
    }
    Ok(())
}

/// The kernel arguments that the options make of those before.
pub fn kargs(cx: &Cx, merge: Option<&Deployment>) -> anyhow::Result<StageKargs> {
    let given = &cx.given;
    let options = [
        "karg",
        "karg-append",
        "karg-delete",
        "karg-none",
        "karg-proc-cmdline",
    ];
    if !options.iter().any(|o| given.has(o)) {
        return Ok(match merge {
            Some(_) => StageKargs::CarryOver,
            None => StageKargs::Local(KernelArgs::new()),
        });
    }
    let mut args = match merge {
        Some(merge) if !given.has("karg-none") => merge.kargs.clone(),
        _ => KernelArgs::new(),
    };
    for (option, value) in given.all() {
        match (option, value) {
            ("karg", Some(arg)) => args.replace(arg)?,
            ("karg-append", Some(arg)) => args.append(arg)?,
            ("karg-delete", Some(arg)) if args.delete(arg) == 0 => {
                return fail(format!("No karg '{arg}' found"));
            }
            _ => {}
        }
    }
    Ok(StageKargs::Exactly(args))
}
