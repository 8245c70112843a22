//! `ostree ls`

use std::path::{Path, PathBuf};

use ostree::{Checksum, Entry, Error, Item, Repo, Xattrs};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::flag;

pub const COMMAND: Command = Command {
    name: "ls",
    summary: "List files of a commit",
    words: "COMMIT [PATH…]",
    works: Works::OnRepo,
    options: &[
        flag("dironly", "Not what is in directories").short('d'),
        flag("recursive", "All that is below them").short('R'),
        flag("checksum", "With checksums").short('C'),
        flag("xattrs", "With extended attributes").short('X'),
        flag("nul-filenames-only", "Only the names, each ended by a NUL"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let rev = cx.word(0, "An COMMIT argument is required")?;
    let commit = repo.resolve(&rev)?;
    let mut paths = cx.given.rest[1..].to_vec();
    if paths.is_empty() {
        paths.push("/".to_owned());
    }
    for path in paths {
        for entry in entries(cx, &repo, &commit, &path)? {
            print(cx, &entry)?;
        }
    }
    Ok(())
}

fn entries(cx: &Cx, repo: &Repo, commit: &Checksum, path: &str) -> anyhow::Result<Vec<Entry>> {
    let path = PathBuf::from(path);
    let found = repo.list(commit, &path, cx.given.has("recursive"));
    let mut entries = match found {
        Err(Error::NoSuchPath { .. }) if below_file(repo, commit, &path) => {
            return crate::fail(format!("Not a directory: {}", path.display()));
        }
        other => other?,
    };
    if cx.given.has("dironly") {
        entries.truncate(1);
    }
    Ok(entries)
}

/// Whether something above a path is no directory.
fn below_file(repo: &Repo, commit: &Checksum, path: &Path) -> bool {
    path.ancestors().skip(1).any(|above| {
        let found = repo.list(commit, above, false);
        found.is_ok_and(|e| matches!(e.first().map(|e| &e.item), Some(Item::File { .. })))
    })
}

fn print(cx: &mut Cx, entry: &Entry) -> anyhow::Result<()> {
    if cx.given.has("nul-filenames-only") {
        return Ok(write!(cx.out, "{}\0", entry.path.display())?);
    }
    let (kind, mode, uid, gid, size) = match &entry.item {
        Item::File { header, size, .. } => {
            let kind = if header.is_symlink() { 'l' } else { '-' };
            (kind, header.mode, header.uid, header.gid, *size)
        }
        Item::Dir { attributes: a, .. } => ('d', a.mode, a.uid, a.gid, 0),
    };
    write!(cx.out, "{kind}{:05o} {uid} {gid} {size:>6} ", mode & 0o7777)?;
    if cx.given.has("checksum") {
        match &entry.item {
            Item::File { checksum, .. } => write!(cx.out, "{checksum} ")?,
            Item::Dir { tree, meta, .. } => write!(cx.out, "{tree} {meta} ")?,
        }
    }
    if cx.given.has("xattrs") {
        let xattrs: &Xattrs = match &entry.item {
            Item::File { header, .. } => &header.xattrs,
            Item::Dir { attributes, .. } => &attributes.xattrs,
        };
        write!(cx.out, "{{ {xattrs} }} ")?;
    }
    write!(cx.out, "{}", entry.path.display())?;
    if let Item::File { header, .. } = &entry.item
        && header.is_symlink()
    {
        write!(cx.out, " -> {}", header.target)?;
    }
    Ok(writeln!(cx.out)?)
}
