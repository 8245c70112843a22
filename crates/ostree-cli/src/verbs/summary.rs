//! `ostree summary`

use ostree::{Metadata, Repo, Summary, SummaryRef, Value};

use super::print;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};
use crate::{date, fail};

pub const COMMAND: Command = Command {
    name: "summary",
    summary: "Write or show what a repository offers",
    words: "",
    works: Works::OnRepo,
    options: &[
        flag("update", "Write it").short('u'),
        flag("view", "Show it").short('v'),
        flag("raw", "Show its value"),
        value("print-metadata-key", "KEY", "Show a value of its metadata"),
        flag("list-metadata-keys", "Name the values of its metadata"),
        value("gpg-sign", "KEY", "Sign it with this key of gpg"),
        value("gpg-homedir", "DIR", "Where keys of gpg are"),
        value("sign", "KEY", "Sign it with this key"),
        value("sign-type", "NAME", "What kind of key that is"),
        value(
            "add-metadata",
            "KEY=VALUE",
            "Say something about the repository",
        )
        .short('m'),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    if cx.given.has("update") {
        return update(cx, &repo);
    }
    let shows = ["view", "raw", "print-metadata-key", "list-metadata-keys"];
    if !shows.iter().any(|o| cx.given.has(o)) {
        return fail("No option specified; use -u to update summary");
    }
    let Some(bytes) = repo.summary_bytes()? else {
        return fail("No summary file: No such file or directory");
    };
    let summary = Summary::decode(&bytes)?;
    show(cx, &bytes, &summary)
}

fn update(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    let mut more = Metadata::default();
    for text in cx.given.values("add-metadata") {
        let Some((key, text)) = text.split_once('=') else {
            return fail(format!("Missing '=' in KEY=VALUE metadata '{text}'"));
        };
        more.set(key, Value::parse_text(text)?);
    }
    repo.commit_metadata(&more, &super::signing::signers(cx)?)?;
    let summary = repo.summarize(&more)?;
    let bytes = summary.encode();
    let signatures = super::signing::sign_summary(cx, &bytes)?;
    Ok(repo.publish_summary(&bytes, signatures.as_deref())?)
}

/// Brings the summary up to date after a ref has changed, where the settings want
/// that.
pub fn update_after_ref(repo: &Repo) -> anyhow::Result<()> {
    update_if_set(repo, &["auto-update-summary"])
}

/// The same after a commit.
pub fn update_after_commit(repo: &Repo) -> anyhow::Result<()> {
    update_if_set(repo, &["auto-update-summary", "commit-update-summary"])
}

fn update_if_set(repo: &Repo, keys: &[&str]) -> anyhow::Result<()> {
    for key in keys {
        let value = repo.config_value("core", key)?;
        if matches!(value.as_deref(), Some("true" | "1")) {
            let summary = repo.summarize(&Metadata::default())?;
            return Ok(repo.write_summary(&summary)?);
        }
    }
    Ok(())
}

/// Shows a summary as the options want it.
pub fn show(cx: &mut Cx, bytes: &[u8], summary: &Summary) -> anyhow::Result<()> {
    if cx.given.has("raw") {
        let of = ostree::gvariant::Type::parse(b"(a(s(taya{sv}))a{sv})")?;
        return print::raw(cx, &Value::decode_typed(bytes, &of)?);
    }
    if let Some(key) = cx.given.value("print-metadata-key") {
        let Some(value) = summary.metadata.get(key) else {
            return fail(format!("No such metadata key '{key}'"));
        };
        return print::raw(cx, &value.clone());
    }
    if cx.given.has("list-metadata-keys") {
        let mut keys: Vec<_> = summary.metadata.iter().map(|(k, _)| k.to_owned()).collect();
        keys.sort();
        for key in keys {
            writeln!(cx.out, "{key}")?;
        }
        return Ok(());
    }
    view(cx, summary)
}

fn view(cx: &mut Cx, summary: &Summary) -> anyhow::Result<()> {
    let own = summary.collection_id();
    for (name, found) in &summary.refs {
        match own {
            Some(id) => view_ref(cx, &format!("({id}, {name})"), found)?,
            None => view_ref(cx, name, found)?,
        }
    }
    for (of, found) in summary.collection_refs()? {
        view_ref(cx, &of.to_string(), &found)?;
    }
    for (key, value) in summary.metadata.iter() {
        let label = match key {
            "ostree.summary.mode" => "Repository Mode (ostree.summary.mode)".to_owned(),
            "ostree.summary.last-modified" => {
                "Last-Modified (ostree.summary.last-modified)".to_owned()
            }
            "ostree.summary.expires" => "Expires (ostree.summary.expires)".to_owned(),
            "ostree.summary.tombstone-commits" => {
                "Has Tombstone Commits (ostree.summary.tombstone-commits)".to_owned()
            }
            "ostree.summary.collection-id" => {
                "Collection ID (ostree.summary.collection-id)".to_owned()
            }
            "ostree.summary.collection-map" => {
                writeln!(
                    cx.out,
                    "Collection Map (ostree.summary.collection-map): (printed above)"
                )?;
                continue;
            }
            "ostree.static-deltas" => {
                writeln!(cx.out, "Static Deltas (ostree.static-deltas): {value}")?;
                continue;
            }
            other => other.to_owned(),
        };
        writeln!(cx.out, "{label}: {}", key_text(key, value))?;
    }
    Ok(())
}

fn view_ref(cx: &mut Cx, name: &str, found: &SummaryRef) -> anyhow::Result<()> {
    writeln!(cx.out, "* {name}")?;
    let size = print::size(found.commit_size);
    writeln!(cx.out, "    Latest Commit ({size}):")?;
    writeln!(cx.out, "      {}", found.commit)?;
    for (key, value) in found.metadata.iter() {
        let text = key_text(key, value);
        let label = match key {
            "ostree.commit.version" => "Version (ostree.commit.version)".to_owned(),
            "ostree.commit.timestamp" => "Timestamp (ostree.commit.timestamp)".to_owned(),
            other => other.to_owned(),
        };
        writeln!(cx.out, "    {label}: {text}")?;
    }
    Ok(writeln!(cx.out)?)
}

/// A value for people.
fn key_text(key: &str, value: &Value) -> String {
    let is_time =
        key.ends_with(".timestamp") || key.ends_with("last-modified") || key.ends_with(".expires");
    match (value.as_u64_be(), value) {
        (Some(time), _) if is_time => date::shown_iso(time),
        (_, Value::Bool(true)) => "Yes".to_owned(),
        (_, Value::Bool(false)) => "No".to_owned(),
        (_, Value::Text(text)) => text.clone(),
        (_, Value::Array(_, items)) if items.is_empty() && value.to_string().starts_with("@a{") => {
            "{}".to_owned()
        }
        _ => value.to_string(),
    }
}
