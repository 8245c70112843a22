//! `ostree rev-parse`

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::flag;

pub const COMMAND: Command = Command {
    name: "rev-parse",
    summary: "Print the checksums that revisions stand for",
    words: "REV…",
    works: Works::OnRepo,
    options: &[flag("single", "The only commit there is").short('S')],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    if cx.given.has("single") {
        if !cx.given.rest.is_empty() {
            return fail("Cannot specify arguments with --single");
        }
        let commits = repo.commits()?;
        return match commits.as_slice() {
            [] => fail("No commit objects found"),
            [one] => Ok(writeln!(cx.out, "{one}")?),
            _ => fail("Multiple commit objects found"),
        };
    }
    cx.word(0, "REV must be specified")?;
    for rev in &cx.given.rest {
        writeln!(cx.out, "{}", repo.resolve(rev)?)?;
    }
    Ok(())
}
