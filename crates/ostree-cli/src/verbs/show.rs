//! `ostree show`

use ostree::{Checksum, Commit, ObjectKind, ObjectName, Repo, Value};

use super::print;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "show",
    summary: "Show a commit, or another object",
    words: "OBJECT",
    works: Works::OnRepo,
    options: &[
        flag("print-related", "Show related commits"),
        value(
            "print-variant-type",
            "TYPE",
            "Show a file as a value of this type",
        ),
        value("print-metadata-key", "KEY", "Show a value of its metadata"),
        value(
            "print-detached-metadata-key",
            "KEY",
            "Show a value of its detached metadata",
        ),
        flag("list-metadata-keys", "Name the values of its metadata"),
        flag(
            "list-detached-metadata-keys",
            "Name the values of its detached metadata",
        ),
        flag("print-sizes", "Show the sizes of its objects"),
        flag("raw", "Show the object's value"),
        flag("no-byteswap", "Read numbers as they are stored").short('B'),
        value("gpg-homedir", "DIR", "Where keys are"),
        value(
            "gpg-verify-remote",
            "REMOTE",
            "Check signatures by the keys of a remote",
        ),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let rev = cx.word(0, "An object argument is required")?;
    if let Some(key) = cx.given.value("print-metadata-key") {
        let commit = repo.load_commit(&repo.resolve(&rev)?)?;
        let value = commit.metadata.get(key).cloned();
        return metadata(cx, value);
    }
    if let Some(key) = cx.given.value("print-detached-metadata-key") {
        let detached = repo.detached_metadata(&repo.resolve(&rev)?)?;
        let value = detached.and_then(|d| d.get(key).cloned());
        return metadata(cx, value);
    }
    if cx.given.has("list-metadata-keys") {
        let commit = repo.load_commit(&repo.resolve(&rev)?)?;
        return keys(
            cx,
            commit.metadata.iter().map(|(k, _)| k.to_owned()).collect(),
        );
    }
    if cx.given.has("list-detached-metadata-keys") {
        let detached = repo
            .detached_metadata(&repo.resolve(&rev)?)?
            .unwrap_or_default();
        return keys(cx, detached.iter().map(|(k, _)| k.to_owned()).collect());
    }
    if cx.given.has("print-related") {
        let commit = repo.load_commit(&repo.resolve(&rev)?)?;
        for (name, checksum) in commit.related {
            writeln!(cx.out, "{name} {checksum}")?;
        }
        return Ok(());
    }
    if let Some(of) = cx.given.value("print-variant-type") {
        let of = ostree::gvariant::Type::parse(of.as_bytes())?;
        let value = Value::decode_typed(&std::fs::read(&rev)?, &of)?;
        return print::raw(cx, &value);
    }
    object(cx, &repo, &rev)
}

/// Shows what a checksum or a revision names.
fn object(cx: &mut Cx, repo: &Repo, rev: &str) -> anyhow::Result<()> {
    if let Ok(checksum) = rev.parse::<Checksum>() {
        for kind in [ObjectKind::DirTree, ObjectKind::DirMeta] {
            if repo.has(&ObjectName::new(checksum, kind))? {
                return print::raw(cx, &repo.object_value(&ObjectName::new(checksum, kind))?);
            }
        }
    }
    let checksum = repo.resolve(rev)?;
    let commit = repo.load_commit(&checksum)?;
    if cx.given.has("print-sizes") {
        return sizes(cx, repo, &commit);
    }
    if cx.given.has("raw") {
        return print::raw_commit(cx, &checksum, &commit);
    }
    print::commit(cx, &checksum, &commit)?;
    super::signing::describe(cx, repo, &checksum)
}

fn metadata(cx: &mut Cx, value: Option<Value>) -> anyhow::Result<()> {
    let Some(value) = value else {
        return fail("No such metadata key");
    };
    let value = match cx.given.has("no-byteswap") {
        true => value,
        false => value.byteswapped(),
    };
    print::raw(cx, &value)
}

fn keys(cx: &mut Cx, mut keys: Vec<String>) -> anyhow::Result<()> {
    keys.sort();
    for key in keys {
        writeln!(cx.out, "{key}")?;
    }
    Ok(())
}

fn sizes(cx: &mut Cx, repo: &Repo, commit: &Commit) -> anyhow::Result<()> {
    let Some(sizes) = repo.sizes(commit)? else {
        return fail("No metadata key ostree.sizes in commit");
    };
    let (needed, all) = (sizes.needed, sizes.total);
    let size = print::size;
    writeln!(
        cx.out,
        "Compressed size (needed/total): {}/{}",
        size(needed.compressed),
        size(all.compressed)
    )?;
    writeln!(
        cx.out,
        "Unpacked size (needed/total): {}/{}",
        size(needed.unpacked),
        size(all.unpacked)
    )?;
    Ok(writeln!(
        cx.out,
        "Number of objects (needed/total): {}/{}",
        needed.objects, all.objects
    )?)
}
