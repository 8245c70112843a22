//! `ostree remote show-url`

use crate::command::{Command, Works};
use crate::cx::Cx;

pub const COMMAND: Command = Command {
    name: "show-url",
    summary: "Print where another repository is",
    words: "NAME",
    works: Works::OnRepo,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let name = cx.word(0, "NAME must be specified")?;
    let remote = cx.repo()?.remote(&name)?;
    Ok(writeln!(cx.out, "{}", remote.url()?)?)
}
