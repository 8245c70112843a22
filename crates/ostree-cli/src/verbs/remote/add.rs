//! `ostree remote add`

use ostree::{IfExists, Remote};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "add",
    summary: "Name another repository to pull from",
    words: "NAME URL [BRANCH…]",
    works: Works::OnRepo,
    options: &[
        value("set", "KEY=VALUE", "Another setting"),
        flag("no-gpg-verify", "Demand no signature of gpg"),
        flag("no-sign-verify", "Demand no signature"),
        value(
            "sign-verify",
            "TYPE=(inline|file):KEY",
            "Demand a signature by this key",
        ),
        flag("if-not-exists", "Do nothing where there is one of the name"),
        flag("force", "Replace one of the name"),
        value("gpg-import", "FILE", "Trust the keys in a file"),
        value("custom-backend", "NAME", "What pulls from it"),
        value("contenturl", "URL", "Where its files are, if elsewhere"),
        value(
            "collection-id",
            "ID",
            "The collection that its refs belong to",
        ),
        value("sysroot", "PATH", "The host whose repository it is for"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let given = &cx.given;
    let needs_url = !given.has("collection-id") && !given.has("custom-backend");
    if given.rest.is_empty() || (given.rest.len() < 2 && needs_url) {
        return fail("NAME and URL must be specified");
    }
    let if_exists = match (given.has("if-not-exists"), given.has("force")) {
        (true, true) => {
            return fail("Can only specify one of --if-not-exists and --force");
        }
        (true, _) => IfExists::Keep,
        (_, true) => IfExists::Replace,
        _ => IfExists::Fail,
    };
    let repo = cx.repo_or_host()?;
    let remote = remote(cx)?;
    repo.add_remote(&remote, if_exists)?;
    crate::verbs::signing::import_keys(cx, &repo, remote.name())
}

fn remote(cx: &Cx) -> anyhow::Result<Remote> {
    let given = &cx.given;
    let (name, url) = (&given.rest[0], given.rest.get(1).map_or("", String::as_str));
    let mut remote = match url.strip_prefix("metalink=") {
        Some(metalink) => {
            let mut remote = Remote::new(name, "")?;
            remote.set("url", None);
            remote.set("metalink", Some(metalink));
            remote
        }
        None => Remote::new(name, url)?,
    };
    if url.is_empty() {
        remote.set("url", None);
    }
    if given.rest.len() > 2 {
        let branches: String = given.rest[2..].iter().map(|b| format!("{b};")).collect();
        remote.set("branches", Some(&branches));
    }
    for (option, key) in [
        ("contenturl", "contenturl"),
        ("custom-backend", "custom-backend"),
        ("collection-id", "collection-id"),
    ] {
        if let Some(value) = given.value(option) {
            remote.set(key, Some(value));
        }
    }
    for text in given.values("set") {
        let Some((key, value)) = text.split_once('=') else {
            return fail(format!("Missing '=' in KEY=VALUE for --set: {text}"));
        };
        remote.set(key, Some(value));
    }
    if given.has("no-gpg-verify") || given.has("no-sign-verify") {
        remote.set("gpg-verify", Some("false"));
    }
    if given.has("no-sign-verify") {
        remote.set("sign-verify", Some("false"));
    }
    sign_verify(cx, &mut remote)?;
    Ok(remote)
}

/// The keys whose signatures are demanded.
fn sign_verify(cx: &Cx, remote: &mut Remote) -> anyhow::Result<()> {
    let mut types = Vec::new();
    for text in cx.given.values("sign-verify") {
        let Some((kind, key)) = text.split_once('=') else {
            return fail(format!(
                "Failed to parse KEYTYPE=[inline|file]:DATA in {text}"
            ));
        };
        if !matches!(kind, "ed25519" | "dummy") {
            return fail("Requested signature type is not implemented");
        }
        let setting = match key.split_once(':') {
            Some(("inline", _)) => format!("verification-{kind}-key"),
            Some(("file", _)) => format!("verification-{kind}-file"),
            _ => {
                return fail(format!(
                    "Invalid key reference {key}, expected (inline|file):DATA"
                ));
            }
        };
        let data = key.split_once(':').map(|(_, data)| data);
        remote.set(&setting, data);
        types.push(kind);
    }
    if !types.is_empty() {
        remote.set("sign-verify", Some(&types.join(";")));
    }
    Ok(())
}
