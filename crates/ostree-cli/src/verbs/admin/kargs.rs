//! `ostree admin kargs edit-in-place` and `ostree admin instutil set-kargs`

use std::collections::BTreeMap;

use boot::KernelArgs;

use super::host;
use crate::command::{Command, Node, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

/// What `admin kargs` can do.
pub const ALL: &[Node] = &[Node::One(&EDIT)];
/// What `admin instutil` can do.
pub const INSTUTIL: &[Node] = &[Node::One(&SET)];

const EDIT: Command = Command {
    name: "edit-in-place",
    summary: "Change the kernel arguments of all deployments",
    words: "",
    works: Works::OnHost,
    options: &[value(
        "append-if-missing",
        "NAME=VALUE",
        "Add an argument where it is not there",
    )],
    run: edit,
};

const SET: Command = Command {
    name: "set-kargs",
    summary: "Set the kernel arguments of the default deployment",
    words: "[NAME=VALUE…]",
    works: Works::OnHost,
    options: &[
        flag(
            "import-proc-cmdline",
            "Begin with those of the running kernel",
        ),
        flag("merge", "Begin with those it has"),
        value("replace", "NAME=VALUE", "Set an argument"),
        value("append", "NAME=VALUE", "Add an argument"),
    ],
    run: set,
};

fn edit(cx: &mut Cx) -> anyhow::Result<()> {
    let sysroot = host::open(cx)?;
    let mut all = BTreeMap::new();
    for deployment in host::bootable(&sysroot)? {
        let mut args = deployment.kargs;
        for arg in cx.given.values("append-if-missing") {
            if !args.contains(arg) {
                args.append(arg)?;
            }
        }
        all.insert(deployment.id, args);
    }
    host::set_kargs(cx, &sysroot, all)
}

fn set(cx: &mut Cx) -> anyhow::Result<()> {
    let sysroot = host::open(cx)?;
    let Some(first) = host::bootable(&sysroot)?.into_iter().next() else {
        return fail("Unable to find a pending deployment");
    };
    let mut args = match cx.given.has("merge") {
        true => first.kargs,
        false => KernelArgs::new(),
    };
    if cx.given.has("import-proc-cmdline") {
        args.extend(&host::running_kargs()?);
    }
    for arg in cx.given.values("replace") {
        args.replace(arg)?;
    }
    for arg in cx.given.values("append") {
        args.append(arg)?;
    }
    for arg in &cx.given.rest {
        args.append(arg)?;
    }
    host::set_kargs(cx, &sysroot, BTreeMap::from([(first.id, args)]))
}
