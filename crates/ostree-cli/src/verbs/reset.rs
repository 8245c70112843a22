//! `ostree reset`

use crate::command::{Command, Works};
use crate::cx::Cx;

pub const COMMAND: Command = Command {
    name: "reset",
    summary: "Point a ref to another commit",
    words: "REF COMMIT",
    works: Works::OnRepo,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let missing = "A ref and commit argument is required";
    let (name, rev) = (cx.word(0, missing)?, cx.word(1, missing)?);
    repo.resolve(&name)?;
    let target = repo.resolve(&rev)?;
    repo.set_ref(&name, Some(&target))?;
    super::summary::update_after_ref(&repo)
}
