//! `backstop repo log`

use clap::Args;

use super::{Context, commit_json, print_commit};
use crate::exit::Ended;

/// Show a version and those before it.
#[derive(Debug, Args)]
pub struct Log {
    /// The version
    rev: String,
    /// At most this many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = usize::MAX, hide_default_value = true)]
    max_count: usize,
}

impl Log {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let history = repo.history(&repo.resolve(&self.rev)?, self.max_count)?;
        for (checksum, commit) in &history.commits {
            print_commit(cx, checksum, commit)?;
            cx.out.json(&commit_json(checksum, commit))?;
        }
        if history.cut {
            cx.out
                .line("<< History beyond this commit not fetched >>")?;
        }
        Ok(Ended::Done)
    }
}
