//! `backstop repo serve`

use std::net::{IpAddr, SocketAddr};

use anyhow::bail;
use clap::Args;
use ostree::RepoMode;
use serde_json::json;
use serve::{Limits, Server};

use super::Context;
use crate::exit::Ended;

/// Let others pull over HTTP, until stopped. Nothing can be changed that way.
#[derive(Debug, Args)]
pub struct Serve {
    /// Listen at this port; 0: any that is free
    #[arg(short = 'P', long, default_value_t = 8080)]
    port: u16,
    /// Listen at this address only
    #[arg(long, default_value = "::")]
    address: IpAddr,
    /// How many clients may be connected; more have to wait
    #[arg(long, default_value_t = Limits::default().connections)]
    connections: usize,
    /// How many objects an answer may hold; 1 where a cache in front is to keep them
    #[arg(long, default_value_t = Limits::default().many)]
    many: usize,
}

impl Serve {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        if repo.mode() != RepoMode::Archive {
            bail!(
                "{} is a repository in mode {}: over HTTP only archives can be pulled; make one \
                 with `init --mode archive` and fill it with `pull-local`",
                repo.path().display(),
                repo.mode()
            );
        }
        let limits = Limits {
            connections: self.connections.max(1),
            many: self.many,
            ..Limits::default()
        };
        let address = SocketAddr::new(self.address, self.port);
        let server = Server::bind(repo.path(), address, limits)?;
        let url = format!("http://{}/", server.address());
        cx.out.json(&json!({ "url": url }))?;
        cx.out
            .line(&format!("serving {} at {url}", repo.path().display()))?;
        server.run()?;
        Ok(Ended::Done)
    }
}
