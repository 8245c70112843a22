//! `ostree admin status`

use std::path::Path;

use super::host;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::flag;

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
