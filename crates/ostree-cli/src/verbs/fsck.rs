//! `ostree fsck`

use std::collections::BTreeMap;

use ostree::{Checksum, CollectionRef, Error, FsckOptions, FsckReport, Problem, Repo};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::flag;
use crate::{fail, wording};

pub const COMMAND: Command = Command {
    name: "fsck",
    summary: "Check that all objects are there and whole",
    words: "",
    works: Works::OnRepo,
    options: &[
        flag(
            "add-tombstones",
            "Mark parents that are not there as removed",
        ),
        flag("quiet", "Print errors only").short('q'),
        flag("all", "Don't stop at the first error").short('a'),
        flag("delete", "Remove damaged objects"),
        flag(
            "verify-bindings",
            "Check that commits belong to the refs that lead to them",
        ),
        flag(
            "verify-back-refs",
            "Check that refs lead to the commits that belong to them",
        ),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let quiet = cx.given.has("quiet");
    if !quiet {
        writeln!(cx.out, "Validating refs...")?;
        writeln!(cx.out, "Validating refs in collections...")?;
        writeln!(cx.out, "Enumerating commits...")?;
    }
    let report = repo.fsck(&FsckOptions::default(), &cx.monitor())?;
    if !quiet {
        let whole = report.commits - report.partial.len() as u64;
        writeln!(
            cx.out,
            "Verifying content integrity of {whole} commit objects..."
        )?;
    }
    bindings(cx, &repo)?;
    if cx.given.has("add-tombstones") {
        let added = repo.add_tombstones()?;
        if !quiet {
            for commit in added {
                writeln!(cx.out, "Adding tombstone for commit {commit}")?;
            }
        }
    }
    problems(cx, &repo, &report)?;
    partial(cx, &repo, &report)
}

/// Says what is wrong, and removes it where that is wanted.
fn problems(cx: &mut Cx, repo: &Repo, report: &FsckReport) -> anyhow::Result<()> {
    let Some(first) = report.problems.first() else {
        return Ok(());
    };
    let deletes = cx.given.has("delete");
    let missing = matches!(first.error, Error::Missing(_)) && first.needed_by.is_some();
    if !deletes && !missing && !cx.given.has("all") {
        return fail(words(first));
    }
    for problem in &report.problems {
        writeln!(cx.err, "{}", words(problem))?;
    }
    mark(cx, repo, report)?;
    if deletes {
        repo.remove_damaged(report)?;
    }
    fail("Repository corruption encountered")
}

/// Marks the commits that are not whole, and says which.
fn mark(cx: &mut Cx, repo: &Repo, report: &FsckReport) -> anyhow::Result<()> {
    for commit in repo.mark_broken(report)? {
        writeln!(cx.err, "Marking commit as partial: {commit}")?;
    }
    Ok(())
}

fn partial(cx: &mut Cx, repo: &Repo, report: &FsckReport) -> anyhow::Result<()> {
    if report.partial.is_empty() {
        let commits = report.commits;
        writeln!(
            cx.out,
            "object fsck of {commits} commits completed successfully - no errors found."
        )?;
        return Ok(());
    }
    let count = report.partial.len();
    if !cx.given.has("quiet") {
        writeln!(cx.out, "{count} partial commits not verified")?;
    }
    match repo.partial_by_fsck(&report.partial)? {
        0 => Ok(()),
        n => fail(format!("{n} partial commits from fsck-detected corruption")),
    }
}

fn words(problem: &Problem) -> String {
    let text = wording::of_ostree(&problem.error);
    match (&problem.needed_by, &problem.error) {
        (Some(_), Error::Missing(object)) => format!("Object missing: {object}"),
        (_, Error::RefToNothing { name, checksum }) => {
            format!("Loading commit for ref {name}: No such metadata object {checksum}.commit")
        }
        (Some((commit, _)), _) => format!("In commits {commit}: fsck content object: {text}"),
        (None, _) => text,
    }
}

/// Checks that refs and commits know of each other.
fn bindings(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    let back = cx.given.has("verify-back-refs");
    if !back && !cx.given.has("verify-bindings") {
        return Ok(());
    }
    for (name, checksum) in repo.refs(None)? {
        let bare = name
            .rsplit_once(':')
            .map_or(name.as_str(), |(_, bare)| bare);
        repo.check_binding(&checksum, None, bare)?;
    }
    let refs = repo.collection_refs()?;
    for (of, checksum) in &refs {
        repo.check_binding(checksum, Some(&of.collection), &of.name)?;
    }
    match back {
        true => back_refs(repo, &refs),
        false => Ok(()),
    }
}

fn back_refs(repo: &Repo, refs: &BTreeMap<CollectionRef, Checksum>) -> anyhow::Result<()> {
    for checksum in repo.commits()? {
        let commit = repo.load_commit(&checksum)?;
        let said = |key| commit.metadata.get(key);
        let names = said("ostree.ref-binding").and_then(|v| v.as_texts());
        let collection = said("ostree.collection-binding").and_then(|v| v.as_text());
        for name in names.into_iter().flatten() {
            let (found, what) = match collection {
                Some(id) => {
                    let of = CollectionRef::new(id, name)?;
                    (refs.get(&of).copied(), format!("Collection–ref {of}"))
                }
                None => (repo.read_ref(name)?, format!("Ref ‘{name}’")),
            };
            if found != Some(checksum) {
                return fail(format!(
                    "{what} in bindings for commit {checksum} does not exist"
                ));
            }
        }
    }
    Ok(())
}
