//! `backstop repo diff`

use clap::Args;
use ostree::ChangeKind;
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// List the paths that differ: M is modified, D deleted, A added.
#[derive(Debug, Args)]
pub struct Diff {
    /// The version; when it is the only one, it is compared with its parent
    rev: String,
    /// The version to compare it with
    to: Option<String>,
}

impl Diff {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let (from, to) = match self.to {
            Some(to) => (self.rev, to),
            None => (format!("{}^", self.rev), self.rev),
        };
        for change in repo.diff(&repo.resolve(&from)?, &repo.resolve(&to)?)? {
            let (letter, word) = match change.kind {
                ChangeKind::Modified => ('M', "modified"),
                ChangeKind::Removed => ('D', "removed"),
                ChangeKind::Added => ('A', "added"),
            };
            cx.out
                .line(&format!("{letter}    {}", change.path.display()))?;
            cx.out
                .json(&json!({ "change": word, "path": change.path }))?;
        }
        Ok(Ended::Done)
    }
}
