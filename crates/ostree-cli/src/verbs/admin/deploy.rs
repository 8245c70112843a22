//! `ostree admin deploy`

use super::host::{self, Keep, Wanted};
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};
use sysroot::Origin;

pub const COMMAND: Command = Command {
    name: "deploy",
    summary: "Check a version out and make it the default",
    words: "REFSPEC",
    works: Works::OnHost,
    options: &[
        value("os", "NAME", "The operating system whose state it shares"),
        value("stateroot", "NAME", "The same"),
        value("origin-file", "FILE", "Where it comes from"),
        flag("no-prune", "Remove nothing"),
        flag("no-merge", "Begin with the /etc and arguments of the image"),
        flag("retain", "Keep all deployments"),
        flag("stage", "Finish at shutdown"),
        flag(
            "retain-pending",
            "Keep deployments that have not booted yet",
        ),
        flag("retain-rollback", "Keep deployments to go back to"),
        flag("not-as-default", "Leave the default as it is"),
        flag(
            "karg-proc-cmdline",
            "Take the arguments of the running kernel",
        ),
        value("karg", "NAME=VALUE", "Set a kernel argument"),
        value("karg-append", "NAME=VALUE", "Add a kernel argument"),
        flag("karg-none", "Begin without kernel arguments"),
        value("karg-delete", "NAME=VALUE", "Remove a kernel argument"),
        value("overlay-initrd", "FILE", "Another initramfs"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let refspec = cx.word(0, "REF/REV must be specified")?;
    let sysroot = host::open(cx)?;
    if cx.given.has("stage") && sysroot.booted_at(std::path::Path::new("/"))?.is_none() {
        return fail("Cannot stage deployment: Not currently booted into an OSTree system");
    }
    cx.refuse(&["stage", "overlay-initrd"])?;
    let stateroot = host::stateroot(cx, &sysroot)?;
    let commit = sysroot.repo().resolve(&refspec)?;
    let merge = match cx.given.has("no-merge") {
        true => None,
        false => host::merge_from(&sysroot, &stateroot)?,
    };
    let wanted = Wanted {
        kargs: host::kargs(cx, merge.as_ref())?,
        stateroot,
        commit,
        origin: match cx.given.value("origin-file") {
            Some(file) => Origin::read(std::path::Path::new(file))?,
            None => Origin::following(&refspec),
        },
        merge,
    };
    let has = |option| cx.given.has(option);
    let keep = Keep {
        all: has("retain"),
        pending: has("retain-pending"),
        rollback: has("retain-rollback"),
        not_default: has("not-as-default"),
        no_cleanup: has("no-prune"),
    };
    host::deploy(cx, &sysroot, wanted, keep)
}
