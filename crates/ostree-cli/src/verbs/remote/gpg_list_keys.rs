//! `ostree remote gpg-list-keys`

use ostree::sign::OpenPgpPart;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::date;

pub const COMMAND: Command = Command {
    name: "gpg-list-keys",
    summary: "Show the keys of gpg that are trusted for another repository",
    words: "[NAME]",
    works: Works::OnRepo,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let remote = match cx.given.rest.first() {
        Some(name) => Some(repo.remote(name)?),
        None => None,
    };
    let revoked = |is| if is { " (revoked)" } else { "" };
    let gpg = repo.own_gpg(remote.as_ref().map(|r| r.name()))?;
    if gpg.keyrings.is_empty() {
        return Ok(());
    }
    let keys = gpg.keys()?;
    let addresses = gpg.wkd_addresses(&keys)?;
    for (key, addresses) in keys.iter().zip(addresses) {
        let note = revoked(key.primary.is_revoked);
        writeln!(cx.out, "Key: {}{note}", key.primary.fingerprint)?;
        times(cx, &key.primary, "  ")?;
        for (user, addresses) in key.users.iter().zip(addresses) {
            writeln!(cx.out, "  UID: {}{}", user.name, revoked(user.is_revoked))?;
            if let Some(found) = addresses {
                writeln!(cx.out, "  Advanced update URL: {}", found.advanced)?;
                writeln!(cx.out, "  Direct update URL: {}", found.direct)?;
            }
        }
        for part in &key.subkeys {
            let note = revoked(part.is_revoked);
            writeln!(cx.out, "  Subkey: {}{note}", part.fingerprint)?;
            times(cx, part, "    ")?;
        }
    }
    Ok(())
}

/// From when to when a key holds.
fn times(cx: &mut Cx, key: &OpenPgpPart, indent: &str) -> anyhow::Result<()> {
    writeln!(cx.out, "{indent}Created: {}", date::shown_long(key.created))?;
    let word = if key.is_expired { "Expired" } else { "Expires" };
    if key.expires > 0 {
        writeln!(cx.out, "{indent}{word}: {}", date::shown_long(key.expires))?;
    }
    Ok(())
}
