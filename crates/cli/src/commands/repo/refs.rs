//! `backstop repo refs`

use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// List, set and delete the names of versions.
#[derive(Debug, Args)]
pub struct Refs {
    /// Only this name and those below it; with --create, the version to name
    prefix: Option<String>,
    /// Show the versions' checksums too
    #[arg(short, long)]
    revision: bool,
    /// Give a version another name
    #[arg(
        long,
        value_name = "REF",
        requires = "prefix",
        conflicts_with = "delete"
    )]
    create: Option<String>,
    /// Let --create change a name that exists
    #[arg(long, requires = "create")]
    force: bool,
    /// Delete this name and those below it; the versions stay until `prune`
    #[arg(long, requires = "prefix")]
    delete: bool,
}

impl Refs {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        if let (Some(name), Some(rev)) = (&self.create, &self.prefix) {
            let target = repo.resolve(rev)?;
            if !self.force && repo.read_ref(name)?.is_some() {
                bail!("the ref {name} exists already: use --force to change it");
            }
            repo.set_ref(name, Some(&target))?;
            return Ok(Ended::Done);
        }
        for (name, checksum) in repo.refs(self.prefix.as_deref())? {
            if self.delete {
                repo.set_ref(&name, None)?;
                continue;
            }
            cx.out
                .json(&json!({ "ref": name, "checksum": checksum.to_string() }))?;
            cx.out.line(&match self.revision {
                true => format!("{name}\t{checksum}"),
                false => name,
            })?;
        }
        Ok(Ended::Done)
    }
}
