//! `ostree refs`

use ostree::{Error, Repo};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "refs",
    summary: "List, make and delete refs",
    words: "[PREFIX…]",
    works: Works::OnRepo,
    options: &[
        flag("delete", "Delete those that begin with a prefix"),
        flag("list", "Print full names"),
        flag("revision", "Print what they point to").short('r'),
        flag("alias", "Aliases only; with --create, make one").short('A'),
        value("create", "NEWREF", "Make a ref"),
        flag("collections", "Name collections").short('c'),
        flag("force", "Replace one that is there"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    if cx.given.has("collections") {
        return super::collection_refs::run(cx, &repo);
    }
    if let Some(new) = cx.given.value("create").map(str::to_owned) {
        create(cx, &repo, &new)?;
        return super::summary::update_after_ref(&repo);
    }
    if cx.given.has("delete") {
        delete(cx, &repo)?;
        return super::summary::update_after_ref(&repo);
    }
    list(cx, &repo)
}

fn create(cx: &mut Cx, repo: &Repo, new: &str) -> anyhow::Result<()> {
    let [target] = cx.given.rest.as_slice() else {
        return fail("Must specify a single EXISTING ref or commit when using --create");
    };
    let there = repo.read_ref(new)?;
    // An alias may be led elsewhere.
    let swaps = cx.given.has("alias") && repo.aliases()?.contains_key(new);
    if there.is_some() && !swaps && !cx.given.has("force") {
        return fail(format!("--create specified but ref {new} already exists"));
    }
    if cx.given.has("alias") {
        if new.contains(':') {
            return fail(format!("Cannot create alias to remote ref: {new}"));
        }
        return match repo.set_alias(new, target) {
            Err(Error::NoSuchRev(_)) => {
                fail(format!("Cannot create alias to non-existent ref: {target}"))
            }
            other => Ok(other?),
        };
    }
    let checksum = repo.resolve(target)?;
    Ok(repo.set_ref(new, Some(&checksum))?)
}

/// The refs that the words of the command line name: all that begin with them.
fn chosen(cx: &Cx, repo: &Repo) -> anyhow::Result<Vec<String>> {
    if cx.given.rest.is_empty() {
        return Ok(repo.refs(None)?.into_keys().collect());
    }
    let mut names = Vec::new();
    for prefix in &cx.given.rest {
        // `REMOTE:` and `REMOTE:.` are all of a remote's.
        match prefix.trim_end_matches('.').strip_suffix(':') {
            Some(remote) => {
                let all = repo.refs(Some(remote))?.into_keys();
                names.extend(all.filter(|name| name.contains(':')));
            }
            None => names.extend(repo.refs(Some(prefix))?.into_keys()),
        }
    }
    Ok(names)
}

fn delete(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    if cx.given.rest.is_empty() {
        return fail("At least one PREFIX is required when deleting refs");
    }
    let aliases = repo.aliases()?;
    for name in chosen(cx, repo)? {
        let to_it = aliases
            .iter()
            .find(|(alias, to)| **to == name && **alias != name);
        if let (Some((alias, _)), false) = (to_it, aliases.contains_key(&name)) {
            return fail(format!("Ref '{name}' has an active alias: '{alias}'"));
        }
        repo.remove_ref_itself(&name)?;
    }
    Ok(())
}

fn list(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    for dir in ["refs/heads", "refs/remotes"] {
        if !repo.path().join(dir).is_dir() {
            return fail(format!(
                "Listing refs: opendir({dir}): No such file or directory"
            ));
        }
    }
    let aliases = repo.aliases()?;
    if cx.given.has("alias") {
        for (alias, target) in aliases {
            let wanted = |p: &String| alias.starts_with(p.as_str());
            if cx.given.rest.is_empty() || cx.given.rest.iter().any(wanted) {
                writeln!(cx.out, "{alias} -> {target}")?;
            }
        }
        return Ok(());
    }
    let full = cx.given.has("list") || cx.given.rest.is_empty();
    for name in chosen(cx, repo)? {
        let prefix = cx.given.rest.iter().find(|p| name.starts_with(p.as_str()));
        let short = prefix.and_then(|p| name.strip_prefix(p.as_str()));
        let short = short.map(|s| s.trim_start_matches(['/', ':']));
        let remote = prefix
            .and_then(|p| p.split_once(':'))
            .map(|(remote, _)| remote);
        let shown = match (short, remote) {
            (Some(short), Some(remote)) if !full && !short.is_empty() => {
                format!("{remote}:{short}")
            }
            (Some(short), None) if !full && !short.is_empty() => short.to_owned(),
            _ => name.clone(),
        };
        if cx.given.has("revision") {
            let checksum = repo.read_ref(&name)?;
            let checksum = checksum.map(|c| c.to_string()).unwrap_or_default();
            writeln!(cx.out, "{shown}\t{checksum}")?;
        } else {
            writeln!(cx.out, "{shown}")?;
        }
    }
    Ok(())
}
