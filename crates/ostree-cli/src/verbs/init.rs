//! `ostree init`

use ostree::{Repo, RepoMode};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::value;

pub const COMMAND: Command = Command {
    name: "init",
    summary: "Make a repository",
    words: "",
    works: Works::OnRepo,
    options: &[
        value("mode", "MODE", "bare, bare-user, bare-user-only or archive"),
        value(
            "collection-id",
            "ID",
            "The collection that its refs belong to",
        ),
    ],
    run,
};

fn mode(word: &str) -> anyhow::Result<RepoMode> {
    Ok(match word {
        "bare" => RepoMode::Bare,
        "bare-user" => RepoMode::BareUser,
        "bare-user-only" => RepoMode::BareUserOnly,
        "archive" | "archive-z2" => RepoMode::Archive,
        other => {
            return fail(format!(
                "Invalid mode '{other}' in repository configuration"
            ));
        }
    })
}

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let path = cx.repo_path()?;
    let mode = mode(cx.given.value("mode").unwrap_or("bare"))?;
    // One that is there stays as it is.
    let repo = match Repo::open(cx.fs(), &path) {
        Ok(there) => Repo::create(cx.fs(), &path, there.mode())?,
        Err(_) => Repo::create(cx.fs(), &path, mode)?,
    };
    if let Some(id) = cx.given.value("collection-id") {
        repo.set_config("core", "collection-id", Some(id))?;
    }
    Ok(())
}
