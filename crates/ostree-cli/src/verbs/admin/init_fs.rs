//! `ostree admin init-fs`

use std::path::Path;

use durable::{Attributes, Doing};
use ostree::RepoMode;
use sysroot::Sysroot;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::flag;

pub const COMMAND: Command = Command {
    name: "init-fs",
    summary: "Make the directories of a host",
    words: "PATH",
    works: Works::OnHost,
    options: &[flag("modern", "Only /boot and /ostree")],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let path = cx.word(0, "PATH must be specified")?;
    let (fs, root) = (cx.fs(), Path::new(&path));
    if !cx.given.has("modern") {
        for (dir, mode) in [
            ("dev", 0o755),
            ("home", 0o755),
            ("proc", 0o755),
            ("run", 0o755),
            ("sys", 0o755),
            ("root", 0o700),
            ("tmp", 0o1777),
        ] {
            let dir = root.join(dir);
            durable::create_dir_all(&*fs, &dir, mode & 0o777)?;
            let attributes = Attributes {
                mode: Some(mode),
                ..Attributes::default()
            };
            fs.set_attributes(&dir, &attributes)
                .doing("set the attributes of", &dir)?;
        }
    }
    Sysroot::create(fs, root, RepoMode::Bare)?;
    Ok(())
}
