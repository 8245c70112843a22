//! `ostree admin status`

use std::path::Path;

use ostree::{ObjectKind, ObjectName};
use sysroot::{Deployment, Sysroot};

use super::host;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::flag;
use crate::verbs::signing;

pub const COMMAND: Command = Command {
    name: "status",
    summary: "List deployments",
    words: "",
    works: Works::OnHost,
    options: &[flag("verify", "Show signatures").short('V')],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let sysroot = host::open(cx)?;
    let booted = sysroot.booted_at(Path::new("/"))?;
    let all = host::bootable(&sysroot)?;
    if all.is_empty() {
        writeln!(cx.out, "No deployments.")?;
    }
    let booted_at = booted.and_then(|b| all.iter().position(|d| d.id == b));
    for (at, deployment) in all.iter().enumerate() {
        let id = &deployment.id;
        let (mark, note) = match booted_at {
            Some(b) if b == at => ('*', ""),
            Some(b) if at < b => (' ', " (pending)"),
            Some(b) if at == b + 1 => (' ', " (rollback)"),
            _ => (' ', ""),
        };
        writeln!(
            cx.out,
            "{mark} {} {}.{}{note}",
            id.stateroot, id.checksum, id.serial
        )?;
        if let Ok(commit) = sysroot.repo().load_commit(&id.checksum) {
            if let Some(version) = commit.version() {
                writeln!(cx.out, "    Version: {version}")?;
            }
            let title = commit
                .metadata
                .get("ostree.source-title")
                .and_then(|v| v.as_text());
            if let Some(title) = title {
                writeln!(cx.out, "    `- {title}")?;
            }
        }
        if deployment.origin.is_pinned() {
            writeln!(cx.out, "    Pinned: yes")?;
        }
        match deployment.origin.refspec() {
            Some(refspec) => writeln!(cx.out, "    origin refspec: {refspec}")?,
            None => writeln!(cx.out, "    origin: <unknown origin type>")?,
        }
        if let Some(why) = deployment.origin.unconfigured_state() {
            writeln!(cx.out, "    origin unconfigured-state: {why}")?;
        }
        signatures(cx, &sysroot, deployment)?;
    }
    Ok(())
}

/// Who signed a deployment's version, where its remote demands that.
fn signatures(cx: &mut Cx, sysroot: &Sysroot, deployment: &Deployment) -> anyhow::Result<()> {
    let repo = sysroot.repo();
    let refspec = deployment.origin.refspec();
    let Some((name, _)) = refspec.and_then(|r| r.split_once(':')) else {
        return Ok(());
    };
    let demanded = repo
        .remote(name)
        .is_ok_and(|r| r.gpg_verify().unwrap_or(true));
    if !demanded && !cx.given.has("verify") {
        return Ok(());
    }
    let commit = deployment.id.checksum;
    let Some(detached) = repo.detached_metadata(&commit)? else {
        return Ok(());
    };
    let object = ObjectName::new(commit, ObjectKind::Commit);
    let keyrings = repo.keyrings(Some(name))?;
    let all = signing::gpg_signatures(keyrings, &repo.object_bytes(&object)?, &detached)?;
    for line in all.iter().flat_map(|text| text.lines()) {
        writeln!(cx.out, "    GPG: {line}")?;
    }
    Ok(())
}

/// Prints where the default deployment is.
pub fn current_dir(cx: &mut Cx) -> anyhow::Result<()> {
    let sysroot = host::open(cx)?;
    let booted = sysroot.booted_at(Path::new("/"))?;
    let first = host::bootable(&sysroot)?.into_iter().next().map(|d| d.id);
    let Some(id) = booted.or(first) else {
        return fail("Unable to find a deployment in sysroot");
    };
    let path = sysroot.layout().deployment(&id).canonicalize()?;
    Ok(writeln!(cx.out, "{}", path.display())?)
}
