//! `ostree pull`

use std::path::{Path, PathBuf};

use fetch::{Connection, Deltas, NetOptions, PullOptions, Pulled};
use ostree::{Remote, Repo, Verifier};

use super::print;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{Opt, flag, value};
use crate::{fail, version};

/// The options that say how the network is used.
pub const NET: [Opt; 3] = [
    value("url", "URL", "Another address of the remote"),
    value("http-header", "NAME=VALUE", "A header to send"),
    value("append-user-agent", "TEXT", "More about who asks"),
];

pub const COMMAND: Command = Command {
    name: "pull",
    summary: "Fetch commits from a remote",
    words: "REMOTE [REF…]",
    works: Works::OnRepo,
    options: &[
        flag("commit-metadata-only", "Only the commits themselves"),
        value("cache-dir", "DIR", "Where summaries are kept"),
        flag("disable-fsync", "Don't wait for the disk"),
        flag("per-object-fsync", "Wait for the disk after each object"),
        flag("disable-static-deltas", "Use no deltas"),
        flag("require-static-deltas", "Use deltas only"),
        flag("mirror", "The remote's refs become the repository's own"),
        value("subpath", "PATH", "Only this path, and what leads to it"),
        flag("untrusted", "Check what is fetched (always so)"),
        flag(
            "http-trusted",
            "Store files in an archive unread, as they come",
        ),
        flag("bareuseronly-files", "Refuse modes that could do harm"),
        flag("dry-run", "Fetch nothing, but say how much it would be"),
        value("depth", "N", "How many commits before come along; -1: all"),
        NET[0],
        NET[1],
        NET[2],
        value("update-frequency", "MS", "How often progress is shown"),
        value("network-retries", "N", "How often a request is tried again"),
        value("localcache-repo", "REPO", "A repository to look into first").short('L'),
        flag("timestamp-check", "Refuse commits older than what is here").short('T'),
        value(
            "timestamp-check-from-rev",
            "REV",
            "Refuse commits older than this one",
        ),
        flag("disable-retry-on-network-errors", "Try each request once"),
        flag(
            "disable-verify-bindings",
            "Don't check which refs commits belong to",
        ),
        value(
            "max-outstanding-fetcher-requests",
            "N",
            "How many requests at once",
        ),
        value("low-speed-limit-bytes", "N", "The least bytes a second"),
        value("low-speed-time-seconds", "N", "For how long less will do"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let repo = match cx.given.has("disable-fsync") {
        true => repo.unsynced(),
        false => repo,
    };
    let first = cx.word(0, "REMOTE must be specified")?;
    // `REMOTE:REF` is one word for both.
    let (name, mut refs) = match first.split_once(':') {
        Some((name, reference)) => (name.to_owned(), vec![reference.to_owned()]),
        None => (first, Vec::new()),
    };
    refs.extend_from_slice(&cx.given.rest[1..]);
    let remote = repo.remote(&name)?;
    check_backend(&remote)?;
    let options = options(cx, refs)?;
    let verifier = super::signing::verifier(&repo, &remote)?;
    if cx.given.has("dry-run") {
        return preview(cx, &repo, &remote, &options, &*verifier);
    }
    let pulled = pull(&repo, &remote, &options, &*verifier)?;
    report(cx, &pulled)?;
    match cx.given.has("mirror") {
        true => super::summary::update_after_ref(&repo),
        false => Ok(()),
    }
}

/// Pulls.
pub fn pull(
    repo: &Repo,
    remote: &Remote,
    options: &PullOptions,
    verifier: &dyn Verifier,
) -> anyhow::Result<Pulled> {
    Ok(fetch::pull(
        repo,
        remote,
        options,
        verifier,
        &monitor::Silent,
    )?)
}

/// Says how much a pull by deltas would fetch.
fn preview(
    cx: &mut Cx,
    repo: &Repo,
    remote: &Remote,
    options: &PullOptions,
    verifier: &dyn Verifier,
) -> anyhow::Result<()> {
    if options.deltas != Deltas::Require {
        return fail("--dry-run requires --require-static-deltas");
    }
    let found = fetch::preview_deltas(repo, remote, options, verifier, &cx.monitor())?;
    Ok(writeln!(
        cx.out,
        "Delta update: 0/{} parts, {}/{}, {} total uncompressed",
        found.parts,
        print::size(0),
        print::size(found.bytes),
        print::size(found.unpacked)
    )?)
}

/// A remote that another program pulls from is not for us.
fn check_backend(remote: &Remote) -> anyhow::Result<()> {
    match remote.get("custom-backend") {
        Some(backend) => fail(format!(
            "Cannot fetch via libostree - remote '{}' uses custom backend '{backend}'",
            remote.name()
        )),
        None => Ok(()),
    }
}

fn options(cx: &Cx, refs: Vec<String>) -> anyhow::Result<PullOptions> {
    let given = &cx.given;
    Ok(PullOptions {
        refs,
        mirror: given.has("mirror"),
        depth: match given.number::<i64>("depth")? {
            Some(depth) => u32::try_from(depth).ok(),
            None => Some(0),
        },
        subpaths: given
            .values("subpath")
            .iter()
            .map(|p| (*p).to_owned())
            .collect(),
        commit_metadata_only: given.has("commit-metadata-only"),
        local_caches: given
            .values("localcache-repo")
            .iter()
            .map(Into::into)
            .collect(),
        verify_bindings: !given.has("disable-verify-bindings"),
        timestamp_check: given.has("timestamp-check"),
        timestamp_check_from: given.value("timestamp-check-from-rev").map(str::to_owned),
        deltas: match (
            given.has("disable-static-deltas"),
            given.has("require-static-deltas"),
        ) {
            (true, _) => Deltas::Never,
            (_, true) => Deltas::Require,
            _ => Deltas::Prefer,
        },
        unverified_files: given.has("http-trusted"),
        plain_modes_only: given.has("bareuseronly-files"),
        // As `ostree` has it.
        older_summary: true,
        net: net_options(cx)?,
    })
}

/// Where `--cache-dir` wants summaries kept.
fn summaries(cx: &Cx) -> Option<PathBuf> {
    let cache = cx.given.value("cache-dir")?;
    Some(Path::new(cache).join("summaries"))
}

/// Opens a connection to a remote of which only the summary is wanted.
pub fn connect(cx: &Cx, repo: &Repo, remote: &Remote) -> anyhow::Result<Connection> {
    let net = NetOptions {
        summaries: summaries(cx),
        agent: version::AGENT.to_owned(),
        ..NetOptions::default()
    };
    Ok(Connection::open(repo, remote, &net)?)
}

/// How the options want the network used.
pub fn net_options(cx: &Cx) -> anyhow::Result<NetOptions> {
    let given = &cx.given;
    let mut headers = Vec::new();
    for text in given.values("http-header") {
        match text.split_once('=') {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => return fail(format!("Missing '=' in --http-header: {text}")),
        }
    }
    let plain = NetOptions::default();
    let patience = given.number("low-speed-time-seconds")?;
    Ok(NetOptions {
        url: given.value("url").map(str::to_owned),
        headers,
        agent: version::AGENT.to_owned(),
        user_agent: given.value("append-user-agent").map(str::to_owned),
        retries: match given.has("disable-retry-on-network-errors") {
            true => 0,
            false => given.number("network-retries")?.unwrap_or(plain.retries),
        },
        in_flight: given.number("max-outstanding-fetcher-requests")?,
        low_speed: given
            .number("low-speed-limit-bytes")?
            .unwrap_or(plain.low_speed),
        patience: patience.map_or(plain.patience, std::time::Duration::from_secs),
        summaries: summaries(cx),
        ..plain
    })
}

fn report(cx: &mut Cx, pulled: &Pulled) -> anyhow::Result<()> {
    let fetched = pulled.objects_fetched;
    let content = fetched - pulled.metadata_fetched;
    // As `ostree` has it, an answer that there is nothing counts too.
    let metadata = pulled.metadata_fetched + pulled.absent;
    if fetched == 0 && pulled.objects_cached == 0 {
        return Ok(());
    }
    let mut line = match content {
        0 => format!("{metadata} metadata objects fetched"),
        _ => format!("{metadata} metadata, {content} content objects fetched"),
    };
    if pulled.objects_cached > 0 {
        let local = pulled.content_cached;
        let meta = pulled.objects_cached - local;
        line += &format!(" ({meta} meta, {local} content local)");
    }
    line += &format!("; {} transferred", print::size(pulled.bytes_fetched));
    if content > 0 {
        line += &format!("; {} content written", print::size(pulled.bytes_written));
    }
    Ok(writeln!(cx.out, "{line}")?)
}
