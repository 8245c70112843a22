//! `ostree export`

use std::path::{Path, PathBuf};

use ostree::ExportOptions;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "export",
    summary: "Write a commit as a tar archive",
    words: "COMMIT",
    works: Works::OnRepo,
    options: &[
        flag("no-xattrs", "Leave extended attributes out"),
        value("subpath", "PATH", "Only this directory"),
        value("prefix", "PATH", "What all names start with"),
        value("output", "PATH", "Where to, instead of standard output").short('o'),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let rev = cx.word(0, "A COMMIT argument is required")?;
    let commit = repo.resolve(&rev)?;
    let options = ExportOptions {
        no_xattrs: cx.given.has("no-xattrs"),
        subpath: cx.given.value("subpath").map(PathBuf::from),
        prefix: cx.given.value("prefix").unwrap_or("").to_owned(),
    };
    match cx.given.value("output").map(Path::new) {
        Some(path) => Ok(repo.export_to(&commit, path, &options)?),
        None => Ok(repo.export(&commit, cx.out, &options)?),
    }
}
