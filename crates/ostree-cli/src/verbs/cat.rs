//! `ostree cat`

use std::path::PathBuf;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;

pub const COMMAND: Command = Command {
    name: "cat",
    summary: "Print files of a commit",
    words: "COMMIT PATH…",
    works: Works::OnRepo,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    if cx.given.rest.len() < 2 {
        return fail("A COMMIT and at least one PATH argument are required");
    }
    let commit = repo.resolve(&cx.given.rest[0])?;
    for path in &cx.given.rest[1..] {
        let path = PathBuf::from(path);
        match repo.copy_file(&commit, &path, cx.out) {
            Err(ostree::Error::WrongKind { .. }) => {
                return fail(format!("Can't open directory {}", path.display()));
            }
            other => other??,
        }
    }
    Ok(())
}
