//! `ostree remote gpg-import`

use std::path::PathBuf;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};
use crate::verbs::signing;

pub const COMMAND: Command = Command {
    name: "gpg-import",
    summary: "Trust keys of gpg for another repository",
    words: "NAME [KEY…]",
    works: Works::OnRepo,
    options: &[
        value("keyring", "FILE", "A file with keys").short('k'),
        flag("stdin", "Read keys from standard input"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let name = cx.word(0, "NAME must be specified")?;
    let repo = cx.repo()?;
    repo.remote(&name)?;
    let mut files: Vec<PathBuf> = cx
        .given
        .values("keyring")
        .iter()
        .map(PathBuf::from)
        .collect();
    if cx.given.has("stdin") {
        files.push(PathBuf::from("/dev/stdin"));
    }
    if files.is_empty() {
        let home = std::env::var_os("GNUPGHOME").map(PathBuf::from);
        let home = home.or_else(|| std::env::home_dir().map(|h| h.join(".gnupg")));
        files.extend(home.map(|h| h.join("pubring.gpg")));
    }
    let files: Vec<_> = files.iter().map(PathBuf::as_path).collect();
    let only = cx.given.rest[1..].to_vec();
    let count = repo.import_keys(&name, &files, &only)?;
    signing::imported(cx, count, &name)
}
