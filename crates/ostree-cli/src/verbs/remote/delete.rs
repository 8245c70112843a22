//! `ostree remote delete`

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "delete",
    summary: "Forget another repository",
    words: "NAME",
    works: Works::OnRepo,
    options: &[
        flag("if-exists", "Do nothing where there is none of the name"),
        value("sysroot", "PATH", "The host whose repository it is for"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let name = cx.word(0, "NAME must be specified")?;
    let repo = cx.repo_or_host()?;
    match repo.delete_remote(&name)? {
        false if !cx.given.has("if-exists") => fail(format!("Remote \"{name}\" not found")),
        _ => Ok(()),
    }
}
