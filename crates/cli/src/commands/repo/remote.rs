//! `backstop repo remote`

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use fetch::{Connection, NetOptions};
use monitor::Silent;
use ostree::sign::RemoteVerifier;
use ostree::{IfExists, Remote};
use serde_json::json;

use super::{Context, date};
use crate::exit::Ended;

/// Say where versions come from.
#[derive(Debug, Args)]
pub struct RemoteArgs {
    #[command(subcommand)]
    command: RemoteCommand,
}

/// A subcommand of `backstop repo remote`.
#[derive(Debug, Subcommand)]
enum RemoteCommand {
    /// Remember a repository to pull from
    Add(Add),
    /// Forget one; the refs and versions stay
    Delete {
        /// Its name
        name: String,
        /// Be content when there is none
        #[arg(long)]
        if_exists: bool,
    },
    /// List them
    List,
    /// Print the address of one
    ShowUrl {
        /// Its name
        name: String,
    },
    /// List the refs that one has now
    Refs {
        /// Its name
        name: String,
    },
    /// Show what one has now
    Summary {
        /// Its name
        name: String,
    },
    /// Trust OpenPGP keys for one
    GpgImport {
        /// Its name
        name: String,
        /// Files with keys
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Only this key of them: its fingerprint, identifier or owner
        #[arg(long, value_name = "KEY")]
        only: Vec<String>,
    },
    /// List the OpenPGP keys that are trusted for one
    GpgListKeys {
        /// Its name
        name: String,
    },
}

/// Remember a repository to pull from.
#[derive(Debug, Args)]
struct Add {
    /// What to call it here
    name: String,
    /// Its address: http, https or file, or mirrorlist= and where a list of them is
    url: String,
    /// The refs to pull when none are named
    branches: Vec<String>,
    /// Another setting, such as proxy=http://proxy:3128
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Accept versions that nobody signed with an OpenPGP key
    #[arg(long)]
    no_gpg_verify: bool,
    /// Another address, for objects
    #[arg(long, value_name = "URL")]
    contenturl: Option<String>,
    /// Leave one of this name as it is
    #[arg(long, conflicts_with = "force")]
    if_not_exists: bool,
    /// Replace one of this name
    #[arg(long)]
    force: bool,
}

impl Add {
    fn remote(&self) -> anyhow::Result<Remote> {
        let mut remote = Remote::new(&self.name, &self.url)?;
        remote.set("contenturl", self.contenturl.as_deref());
        if !self.branches.is_empty() {
            remote.set("branches", Some(&self.branches.join(";")));
        }
        if self.no_gpg_verify {
            remote.set("gpg-verify", Some("false"));
        }
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .with_context(|| format!("{pair:?} is not KEY=VALUE"))?;
            remote.set(key, Some(value));
        }
        Ok(remote)
    }

    fn if_exists(&self) -> IfExists {
        match (self.if_not_exists, self.force) {
            (true, _) => IfExists::Keep,
            (_, true) => IfExists::Replace,
            _ => IfExists::Fail,
        }
    }
}

impl RemoteArgs {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        match self.command {
            RemoteCommand::Add(add) => {
                repo.add_remote(&add.remote()?, add.if_exists())?;
            }
            RemoteCommand::Delete { name, if_exists } => {
                if !repo.delete_remote(&name)? && !if_exists {
                    bail!("there is no remote {name:?} in this repository");
                }
            }
            RemoteCommand::List => {
                for remote in repo.remotes()? {
                    let url = remote.url().unwrap_or_default();
                    cx.out
                        .json(&json!({ "remote": remote.name(), "url": url }))?;
                    cx.out.line(&format!("{}\t{url}", remote.name()))?;
                }
            }
            RemoteCommand::ShowUrl { name } => {
                let remote = repo.remote(&name)?;
                cx.out.json(&json!({ "url": remote.url()? }))?;
                cx.out.line(remote.url()?)?;
            }
            RemoteCommand::GpgImport { name, files, only } => {
                repo.remote(&name)?;
                let paths: Vec<_> = files.iter().map(PathBuf::as_path).collect();
                let added = repo.import_keys(&name, &paths, &only)?;
                cx.out.json(&json!({ "remote": name, "added": added }))?;
                cx.out
                    .line(&format!("{added} keys are trusted that were not before"))?;
            }
            RemoteCommand::GpgListKeys { name } => {
                for key in repo.trusted_keys(Some(&name))? {
                    cx.out.json(&json!({ "fingerprint": key }))?;
                    cx.out.line(&key)?;
                }
            }
            RemoteCommand::Refs { name } => list(cx, &name, false)?,
            RemoteCommand::Summary { name } => list(cx, &name, true)?,
        }
        Ok(Ended::Done)
    }
}

/// What a remote has now.
fn list(cx: &mut Context<'_>, name: &str, more: bool) -> anyhow::Result<()> {
    let repo = cx.open()?;
    let remote = repo.remote(name)?;
    let verifier = RemoteVerifier::new(&repo, &remote)?;
    let connection = Connection::open(&repo, &remote, &NetOptions::default())?;
    let found = connection
        .summary(&repo, &verifier, false, &Silent)
        .with_context(|| format!("cannot read the summary of the remote {name}"))?;
    let summary = found.map(|found| found.summary);
    let refs = connection.refs_of(summary.as_ref())?;
    let refs = refs.with_context(|| format!("the remote {name} has no summary"))?;
    for (ref_name, checksum) in refs {
        cx.out
            .json(&json!({ "ref": ref_name, "checksum": checksum.to_string() }))?;
        let known = summary.as_ref().and_then(|s| s.refs.get(&ref_name));
        cx.out.line(&match known.filter(|_| more) {
            Some(known) => super::summary::line(&ref_name, known),
            None => ref_name,
        })?;
    }
    if let Some(time) = summary.and_then(|s| s.last_modified()).filter(|_| more) {
        cx.out.line(&format!("written {}", date(time)))?;
    }
    Ok(())
}
