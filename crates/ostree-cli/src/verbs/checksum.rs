//! `ostree checksum`

use std::path::PathBuf;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::flag;

pub const COMMAND: Command = Command {
    name: "checksum",
    summary: "Print the checksum that a file would have in a repository",
    words: "PATH",
    works: Works::Alone,
    options: &[flag("ignore-xattrs", "As if it had no extended attributes")],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let path = PathBuf::from(cx.word(0, "A filename must be given")?);
    let fs = cx.fs();
    let checksum = ostree::checksum_of(&*fs, &path, cx.given.has("ignore-xattrs"))?;
    Ok(writeln!(cx.out, "{checksum}")?)
}
