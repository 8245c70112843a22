//! `ostree admin os-init`

use super::host;
use crate::command::{Command, Works};
use crate::cx::Cx;

pub const COMMAND: Command = Command {
    name: "os-init",
    summary: "Make the state of an operating system",
    words: "NAME",
    works: Works::OnHost,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let name = cx.word(0, "OSNAME must be specified")?;
    host::open(cx)?.add_stateroot(&name)?;
    Ok(writeln!(
        cx.out,
        "ostree/deploy/{name} initialized as OSTree root"
    )?)
}
