//! The host that is worked on, and its deployments.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use boot::KernelArgs;
use durable::RealFs;
use monitor::Silent;
use ostree::Checksum;
use sysroot::{
    BootOrder, Deployment, DeploymentId, EtcConflict, Origin, PlainOrder, StageKargs, StageRequest,
    Staged, Standing, Sysroot,
};

use crate::cx::Cx;
use crate::fail;
use crate::verbs::commit;

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

/// How long the rehearsal of a thaw may take.
const REHEARSAL: Duration = Duration::from_secs(10);

/// Where the environment asks for it (`OSTREE_SYSROOT_DEBUG`), a freeze of `/boot` whose
/// process dies is rehearsed instead of deploying.
fn rehearse_thaw(cx: &mut Cx, host: &Sysroot) -> anyhow::Result<()> {
    let asked = std::env::var("OSTREE_SYSROOT_DEBUG").unwrap_or_default();
    if !asked
        .split([',', ';', ':', ' '])
        .any(|w| w == "test-fifreeze")
    {
        return Ok(());
    }
    let boot = std::fs::File::open(host.path().join("boot"))?;
    if sys::rehearse_thaw(boot, REHEARSAL)? {
        writeln!(cx.err, "fifreeze watchdog was run")?;
    }
    fail("During fsfreeze-thaw: aborting due to test-fifreeze")
}

/// Checks a version out, puts it in the boot order, and removes what is old.
pub fn deploy(cx: &mut Cx, host: &Sysroot, wanted: Wanted, keep: Keep) -> anyhow::Result<()> {
    rehearse_thaw(cx, host)?;
    host.repo().clear_abandoned(commit::test_error())?;
    let merge = wanted.merge.as_ref().map(|d| d.id.clone());
    let request = StageRequest {
        stateroot: wanted.stateroot.clone(),
        commit: wanted.commit,
        merge_from: merge.clone(),
        origin: wanted.origin,
        kargs: wanted.kargs,
    };
    let staged = host.stage(&request, &Silent)?;
    refuse_directories(host, &staged)?;
    let old = bootable(host)?;
    let booted = host.booted_at(std::path::Path::new("/"))?;
    let is_here = |d: &Deployment| Some(&d.id) == booted.as_ref() || Some(&d.id) == merge.as_ref();
    let merged_at = old.iter().position(is_here);
    let stays = |at: usize, d: &Deployment| {
        let (before, after) = (
            merged_at.is_none_or(|m| at < m),
            merged_at.is_some_and(|m| at > m),
        );
        keep.all
            || d.id.stateroot != wanted.stateroot
            || d.origin.is_pinned()
            || is_here(d)
            || (before && keep.pending)
            || (after && keep.rollback)
    };
    let mut good = Vec::new();
    let mut place = if keep.not_default { None } else { Some(0) };
    for (at, deployment) in old.iter().enumerate() {
        if !stays(at, deployment) {
            continue;
        }
        good.push(deployment.id.clone());
        if place.is_none() && is_here(deployment) {
            place = Some(good.len());
        }
    }
    good.insert(place.unwrap_or(good.len()), staged.deployment);
    publish(cx, host, good, keep.no_cleanup)?;
    if !host.is_managed() {
        host.forget_updated(&wanted.stateroot)?;
    }
    Ok(())
}

/// Refuses a version that has a directory where the host has a file of its own, which
/// `ostree` does not merge; nothing of it stays.
fn refuse_directories(host: &Sysroot, staged: &Staged) -> anyhow::Result<()> {
    let tree = host.layout().deployment(&staged.deployment).join("usr/etc");
    let is_dir = |(path, kind): &&(PathBuf, EtcConflict)| {
        *kind == EtcConflict::TypeChanged && tree.join(path).is_dir()
    };
    let found = staged.etc.conflicts.iter().find(is_dir);
    let Some((path, _)) = found else {
        return Ok(());
    };
    host.undeploy(&staged.deployment)?;
    fail(format!(
        "Modified config file newly defaults to directory '{}', cannot merge",
        path.display()
    ))
}

/// Publishes a boot order, and removes what is in it no more.
pub fn publish(
    cx: &mut Cx,
    host: &Sysroot,
    good: Vec<DeploymentId>,
    no_cleanup: bool,
) -> anyhow::Result<()> {
    if host.is_managed() {
        if good.is_empty() {
            return fail("backstop keeps the last deployment that can boot");
        }
        let order = BootOrder {
            good,
            ..BootOrder::default()
        };
        host.publish(&order, &Silent)?;
    } else {
        let order = PlainOrder {
            deployments: good,
            ..PlainOrder::default()
        };
        publish_plain(cx, host, &order)?;
    }
    if !no_cleanup {
        host.cleanup(&[], &Silent)?;
    }
    Ok(())
}

/// Publishes on a host that is not backstop's, and says how.
fn publish_plain(cx: &mut Cx, host: &Sysroot, order: &PlainOrder) -> anyhow::Result<()> {
    let before = bootable(host)?.len();
    let switch = host.publish_plain(order, &Silent)?;
    let swapped = if switch.entries { "yes" } else { "no" };
    let sign = match order.deployments.len() < before {
        true => "-",
        false => "",
    };
    Ok(writeln!(
        cx.out,
        "Bootloader updated; bootconfig swap: {swapped}; bootversion: boot.{}.{}, deployment \
         count change: {sign}{}",
        switch.version,
        switch.sub,
        order.deployments.len().abs_diff(before)
    )?)
}

/// Gives deployments other kernel arguments in place.
pub fn set_kargs(
    cx: &mut Cx,
    host: &Sysroot,
    kargs: BTreeMap<DeploymentId, KernelArgs>,
) -> anyhow::Result<()> {
    if host.is_managed() {
        return fail(
            "backstop decides what boots here, and keeps what booted well as it was: make a new \
             deployment, by `ostree admin deploy --karg`",
        );
    }
    let deployments = bootable(host)?.into_iter().map(|d| d.id).collect();
    publish_plain(cx, host, &PlainOrder { deployments, kargs })
}

/// The arguments of the running kernel, without those that bootloaders add.
pub fn running_kargs() -> anyhow::Result<KernelArgs> {
    let line = std::fs::read_to_string("/proc/cmdline")?;
    let mut args: KernelArgs = line.trim().parse()?;
    for added in ["BOOT_IMAGE", "initrd", "ostree"] {
        args.delete(added);
    }
    Ok(args)
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
    if given.has("karg-proc-cmdline") {
        args.extend(&running_kargs()?);
    }
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
