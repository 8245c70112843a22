//! `backstop repo init`

use std::sync::Arc;

use clap::{Args, ValueEnum};
use durable::RealFs;
use ostree::{Repo, RepoMode};
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// Make a repository, if there is none.
#[derive(Debug, Args)]
pub struct Init {
    /// How it keeps files
    #[arg(long, value_enum, default_value = "bare")]
    mode: Mode,
}

/// How a repository keeps files.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// As they are, for a host's own repository (needs root)
    Bare,
    /// Readable by one unprivileged user
    BareUser,
    /// Compressed, for a server
    #[value(alias = "archive-z2")]
    Archive,
}

impl Init {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let mode = match self.mode {
            Mode::Bare => RepoMode::Bare,
            Mode::BareUser => RepoMode::BareUser,
            Mode::Archive => RepoMode::Archive,
        };
        let repo = Repo::create(Arc::new(RealFs), &cx.path, mode)?;
        cx.out
            .json(&json!({ "path": repo.path(), "mode": mode.as_str() }))?;
        Ok(Ended::Done)
    }
}
