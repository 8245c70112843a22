//! `ostree pull-local`

use std::path::PathBuf;

use ostree::{PullFiles, PullOptions};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "pull-local",
    summary: "Copy commits from another repository",
    words: "SRC_REPO [REFS…]",
    works: Works::OnRepo,
    options: &[
        flag("commit-metadata-only", "Only the commits themselves"),
        value("remote", "REMOTE", "File the refs under this remote"),
        flag("disable-fsync", "Don't wait for the disk"),
        flag("per-object-fsync", "Wait for the disk after each object"),
        flag("untrusted", "Check what is copied"),
        flag("bareuseronly-files", "Refuse modes that could do harm"),
        flag("require-static-deltas", "Use deltas only"),
        flag("disable-static-deltas", "Use no deltas"),
        flag("gpg-verify", "Check the signatures of commits"),
        flag("gpg-verify-summary", "Check the signature of the summary"),
        flag(
            "disable-verify-bindings",
            "Don't check which refs commits belong to",
        ),
        value("depth", "N", "How many commits before come along; -1: all"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    cx.refuse(&["gpg-verify", "gpg-verify-summary", "require-static-deltas"])?;
    let repo = cx.repo()?;
    let repo = match cx.given.has("disable-fsync") {
        true => repo.unsynced(),
        false => repo,
    };
    let source = PathBuf::from(cx.word(0, "SRC_REPO must be specified")?);
    let from = cx.open(&source)?;
    let mut what = cx.given.rest[1..].to_vec();
    if what.is_empty() {
        what = from
            .refs(None)?
            .into_keys()
            .filter(|name| !name.contains(':'))
            .collect();
    }
    let options = PullOptions {
        remote: cx.given.value("remote").map(str::to_owned),
        depth: u32::try_from(cx.given.number::<i64>("depth")?.unwrap_or(0)).ok(),
        files: match cx.given.has("untrusted") {
            true => PullFiles::Verified,
            false => PullFiles::TrustedLinks,
        },
        commits_only: cx.given.has("commit-metadata-only"),
        harmless_files: cx.given.has("bareuseronly-files"),
        verify_bindings: !cx.given.has("disable-verify-bindings"),
    };
    let summary = repo.pull_local(&from, &what, &options, &cx.monitor())?;
    writeln!(
        cx.out,
        "{} metadata, {} content objects imported; {} content written",
        summary.objects_written - summary.content_written,
        summary.content_written,
        super::print::size(summary.bytes_written)
    )?;
    Ok(())
}
