//! `ostree admin upgrade`

use ostree::Checksum;
use sysroot::{Deployment, Origin, StageKargs, Sysroot};

use super::host::{self, Keep, Wanted};
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};
use crate::{date, fail};

pub const COMMAND: Command = Command {
    name: "upgrade",
    summary: "Fetch and deploy the newest version of what is followed",
    words: "",
    works: Works::OnHost,
    options: &[
        value("os", "NAME", "The operating system"),
        flag("reboot", "Reboot into it").short('r'),
        flag("allow-downgrade", "Accept older versions"),
        value(
            "override-commit",
            "CHECKSUM",
            "This version, not the newest",
        ),
        flag("pull-only", "Only fetch it"),
        flag("deploy-only", "Only deploy it"),
        flag("stage", "Finish at shutdown"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let sysroot = host::open(cx)?;
    let staged = cx.given.has("stage") || std::env::var_os("OSTREE_EX_STAGE_DEPLOYMENTS").is_some();
    if staged && sysroot.booted_at(std::path::Path::new("/"))?.is_none() {
        return fail("Cannot stage deployment: Not currently booted into an OSTree system");
    }
    let stateroot = host::stateroot(cx, &sysroot)?;
    let Some(current) = host::merge_from(&sysroot, &stateroot)? else {
        return fail(format!("No previous deployment for OS '{stateroot}'"));
    };
    if let Some(why) = current.origin.unconfigured_state() {
        return fail(format!("origin unconfigured-state: {why}"));
    }
    let Some(refspec) = current.origin.refspec().map(str::to_owned) else {
        return fail("No origin/refspec in current deployment origin; cannot upgrade via ostree");
    };
    to(cx, &sysroot, current, &refspec)
}

/// Fetches what a refspec names and deploys it after `current`.
pub fn to(cx: &mut Cx, host: &Sysroot, current: Deployment, refspec: &str) -> anyhow::Result<()> {
    let wanted = cx.given.value("override-commit").map(str::to_owned);
    // What is older than what is deployed is not even fetched.
    let follows_it = current.origin.refspec() == Some(refspec);
    let floor = (follows_it && !cx.given.has("allow-downgrade")).then_some(&current.id.checksum);
    if !cx.given.has("deploy-only") {
        fetch(host, refspec, wanted.as_deref(), floor)?;
    }
    let mut refspec = refspec.to_owned();
    let mut commit: Checksum = match &wanted {
        Some(checksum) => host.repo().resolve(checksum)?,
        None => host.repo().resolve(&refspec)?,
    };
    let text = |commit: &Checksum, key: &str| -> anyhow::Result<Option<String>> {
        let commit = host.repo().load_commit(commit)?;
        Ok(commit
            .metadata
            .get(key)
            .and_then(|v| v.as_text())
            .map(str::to_owned))
    };
    if let Some(next) = text(&commit, "ostree.endoflife-rebase")? {
        refspec = match refspec.split_once(':') {
            Some((remote, _)) => format!("{remote}:{next}"),
            None => next,
        };
        if !cx.given.has("deploy-only") {
            fetch(host, &refspec, None, None)?;
        }
        commit = host.repo().resolve(&refspec)?;
    }
    let follows_it = current.origin.refspec() == Some(refspec.as_str());
    if commit == current.id.checksum && follows_it {
        return Ok(writeln!(cx.out, "No update available.")?);
    }
    if !cx.given.has("allow-downgrade") && follows_it {
        refuse_older(host, &current.id.checksum, &commit)?;
    }
    if cx.given.has("pull-only") {
        return Ok(());
    }
    let origin = match follows_it {
        true => current.origin.for_another(),
        false => Origin::following(&refspec),
    };
    let wanted = Wanted {
        stateroot: current.id.stateroot.clone(),
        commit,
        origin,
        kargs: StageKargs::CarryOver,
        merge: Some(current),
    };
    host::deploy(cx, host, wanted, Keep::default())
}

/// Pulls a ref of a remote; one of the repository's own is there.
fn fetch(
    host: &Sysroot,
    refspec: &str,
    commit: Option<&str>,
    floor: Option<&Checksum>,
) -> anyhow::Result<()> {
    let Some((name, reference)) = refspec.split_once(':') else {
        return Ok(());
    };
    let repo = host.repo();
    let remote = repo.remote(name)?;
    if let Some(why) = remote.unconfigured_state() {
        return fail(format!("remote unconfigured-state: {why}"));
    }
    let refs = match commit {
        Some(commit) => vec![format!("{reference}@{commit}")],
        None => vec![reference.to_owned()],
    };
    let options = ::fetch::PullOptions {
        refs,
        older_summary: true,
        timestamp_check_from: floor.map(ToString::to_string),
        ..::fetch::PullOptions::default()
    };
    let verifier = crate::verbs::signing::verifier(repo, &remote)?;
    crate::verbs::pull::pull(repo, &remote, &options, &*verifier)?;
    Ok(())
}

fn refuse_older(host: &Sysroot, from: &Checksum, to: &Checksum) -> anyhow::Result<()> {
    let time = |commit: &Checksum| host.repo().load_commit(commit).map(|c| c.timestamp);
    let (old, new) = (time(from)?, time(to)?);
    if new >= old {
        return Ok(());
    }
    fail(format!(
        "Upgrade target revision '{to}' with timestamp '{}' is chronologically older than current \
         revision '{from}' with timestamp '{}'; use --allow-downgrade to permit",
        date::shown(new),
        date::shown(old)
    ))
}
