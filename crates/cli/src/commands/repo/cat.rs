//! `backstop repo cat`

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use super::Context;
use crate::exit::Ended;

/// Print files of a version.
#[derive(Debug, Args)]
pub struct Cat {
    /// The version
    rev: String,
    /// The files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

impl Cat {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let checksum = repo.resolve(&self.rev)?;
        for path in &self.paths {
            match repo.read_file(&checksum, path, u64::MAX)? {
                Some(content) => cx.out.bytes(&content)?,
                None => bail!("{} is not in {}", path.display(), self.rev),
            }
        }
        Ok(Ended::Done)
    }
}
