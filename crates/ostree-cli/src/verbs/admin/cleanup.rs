//! `ostree admin cleanup`

use super::host;
use crate::command::{Command, Works};
use crate::cx::Cx;

pub const COMMAND: Command = Command {
    name: "cleanup",
    summary: "Remove deployments and objects that nothing needs",
    words: "",
    works: Works::OnHost,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    host::open(cx)?.cleanup(&[], &cx.monitor())?;
    Ok(())
}
