//! `backstop repo fsck`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Error;
use clap::Args;
use ostree::{FsckOptions, FsckReport};
use serde_json::json;

use super::Context;
use crate::exit::Ended;
use crate::output::Tone;

/// Check every object, and that nothing is missing. Exits with 6 when something is
/// wrong.
#[derive(Debug, Args)]
pub struct Fsck {
    /// Only check that everything is there: read no file's content
    #[arg(long)]
    quick: bool,
    /// Remove what is damaged, and fetch it and what is missing from this repository
    #[arg(long, value_name = "DIR", conflicts_with = "quick")]
    repair_from: Option<PathBuf>,
}

impl Fsck {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let monitor = cx.monitor();
        if let Some(path) = &self.repair_from {
            return repair(cx, &repo, path);
        }
        let report = repo.fsck(&FsckOptions { quick: self.quick }, &monitor)?;
        let (ended, counts) = (ended(&report), counts(&report));
        cx.out.json(&counts)?;
        for problem in report.problems {
            let needed = problem
                .needed_by
                .map(|(commit, path)| (commit.to_string(), path));
            let error = format!("{:#}", Error::new(problem.error));
            cx.out.json(&json!({
                "problem": error,
                "commit": needed.as_ref().map(|n| &n.0),
                "path": needed.as_ref().map(|n| &n.1),
            }))?;
            let place =
                needed.map(|(commit, path)| format!(": {} of {commit} needs it", path.display()));
            let word = cx.out.tone(Tone::Bad, "error:");
            cx.out
                .line(&format!("{word} {error}{}", place.unwrap_or_default()))?;
        }
        summary(cx, &report.partial, report.commits, report.objects, ended)?;
        Ok(ended)
    }
}

/// Mends a repository from another one.
fn repair(cx: &mut Context<'_>, repo: &ostree::Repo, path: &Path) -> anyhow::Result<Ended> {
    let from = ostree::Repo::open(Arc::new(durable::RealFs), path)?;
    let repair = repo.repair(&from, &cx.monitor())?;
    let names =
        |list: &[ostree::Checksum]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    cx.out.json(&json!({
        "objects_removed": repair.removed,
        "commits_fetched": names(&repair.fetched),
        "commits_lost": names(&repair.lost),
    }))?;
    for commit in &repair.fetched {
        cx.out.line(&format!("fetched {commit} again"))?;
    }
    for commit in &repair.lost {
        let word = cx.out.tone(Tone::Bad, "error:");
        cx.out
            .line(&format!("{word} {commit} is not in {}", path.display()))?;
    }
    cx.out
        .line(&format!("{} damaged objects removed", repair.removed))?;
    Ok(match repair.lost.is_empty() {
        true => Ended::Done,
        false => Ended::Unhealthy,
    })
}

fn ended(report: &FsckReport) -> Ended {
    if report.is_clean() {
        Ended::Done
    } else {
        Ended::Unhealthy
    }
}

fn counts(report: &FsckReport) -> serde_json::Value {
    json!({
        "commits": report.commits,
        "partial": report.partial.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "objects": report.objects,
        "bytes": report.bytes,
        "problems": report.problems.len(),
    })
}

fn summary(
    cx: &mut Context<'_>,
    partial: &[ostree::Checksum],
    commits: u64,
    objects: u64,
    ended: Ended,
) -> std::io::Result<()> {
    for commit in partial {
        cx.out
            .line(&format!("commit {commit} was only fetched in part"))?;
    }
    let verdict = match ended {
        Ended::Done => cx.out.tone(Tone::Good, "no errors found"),
        _ => "pull the damaged commits again from a good repository, after deleting the \
              objects named above"
            .to_owned(),
    };
    cx.out
        .line(&format!("{commits} commits, {objects} objects: {verdict}"))
}
