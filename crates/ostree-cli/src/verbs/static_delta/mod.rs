//! `ostree static-delta`: one file per subcommand, save for the short ones.

use std::path::Path;

use ostree::delta::{ApplyOptions, DeltaName};

use super::signing;
use crate::command::{Command, Node};
use crate::fail;
use crate::options::value;

mod generate;
mod show;

/// All subcommands.
pub const ALL: &[Node] = &[
    Node::One(&LIST),
    Node::One(&show::COMMAND),
    Node::One(&DELETE),
    Node::One(&generate::COMMAND),
    Node::One(&APPLY),
    Node::One(&VERIFY),
    Node::One(&INDEXES),
    Node::One(&REINDEX),
];

const KEYS: &[crate::options::Opt] = &[
    value("sign-type", "NAME", "What kind of key that is"),
    value("keys-file", "FILE", "Keys, one a line"),
    value("keys-dir", "DIR", "Keys in files"),
];

const LIST: Command = Command::on_repo("list", "Name the deltas", "", &[], |cx| {
    let all = cx.repo()?.deltas()?;
    if all.is_empty() {
        return Ok(writeln!(cx.out, "(No static deltas)")?);
    }
    for delta in all {
        writeln!(cx.out, "{delta}")?;
    }
    Ok(())
});

const DELETE: Command = Command::on_repo("delete", "Remove a delta", "[FROM-]TO", &[], |cx| {
    let name = cx.word(0, "DELTA must be specified")?;
    let repo = cx.repo()?;
    let delta: DeltaName = name.parse()?;
    if !repo.has_delta(&delta)? {
        return fail(format!("Can't find delta {name}"));
    }
    Ok(repo.delete_delta(&delta)?)
});

const INDEXES: Command = Command::on_repo("indexes", "Name the indexes of deltas", "", &[], |cx| {
    let all = cx.repo()?.delta_indexes()?;
    if all.is_empty() {
        return Ok(writeln!(cx.out, "(No static deltas indexes)")?);
    }
    for commit in all {
        writeln!(cx.out, "{commit}")?;
    }
    Ok(())
});

const REINDEX: Command = Command::on_repo(
    "reindex",
    "Bring the indexes of deltas up to date",
    "",
    &[value("to", "REV", "Only that of this commit")],
    |cx| {
        let repo = cx.repo()?;
        let to = cx
            .given
            .value("to")
            .map(|to| repo.resolve(to))
            .transpose()?;
        Ok(repo.reindex_deltas(to.as_ref())?)
    },
);

const APPLY: Command = Command::on_repo(
    "apply-offline",
    "Apply a delta that is in files",
    "PATH [KEY…]",
    KEYS,
    |cx| {
        let path = cx.word(0, "PATH must be specified")?;
        let words = cx.given.rest[1..].to_vec();
        let signed = !words.is_empty()
            || ["sign-type", "keys-file", "keys-dir"]
                .iter()
                .any(|o| cx.given.has(o));
        let demanded = cx.repo()?.config_value("core", "sign-verify-deltas")?;
        if !signed && matches!(demanded.as_deref(), Some("true" | "1")) {
            return fail("Key is mandatory to check delta signature");
        }
        let options = ApplyOptions {
            trust: signed.then(|| signing::trust(cx, &words)).transpose()?,
            must_be_signed: signed,
        };
        cx.repo()?
            .apply_delta(Path::new(&path), &options, &cx.monitor())?;
        Ok(())
    },
);

const VERIFY: Command = Command::on_repo(
    "verify",
    "Check who signed a delta",
    "STATIC-DELTA [KEY…]",
    KEYS,
    |cx| {
        let name = cx.word(0, "DELTA must be specified")?;
        let words = cx.given.rest[1..].to_vec();
        let trust = signing::trust(cx, &words)?;
        let repo = cx.repo()?;
        let verified = match name.contains('/') {
            true => repo.verify_delta_file(Path::new(&name), &trust),
            false => repo.verify_delta(&name.parse()?, &trust),
        };
        match verified {
            Ok(_) => Ok(writeln!(cx.out, "Verification OK")?),
            Err(e) => {
                writeln!(cx.out, "Verification fails")?;
                Err(e.into())
            }
        }
    },
);
