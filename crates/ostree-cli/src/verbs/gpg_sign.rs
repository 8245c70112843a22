//! `ostree gpg-sign`

use ostree::{Checksum, Repo};

use super::signing;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "gpg-sign",
    summary: "Sign a commit by gpg",
    words: "COMMIT KEY…",
    works: Works::OnRepo,
    options: &[
        flag("delete", "Remove signatures by these keys").short('d'),
        value("gpg-homedir", "DIR", "Where keys are"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let rev = cx.word(0, "Need a COMMIT to sign")?;
    cx.word(1, "Need at least one GPG KEY-ID to sign with")?;
    let repo = cx.repo()?;
    let commit = repo.resolve(&rev)?;
    if cx.given.has("delete") {
        return delete(cx, &repo, &commit);
    }
    for key in &cx.given.rest[1..] {
        if !repo.sign_commit(&commit, &signing::gpg_signer(cx, key))? {
            return fail(format!("Commit is already signed with GPG key {key}"));
        }
    }
    Ok(())
}

/// Removes the signatures by the named keys.
fn delete(cx: &mut Cx, repo: &Repo, commit: &Checksum) -> anyhow::Result<()> {
    let gpg = signing::gpg(cx);
    let mut gone = 0;
    for key in &cx.given.rest[1..] {
        gone += repo.remove_gpg_signatures(commit, &gpg, key)?;
    }
    Ok(writeln!(cx.out, "Signatures deleted: {gone}")?)
}
