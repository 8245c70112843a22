//! `backstop repo prune`

use clap::Args;
use ostree::PruneOptions;
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// Remove what no version needs.
#[derive(Debug, Args)]
pub struct Prune {
    /// Remove versions that have no name, too
    #[arg(long)]
    refs_only: bool,
    /// With --refs-only: how many versions before a named one stay; -1: all
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, requires = "refs_only")]
    depth: i64,
    /// Remove nothing, but say what would be
    #[arg(long, alias = "no-prune")]
    dry_run: bool,
}

impl Prune {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let options = PruneOptions {
            refs_only: self.refs_only,
            depth: u32::try_from(self.depth).ok(),
            dry_run: self.dry_run,
            ..PruneOptions::default()
        };
        let monitor = cx.monitor();
        let summary = repo.prune(&options, &monitor)?;
        cx.out.json(&json!({
            "objects_total": summary.objects_total,
            "objects_removed": summary.objects_removed,
            "bytes_removed": summary.bytes_removed,
            "dry_run": self.dry_run,
        }))?;
        let (total, removed) = (summary.objects_total, summary.objects_removed);
        cx.out.line(&format!("Total objects: {total}"))?;
        cx.out.line(&match (removed, self.dry_run) {
            (0, _) => "No unreachable objects".to_owned(),
            (_, true) => format!(
                "Would delete: {removed} objects, {} bytes",
                summary.bytes_removed
            ),
            (_, false) => format!(
                "Deleted {removed} objects, {} bytes freed",
                summary.bytes_removed
            ),
        })?;
        Ok(Ended::Done)
    }
}
