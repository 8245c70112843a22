//! `ostree sign`

use ostree::sign::{Scheme, Signer, Vouched};
use ostree::{Checksum, Repo};

use super::signing;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "sign",
    summary: "Sign a commit, or check its signatures",
    words: "COMMIT [KEY…]",
    works: Works::OnRepo,
    options: &[
        flag("delete", "Remove signatures by these keys").short('d'),
        flag("verify", "Check that one of these keys signed it"),
        value("sign-type", "NAME", "What kind of key that is").short('s'),
        value("keys-file", "FILE", "Keys, one a line"),
        value("keys-dir", "DIR", "Keys in files"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let rev = cx.word(0, "Need a COMMIT to sign or verify")?;
    let repo = cx.repo()?;
    let commit = repo.resolve(&rev)?;
    let words = cx.given.rest[1..].to_vec();
    if cx.given.has("verify") {
        return verify(cx, &repo, &commit, &words);
    }
    if cx.given.has("delete") {
        return fail("--delete is not supported yet");
    }
    let mut keys = words;
    keys.extend(signing::keys_of_file(cx)?);
    if keys.is_empty() {
        return fail("Need a KEY to sign with");
    }
    for key in keys {
        repo.sign_commit(&commit, &Signer::parse(signing::scheme(cx)?, &key)?)?;
    }
    Ok(())
}

/// Checks that a key vouches for a commit, and says which.
fn verify(cx: &mut Cx, repo: &Repo, commit: &Checksum, words: &[String]) -> anyhow::Result<()> {
    let scheme = signing::scheme(cx)?;
    let first = words.first().map_or("", String::as_str);
    if scheme == Scheme::Dummy && Signer::parse(scheme, first).is_err() {
        return fail("dummy: No valid signatures found: that kind is for tests, and not enabled");
    }
    let trust = signing::trust(cx, words)?;
    let text = match repo.verify_commit(commit, &trust)? {
        Vouched::Ed25519(key) => {
            format!("ed25519: Signature verified successfully with key '{key}'")
        }
        Vouched::Dummy => "dummy: Signature verified".to_owned(),
        other => format!("Signature verified: {other}"),
    };
    Ok(writeln!(cx.out, "{text}")?)
}
