//! `ostree diff`

use std::path::{Path, PathBuf};

use ostree::{Change, ChangeKind, CommitOptions, DiffSide, Repo};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "diff",
    summary: "List what differs between commits or directories",
    words: "REV [REV-OR-DIR]",
    works: Works::OnRepo,
    options: &[
        flag("stats", "Print how much is shared"),
        flag("fs-diff", "Print the paths that differ"),
        flag("no-xattrs", "As if there were no extended attributes"),
        value(
            "owner-uid",
            "UID",
            "As if this were the owner of files in directories",
        ),
        value(
            "owner-gid",
            "GID",
            "As if this were the group of files in directories",
        ),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let first = cx.word(0, "REV must be specified")?;
    let (from, to) = match cx.given.rest.get(1) {
        Some(second) => (first, second.clone()),
        None => (format!("{first}^"), first),
    };
    if cx.given.has("stats") {
        stats(cx, &repo, &from, &to)?;
        if !cx.given.has("fs-diff") {
            return Ok(());
        }
    }
    let options = CommitOptions {
        no_xattrs: cx.given.has("no-xattrs"),
        owner_uid: cx.given.number("owner-uid")?,
        owner_gid: cx.given.number("owner-gid")?,
        ..CommitOptions::default()
    };
    let (from, to) = (side(&repo, &from)?, side(&repo, &to)?);
    let mut changes = repo.diff_sides(&from, &to, &options)?;
    changes.sort_by_key(|c| (rank(c.kind), c.path.clone()));
    for change in changes {
        print(cx, &change, (&from, &to))?;
    }
    Ok(())
}

/// A word that begins like a path is one.
fn side(repo: &Repo, word: &str) -> anyhow::Result<DiffSide> {
    if word.starts_with('/') || word.starts_with("./") {
        return Ok(DiffSide::Dir(PathBuf::from(word)));
    }
    Ok(DiffSide::Commit(repo.resolve(word)?))
}

fn rank(kind: ChangeKind) -> u8 {
    match kind {
        ChangeKind::Modified => 0,
        ChangeKind::Removed => 1,
        ChangeKind::Added => 2,
    }
}

/// Paths of commits begin with a slash, those of directories do not.
fn print(cx: &mut Cx, change: &Change, (from, to): (&DiffSide, &DiffSide)) -> anyhow::Result<()> {
    let (letter, side) = match change.kind {
        ChangeKind::Modified => ('M', from),
        ChangeKind::Removed => ('D', from),
        ChangeKind::Added => ('A', to),
    };
    // The root is not listed.
    if change.path == Path::new("/") {
        return Ok(());
    }
    let path = match side {
        DiffSide::Commit(_) => &change.path,
        DiffSide::Dir(_) => change.path.strip_prefix("/").unwrap_or(&change.path),
    };
    Ok(writeln!(cx.out, "{letter}    {}", path.display())?)
}

fn stats(cx: &mut Cx, repo: &Repo, from: &str, to: &str) -> anyhow::Result<()> {
    let (a, b) = (repo.resolve(from)?, repo.resolve(to)?);
    let (before, after) = (repo.reachable(&a)?, repo.reachable(&b)?);
    writeln!(cx.out, "[A] Object Total: {}", before.len())?;
    writeln!(cx.out, "[B] Object Total: {}", after.len())?;
    writeln!(
        cx.out,
        "Common Object Total: {}",
        before.intersection(&after).count()
    )?;
    Ok(())
}
