//! `backstop repo pull`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use fetch::{Deltas, NetOptions, PullOptions};
use ostree::sign::RemoteVerifier;
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// Fetch versions from a remote, verifying each object. What a cut leaves is used by
/// the next run.
#[derive(Debug, Args)]
pub struct Pull {
    /// The remote, as `remote list` shows it
    remote: String,
    /// Refs, commits, or REF@COMMIT; the remote's `branches` when not given
    refs: Vec<String>,
    /// Make the refs the repository's own; all of them when none is given
    #[arg(long)]
    mirror: bool,
    /// How many versions before each come along; -1: all
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    depth: i64,
    /// Fetch only this path and what leads to it
    #[arg(long, value_name = "PATH")]
    subpath: Vec<String>,
    /// Fetch what is said of the versions, and not the versions
    #[arg(long)]
    commit_metadata_only: bool,
    /// Look into this repository on this machine first
    #[arg(short = 'L', long, value_name = "DIR")]
    localcache_repo: Vec<PathBuf>,
    /// Fetch objects one by one, though there may be a delta
    #[arg(long)]
    no_deltas: bool,
    /// Refuse versions that are older than what their ref names now
    #[arg(short = 'T', long)]
    timestamp_check: bool,
    /// Accept a signed summary though a newer one was seen, or it expired
    #[arg(long)]
    older_summary: bool,
    #[command(flatten)]
    net: Net,
}

/// How to use the network.
#[derive(Debug, Args)]
pub struct Net {
    /// Use this address instead of the remote's own
    #[arg(long)]
    url: Option<String>,
    /// Send this header with each request
    #[arg(long, value_name = "NAME=VALUE")]
    http_header: Vec<String>,
    /// How often a request that brings nothing is tried again
    #[arg(long, value_name = "N", default_value_t = 5)]
    retries: u32,
    /// How many requests may be under way at once
    #[arg(long, value_name = "N")]
    in_flight: Option<usize>,
}

impl Net {
    /// The same as the library takes it.
    fn options(self) -> anyhow::Result<NetOptions> {
        let pair = |text: &String| {
            let (name, value) = text
                .split_once('=')
                .with_context(|| format!("{text:?} is not NAME=VALUE"))?;
            Ok((name.to_owned(), value.to_owned()))
        };
        let headers: anyhow::Result<_> = self.http_header.iter().map(pair).collect();
        Ok(NetOptions {
            url: self.url,
            headers: headers?,
            retries: self.retries,
            in_flight: self.in_flight,
            ..NetOptions::default()
        })
    }
}

impl Pull {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let remote = repo.remote(&self.remote)?;
        let options = PullOptions {
            refs: self.refs,
            mirror: self.mirror,
            depth: u32::try_from(self.depth).ok(),
            subpaths: self.subpath,
            commit_metadata_only: self.commit_metadata_only,
            local_caches: self.localcache_repo,
            timestamp_check: self.timestamp_check,
            deltas: match self.no_deltas {
                true => Deltas::Never,
                false => Deltas::Prefer,
            },
            older_summary: self.older_summary,
            net: self.net.options()?,
            ..PullOptions::default()
        };
        let verifier = RemoteVerifier::new(&repo, &remote)?;
        let monitor = cx.monitor();
        let pulled = fetch::pull(&repo, &remote, &options, &verifier, &monitor)
            .with_context(|| format!("cannot pull from the remote {}", remote.name()))?;
        for (name, checksum) in &pulled.commits {
            cx.out
                .json(&json!({ "ref": name, "checksum": checksum.to_string() }))?;
            cx.out.line(&format!("{name} {checksum}"))?;
        }
        let (objects, bytes) = (pulled.objects_fetched, pulled.bytes_fetched);
        cx.out
            .line(&format!("{objects} objects fetched; {bytes} bytes"))?;
        if pulled.objects_resumed > 0 {
            let resumed = pulled.objects_resumed;
            cx.out
                .line(&format!("{resumed} objects were here from an earlier try"))?;
        }
        Ok(Ended::Done)
    }
}
