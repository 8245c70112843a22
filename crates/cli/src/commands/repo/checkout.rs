//! `backstop repo checkout`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use ostree::{CheckoutOptions, Links};
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// Get a version as a directory.
///
/// Files are hard links to the repository where that can be: don't change them in
/// place, or use --force-copy.
#[derive(Debug, Args)]
pub struct Checkout {
    /// The version
    rev: String,
    /// The directory to make; named like the version when not given
    dest: Option<PathBuf>,
    /// Leave owners and extended attributes out, for unprivileged users
    #[arg(short = 'U', long)]
    user_mode: bool,
    /// Fail where hard links cannot be made
    #[arg(short = 'H', long, conflicts_with = "force_copy")]
    require_hardlinks: bool,
    /// Copy all files
    #[arg(short = 'C', long)]
    force_copy: bool,
    /// Only this directory or file
    #[arg(long, value_name = "PATH")]
    subpath: Option<PathBuf>,
    /// Fill a directory that exists
    #[arg(long)]
    into_existing: bool,
}

impl Checkout {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let checksum = repo.resolve(&self.rev)?;
        let dest = self.dest.unwrap_or_else(|| PathBuf::from(&self.rev));
        let options = CheckoutOptions {
            user_mode: self.user_mode,
            links: match (self.require_hardlinks, self.force_copy) {
                (true, _) => Links::Require,
                (_, true) => Links::Never,
                _ => Links::Prefer,
            },
            subpath: self.subpath,
            into_existing: self.into_existing,
            ..CheckoutOptions::default()
        };
        let monitor = cx.monitor();
        let summary = repo
            .checkout(&checksum, &dest, &options, &monitor)
            .with_context(|| format!("cannot check {} out to {}", self.rev, dest.display()))?;
        cx.out.json(&json!({
            "checksum": checksum.to_string(),
            "path": dest,
            "dirs": summary.dirs,
            "linked": summary.linked,
            "copied": summary.copied,
            "copied_bytes": summary.copied_bytes,
        }))?;
        Ok(Ended::Done)
    }
}
