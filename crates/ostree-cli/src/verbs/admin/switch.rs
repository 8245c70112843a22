//! `ostree admin switch`

use super::{host, upgrade};
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "switch",
    summary: "Follow another ref, and deploy what it names",
    words: "REFSPEC",
    works: Works::OnHost,
    options: &[
        flag("reboot", "Reboot into it").short('r'),
        value("os", "NAME", "The operating system"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let given = cx.word(0, "REF must be specified")?;
    let sysroot = host::open(cx)?;
    let stateroot = host::stateroot(cx, &sysroot)?;
    let Some(current) = host::merge_from(&sysroot, &stateroot)? else {
        return fail(format!("No previous deployment for OS '{stateroot}'"));
    };
    let Some(old) = current.origin.refspec().map(str::to_owned) else {
        return fail("No origin/refspec in current deployment origin");
    };
    let (old_remote, old_ref) = match old.split_once(':') {
        Some((remote, reference)) => (Some(remote), reference),
        None => (None, old.as_str()),
    };
    // `REMOTE:` keeps the ref, and a ref alone keeps the remote.
    let new = match (given.split_once(':'), old_remote) {
        (Some((remote, "")), _) => format!("{remote}:{old_ref}"),
        (Some(_), _) | (None, None) => given,
        (None, Some(remote)) => format!("{remote}:{given}"),
    };
    if new == old {
        return fail(format!("Old and new refs are equal: {new}"));
    }
    upgrade::to(cx, &sysroot, current, &new)
}
