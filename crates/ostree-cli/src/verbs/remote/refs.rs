//! `ostree remote refs`

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};
use crate::verbs::signing;

pub const COMMAND: Command = Command {
    name: "refs",
    summary: "List the refs of another repository",
    words: "NAME",
    works: Works::OnRepo,
    options: &[
        value("cache-dir", "DIR", "Where summaries are kept"),
        flag("revision", "Print what they point to").short('r'),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let name = cx.word(0, "NAME must be specified")?;
    let repo = cx.repo()?;
    let remote = repo.remote(&name)?;
    remote.address()?;
    let verifier = signing::verifier(&repo, &remote)?;
    let connection = crate::verbs::pull::connect(cx, &repo, &remote)?;
    let summary = connection.summary(&repo, &*verifier, true, &cx.monitor())?;
    let summary = summary.as_ref().map(|s| &s.summary);
    let Some(refs) = connection.refs_of(summary)? else {
        return fail("Remote refs not available; server has no summary file");
    };
    for (found, checksum) in refs {
        match cx.given.has("revision") {
            true => writeln!(cx.out, "{name}:{found}\t{checksum}")?,
            false => writeln!(cx.out, "{name}:{found}")?,
        }
    }
    Ok(())
}
