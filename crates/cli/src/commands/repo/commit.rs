//! `backstop repo commit`

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use ostree::{CommitOptions, CommitSummary, Metadata, Parent, Repo, Value};
use serde_json::json;

use super::Context;
use super::sign::SignArgs;
use crate::exit::Ended;

/// Store a directory as a new version, and print its checksum.
#[derive(Debug, Args)]
pub struct Commit {
    /// The directory
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The name to give the version
    #[arg(short, long, value_name = "REF", required_unless_present = "orphan")]
    branch: Option<String>,
    /// Don't give the version a name
    #[arg(long, conflicts_with = "branch")]
    orphan: bool,
    /// One line that says what it is
    #[arg(short, long, default_value = "")]
    subject: String,
    /// More about it
    #[arg(short = 'm', long, default_value = "")]
    body: String,
    /// The version before; "none" for none. The branch's last one when not given
    #[arg(long, value_name = "REV")]
    parent: Option<String>,
    /// When: "@SECONDS" since 1970, or like "2026-04-30T12:00:00Z"
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    timestamp: Option<u64>,
    /// Say something about it, such as "version=12.8"
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    add_metadata_string: Vec<(String, String)>,
    /// Another name that the version may be found under
    #[arg(long, value_name = "REF")]
    bind_ref: Vec<String>,
    /// Don't write into the version which names it may be found under
    #[arg(long, conflicts_with = "bind_ref")]
    no_bindings: bool,
    /// Owner of all files
    #[arg(long, value_name = "UID")]
    owner_uid: Option<u32>,
    /// Group of all files
    #[arg(long, value_name = "GID")]
    owner_gid: Option<u32>,
    /// Owner and group 0, no set-id bits, no extended attributes
    #[arg(long, conflicts_with_all = ["owner_uid", "owner_gid"])]
    canonical_permissions: bool,
    /// Leave extended attributes out
    #[arg(long)]
    no_xattrs: bool,
    #[command(flatten)]
    sign: SignArgs,
    /// Print more, as "KEY: VALUE" lines
    #[arg(long)]
    table_output: bool,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("it has no \"=\"")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn parse_time(text: &str) -> Result<u64, String> {
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds
            .parse()
            .map_err(|_| "not a number of seconds".to_owned());
    }
    let time: jiff::Timestamp = text.parse().map_err(|e: jiff::Error| e.to_string())?;
    u64::try_from(time.as_second()).map_err(|_| "it is before 1970".to_owned())
}

impl Commit {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let options = self.options(&repo)?;
        let monitor = cx.monitor();
        let summary = repo
            .commit_dir(&self.dir, &options, &monitor)
            .with_context(|| format!("cannot commit {}", self.dir.display()))?;
        if self.table_output {
            table(cx, &summary)?;
        } else {
            cx.out.line(&summary.checksum.to_string())?;
        }
        cx.out.json(&json!({
            "checksum": summary.checksum.to_string(),
            "metadata_total": summary.metadata_total,
            "content_total": summary.content_total,
            "objects_written": summary.objects_written,
            "bytes_written": summary.bytes_written,
        }))?;
        Ok(Ended::Done)
    }

    fn options(&self, repo: &Repo) -> anyhow::Result<CommitOptions> {
        let mut metadata = Metadata::default();
        for (key, value) in &self.add_metadata_string {
            if metadata.get(key).is_some() {
                bail!("the metadata {key:?} is given twice");
            }
            metadata.set(key, Value::from(value.as_str()));
        }
        Ok(CommitOptions {
            branch: self.branch.clone(),
            parent: match self.parent.as_deref() {
                None => Parent::OfBranch,
                Some("none") => Parent::None,
                Some(rev) => Parent::Commit(repo.resolve(rev)?),
            },
            subject: self.subject.clone(),
            body: self.body.clone(),
            timestamp: self.timestamp,
            metadata,
            bind_refs: self.bind_ref.clone(),
            no_bindings: self.no_bindings,
            owner_uid: self.owner_uid,
            owner_gid: self.owner_gid,
            canonical_permissions: self.canonical_permissions,
            no_xattrs: self.no_xattrs,
            signers: self.sign.signers()?,
            ..CommitOptions::default()
        })
    }
}

fn table(cx: &mut Context<'_>, summary: &CommitSummary) -> std::io::Result<()> {
    cx.out.line(&format!("Commit: {}", summary.checksum))?;
    cx.out
        .line(&format!("Metadata Total: {}", summary.metadata_total))?;
    cx.out
        .line(&format!("Content Total: {}", summary.content_total))?;
    cx.out
        .line(&format!("Objects Written: {}", summary.objects_written))?;
    cx.out
        .line(&format!("Bytes Written: {}", summary.bytes_written))
}
