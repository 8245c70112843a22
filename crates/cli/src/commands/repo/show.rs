//! `backstop repo show`

use clap::Args;
use serde_json::json;

use super::{Context, commit_json, print_commit};
use crate::exit::Ended;

/// Show what is said of a version.
#[derive(Debug, Args)]
pub struct Show {
    /// The version
    rev: String,
    /// Print the value of this metadata key only
    #[arg(long, value_name = "KEY")]
    print_metadata_key: Option<String>,
    /// Print the names of all metadata keys only
    #[arg(long, conflicts_with = "print_metadata_key")]
    list_metadata_keys: bool,
}

impl Show {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let checksum = repo.resolve(&self.rev)?;
        let commit = repo.load_commit(&checksum)?;
        if let Some(key) = self.print_metadata_key {
            let value = commit.metadata.get(&key);
            let value = value.ok_or_else(|| anyhow::anyhow!("there is no metadata {key:?}"))?;
            cx.out.line(&value.to_string())?;
            cx.out
                .json(&json!({ "key": key, "value": value.to_string() }))?;
        } else if self.list_metadata_keys {
            for (key, _) in commit.metadata.iter() {
                cx.out.line(key)?;
                cx.out.json(&json!({ "key": key }))?;
            }
        } else {
            print_commit(cx, &checksum, &commit)?;
            cx.out.json(&commit_json(&checksum, &commit))?;
        }
        Ok(Ended::Done)
    }
}
