//! `ostree remote list`

use std::collections::BTreeMap;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::flag;

pub const COMMAND: Command = Command {
    name: "list",
    summary: "Name the repositories to pull from",
    words: "",
    works: Works::OnRepo,
    options: &[flag("show-urls", "Print where they are").short('u')],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let mut urls = BTreeMap::new();
    for remote in repo.all_remotes()? {
        urls.insert(
            remote.name().to_owned(),
            remote.url().unwrap_or("").to_owned(),
        );
    }
    let width = urls.keys().map(String::len).max().unwrap_or(0);
    for (name, url) in urls {
        match cx.given.has("show-urls") {
            true => writeln!(cx.out, "{name:<width$}  {url}")?,
            false => writeln!(cx.out, "{name}")?,
        }
    }
    Ok(())
}
