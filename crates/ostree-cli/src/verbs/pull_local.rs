//! `ostree pull-local`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ostree::sign::RemoteVerifier;
use ostree::{PullFiles, PullOptions, Remote, Repo, Verifier};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
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
    let repo = cx.repo()?;
    let repo = match cx.given.has("disable-fsync") {
        true => repo.unsynced(),
        false => repo,
    };
    let source = PathBuf::from(cx.word(0, "SRC_REPO must be specified")?);
    let from = cx.open(&source)?;
    let mut what = cx.given.rest[1..].to_vec();
    if what.is_empty() {
        what = from.refs(None)?.into_keys().collect();
        if let Some(name) = what.iter().find(|name| name.contains(':')) {
            return fail(format!("Invalid ref name {name}"));
        }
    }
    if cx.given.has("require-static-deltas") {
        return by_deltas(cx, &repo, &source, what);
    }
    let options = options(cx, &repo)?;
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

fn options(cx: &Cx, repo: &Repo) -> anyhow::Result<PullOptions> {
    let remote = cx.given.value("remote").map(str::to_owned);
    let (commits, summary) = (
        cx.given.has("gpg-verify"),
        cx.given.has("gpg-verify-summary"),
    );
    let verifier = match commits || summary {
        true => Some(verifier(repo, remote.as_deref(), commits, summary)?),
        false => None,
    };
    Ok(PullOptions {
        remote,
        depth: u32::try_from(cx.given.number::<i64>("depth")?.unwrap_or(0)).ok(),
        files: match cx.given.has("untrusted") {
            true => PullFiles::Verified,
            false => PullFiles::TrustedLinks,
        },
        commits_only: cx.given.has("commit-metadata-only"),
        harmless_files: cx.given.has("bareuseronly-files"),
        verify_bindings: !cx.given.has("disable-verify-bindings"),
        verifier,
        verify_summary: summary,
    })
}

/// Who judges by the OpenPGP keys of a remote, or by the host's.
fn verifier(
    repo: &Repo,
    remote: Option<&str>,
    commits: bool,
    summary: bool,
) -> anyhow::Result<Arc<dyn Verifier>> {
    let set = |key: &str| match key {
        "gpg-verify" => Some(commits.to_string()),
        "gpg-verify-summary" => Some(summary.to_string()),
        _ => None,
    };
    let verifier = RemoteVerifier::read(repo, remote.unwrap_or("local"), &set)?;
    Ok(Arc::new(verifier))
}

/// Pulls by the source's static deltas, as from a remote that is near.
fn by_deltas(cx: &mut Cx, repo: &Repo, source: &Path, refs: Vec<String>) -> anyhow::Result<()> {
    let name = cx.given.value("remote").unwrap_or("local");
    let url = fetch::file_url(&source.canonicalize()?)?;
    let mut remote = Remote::new(name, &url)?;
    let signed = cx.given.has("gpg-verify");
    remote.set("gpg-verify", Some(&signed.to_string()));
    let options = fetch::PullOptions {
        refs,
        mirror: !cx.given.has("remote"),
        deltas: fetch::Deltas::Require,
        verify_bindings: !cx.given.has("disable-verify-bindings"),
        ..fetch::PullOptions::default()
    };
    let verifier = super::signing::verifier(repo, &remote)?;
    super::pull::pull(repo, &remote, &options, &*verifier)?;
    Ok(())
}
