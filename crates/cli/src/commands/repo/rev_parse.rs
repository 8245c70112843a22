//! `backstop repo rev-parse`

use clap::Args;
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// Print the checksums that names stand for.
#[derive(Debug, Args)]
pub struct RevParse {
    /// Names, checksums, or the beginning of one; "^" at the end is the one before
    #[arg(required = true)]
    revs: Vec<String>,
}

impl RevParse {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        for rev in &self.revs {
            let checksum = repo.resolve(rev)?.to_string();
            cx.out.line(&checksum)?;
            cx.out.json(&json!({ "rev": rev, "checksum": checksum }))?;
        }
        Ok(Ended::Done)
    }
}
