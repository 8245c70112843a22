//! `ostree log`

use super::print;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::flag;

pub const COMMAND: Command = Command {
    name: "log",
    summary: "Show a commit and those before it",
    words: "REV",
    works: Works::OnRepo,
    options: &[flag("raw", "Show the objects' values")],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let rev = cx.word(0, "A rev argument is required")?;
    let history = repo.history(&repo.resolve(&rev)?, usize::MAX)?;
    for (checksum, commit) in &history.commits {
        match cx.given.has("raw") {
            true => print::raw_commit(cx, checksum, commit)?,
            false => print::commit(cx, checksum, commit)?,
        }
    }
    if history.cut {
        writeln!(cx.out, "<< History beyond this commit not fetched >>")?;
    }
    Ok(())
}
