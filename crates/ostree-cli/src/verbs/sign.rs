//! `ostree sign`

use ostree::sign::{Scheme, Signer};

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
        let scheme = signing::scheme(cx)?;
        if scheme == Scheme::Dummy {
            // Says whether that kind may be used at all.
            Signer::parse(scheme, words.first().map_or("", String::as_str))?;
        }
        let trust = signing::trust(cx, &words)?;
        let vouched = repo.verify_commit(&commit, &trust)?;
        return Ok(writeln!(cx.out, "Signature verified: {vouched}")?);
    }
    if cx.given.has("delete") {
        return fail("--delete is not supported yet");
    }
    let mut keys = words;
    if let Some(file) = cx.given.value("keys-file") {
        let text = std::fs::read_to_string(file)?;
        keys.extend(
            text.lines()
                .filter(|l| !l.trim().is_empty())
                .map(str::to_owned),
        );
    }
    if keys.is_empty() {
        return fail("Need a KEY to sign with");
    }
    for key in keys {
        repo.sign_commit(&commit, &Signer::parse(signing::scheme(cx)?, &key)?)?;
    }
    Ok(())
}
