//! `backstop repo summary`

use anyhow::Context as _;
use clap::Args;
use ostree::{Metadata, Summary, SummaryRef};
use serde_json::json;

use super::sign::SignArgs;
use super::{Context, date};
use crate::exit::Ended;

/// Show or write the list of all refs, for those who pull over a network.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// Write it anew
    #[arg(short, long)]
    update: bool,
    #[command(flatten)]
    sign: SignArgs,
}

/// A ref, its commit, and when that was made.
pub(super) fn line(name: &str, found: &SummaryRef) -> String {
    let version = found.version().map(|v| format!("\t{v}"));
    let made = found.timestamp().map(date).unwrap_or_default();
    let version = version.unwrap_or_default();
    format!("{name}\t{}\t{made}{version}", found.commit)
}

impl SummaryArgs {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        if self.update {
            repo.update_summary(&Metadata::default(), &self.sign.signers()?)?;
        }
        let bytes = repo
            .summary_bytes()?
            .context("there is no summary: write it with --update")?;
        let summary = Summary::decode(&bytes).context("the summary is damaged")?;
        for (name, found) in &summary.refs {
            cx.out.json(&json!({
                "ref": name,
                "checksum": found.commit.to_string(),
                "timestamp": found.timestamp(),
                "version": found.version(),
            }))?;
            cx.out.line(&line(name, found))?;
        }
        Ok(Ended::Done)
    }
}
