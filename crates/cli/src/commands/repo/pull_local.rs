//! `backstop repo pull-local`

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;
use durable::RealFs;
use ostree::{PullFiles, PullOptions, Repo};
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// Fetch versions from another repository on this machine, verifying each object.
#[derive(Debug, Args)]
pub struct PullLocal {
    /// The other repository
    from: PathBuf,
    /// The versions; all that have a name there when not given
    refs: Vec<String>,
    /// File the names under this remote: REMOTE:NAME
    #[arg(long)]
    remote: Option<String>,
    /// How many versions before each come along; -1: all
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    depth: i64,
    /// Don't read files where they can be hard-linked: faster, but what is damaged
    /// there is damaged here
    #[arg(long)]
    trusted: bool,
    /// Copy files even where they can be hard-linked
    #[arg(long, conflicts_with = "trusted")]
    copy: bool,
}

impl PullLocal {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let from = Repo::open(Arc::new(RealFs), &self.from)?;
        let what = match self.refs.is_empty() {
            true => from.refs(None)?.into_keys().collect(),
            false => self.refs,
        };
        let options = PullOptions {
            remote: self.remote,
            depth: u32::try_from(self.depth).ok(),
            files: match (self.trusted, self.copy) {
                (true, _) => PullFiles::TrustedLinks,
                (_, true) => PullFiles::Copies,
                _ => PullFiles::Verified,
            },
            ..PullOptions::default()
        };
        let monitor = cx.monitor();
        let summary = repo
            .pull_local(&from, &what, &options, &monitor)
            .with_context(|| format!("cannot pull from {}", self.from.display()))?;
        for (name, checksum) in &summary.commits {
            cx.out
                .json(&json!({ "ref": name, "checksum": checksum.to_string() }))?;
        }
        let (objects, bytes) = (summary.objects_written, summary.bytes_written);
        cx.out.line(&format!(
            "{objects} objects imported; {bytes} bytes content written"
        ))?;
        Ok(Ended::Done)
    }
}
