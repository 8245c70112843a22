//! `ostree remote summary`

use ostree::Metadata;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};
use crate::verbs::{signing, summary};

pub const COMMAND: Command = Command {
    name: "summary",
    summary: "Show what another repository offers",
    words: "NAME",
    works: Works::OnRepo,
    options: &[
        value("cache-dir", "DIR", "Where summaries are kept"),
        flag("raw", "Show the value"),
        value("print-metadata-key", "KEY", "Show a value of its metadata"),
        flag("list-metadata-keys", "Name the values of its metadata"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let name = cx.word(0, "NAME must be specified")?;
    let repo = cx.repo()?;
    let remote = repo.remote(&name)?;
    let verifier = signing::verifier(&repo, &remote)?;
    let connection = crate::verbs::pull::connect(cx, &repo, &remote)?;
    let Some(found) = connection.summary(&repo, &*verifier, true, &cx.monitor())? else {
        return fail("Remote server has no summary file");
    };
    summary::show(cx, &found.bytes, &found.summary)?;
    if cx.given.has("raw") || !remote.gpg_verify_summary()? {
        return Ok(());
    }
    let signatures = found.signatures.as_deref().unwrap_or_default();
    let signatures = Metadata::decode(signatures)?;
    let keyrings = repo.keyrings(Some(&name))?;
    let all = signing::gpg_signatures(keyrings, &found.bytes, &signatures)?;
    let s = if all.len() == 1 { "" } else { "s" };
    writeln!(cx.out, "found {} signature{s}:", all.len())?;
    for signature in all {
        writeln!(cx.out, "\n  {}", signature.replace('\n', "\n  "))?;
    }
    Ok(())
}
