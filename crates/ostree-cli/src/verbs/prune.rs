//! `ostree prune`

use std::collections::BTreeMap;

use ostree::{ObjectKind, ObjectName, PruneOptions, Repo};

use super::print;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};
use crate::{date, fail};

pub const COMMAND: Command = Command {
    name: "prune",
    summary: "Remove objects that nothing needs",
    words: "",
    works: Works::OnRepo,
    options: &[
        flag("no-prune", "Only count them"),
        flag("refs-only", "Keep only what refs lead to"),
        value("depth", "N", "How many commits before a ref's are kept"),
        value("delete-commit", "COMMIT", "Remove this commit"),
        value("keep-younger-than", "DATE", "Keep commits that are younger"),
        flag("static-deltas-only", "Remove static deltas, no objects"),
        value(
            "retain-branch-depth",
            "BRANCH=N",
            "How many commits of a branch are kept",
        ),
        value(
            "only-branch",
            "BRANCH",
            "Remove commits of this branch only",
        ),
        flag("commit-only", "Remove commits, and no other objects"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let options = options(cx, &repo)?;
    if let Some(rev) = cx.given.value("delete-commit") {
        if options.dry_run {
            return fail("Cannot specify both --delete-commit and --no-prune");
        }
        let deltas_only = cx.given.has("static-deltas-only");
        if deltas_only {
            return remove_deltas(&repo, &repo.resolve(rev)?);
        }
        delete(&repo, rev)?;
    } else if cx.given.has("static-deltas-only") {
        return fail("--static-deltas-only requires --delete-commit");
    }
    let summary = repo.prune(&options, &cx.monitor())?;
    if !options.dry_run {
        remove_stale_deltas(&repo)?;
    }
    let (total, removed) = (summary.objects_total, summary.objects_removed);
    let freed = print::size(summary.bytes_removed);
    writeln!(cx.out, "Total objects: {total}")?;
    let line = match (removed, options.dry_run) {
        (0, _) => "No unreachable objects".to_owned(),
        (_, true) => format!("Would delete: {removed} objects, freeing {freed}"),
        (_, false) => format!("Deleted {removed} objects, {freed} freed"),
    };
    Ok(writeln!(cx.out, "{line}")?)
}

fn options(cx: &Cx, repo: &Repo) -> anyhow::Result<PruneOptions> {
    let given = &cx.given;
    let mut depths = BTreeMap::new();
    for text in given.values("retain-branch-depth") {
        let Some((branch, depth)) = text.split_once('=') else {
            return fail(format!("Invalid value {text}, must specify BRANCH=DEPTH"));
        };
        let Ok(depth) = depth.parse::<i64>() else {
            return fail(format!("Invalid depth {depth}"));
        };
        depths.insert(branch.to_owned(), u32::try_from(depth).ok());
    }
    let only: Vec<String> = given
        .values("only-branch")
        .iter()
        .map(|b| (*b).to_owned())
        .collect();
    for branch in &only {
        if repo.read_ref(branch)?.is_none() {
            return fail(format!("Refspec '{branch}' not found"));
        }
    }
    let younger = given
        .value("keep-younger-than")
        .map(date::parse)
        .transpose()?;
    let selective = younger.is_some() || !depths.is_empty() || !only.is_empty();
    let depth = given.number::<i64>("depth")?.unwrap_or(-1);
    Ok(PruneOptions {
        refs_only: given.has("refs-only") || selective,
        depth: u32::try_from(depth).ok(),
        dry_run: given.has("no-prune"),
        branch_depths: depths,
        only_branches: only,
        keep_younger_than: younger.map(|t| u64::try_from(t).unwrap_or(0)),
        commits_only: given.has("commit-only"),
    })
}

/// Removes the deltas to a commit.
fn remove_deltas(repo: &Repo, to: &ostree::Checksum) -> anyhow::Result<()> {
    for delta in repo.deltas()? {
        if delta.to == *to {
            repo.delete_delta(&delta)?;
        }
    }
    Ok(())
}

/// Removes the deltas to commits that are not there any more.
fn remove_stale_deltas(repo: &Repo) -> anyhow::Result<()> {
    for delta in repo.deltas()? {
        if !repo.has(&ObjectName::new(delta.to, ObjectKind::Commit))? {
            repo.delete_delta(&delta)?;
        }
    }
    Ok(())
}

/// Removes one commit, if no ref leads to it.
fn delete(repo: &Repo, rev: &str) -> anyhow::Result<()> {
    let Ok(checksum) = rev.parse() else {
        return fail(format!("Invalid rev {rev}"));
    };
    for (name, target) in repo.refs(None)? {
        if target == checksum {
            return fail(format!("Commit '{checksum}' is referenced by '{name}'"));
        }
    }
    let object = ObjectName::new(checksum, ObjectKind::Commit);
    if !repo.has(&object)? {
        return fail(format!("No such metadata object {object}"));
    }
    Ok(repo.remove_commit(&checksum)?)
}
