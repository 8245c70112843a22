//! How to pull, and how to use the network.

use std::path::PathBuf;
use std::time::Duration;

use ostree::Cookie;

use crate::Deltas;

/// How to use the network.
#[derive(Debug, Clone)]
pub struct NetOptions {
    /// An address to use instead of the remote's own.
    pub url: Option<String>,
    /// More headers for each request.
    pub headers: Vec<(String, String)>,
    /// How we introduce ourselves.
    pub agent: String,
    /// Is added to that.
    pub user_agent: Option<String>,
    /// Cookies, of which each server hears those that are for it.
    pub cookies: Vec<Cookie>,
    /// How often a request that brings nothing is tried again.
    pub retries: u32,
    /// How many requests may be under way at once; `None`: 16, and four times as many
    /// where they share a connection (HTTP/2).
    pub in_flight: Option<usize>,
    /// The least bytes per second that a transfer must bring.
    pub low_speed: u64,
    /// For how long it may bring less before it is given up.
    pub patience: Duration,
    /// Where summaries are kept for the next time, instead of in the repository.
    pub summaries: Option<PathBuf>,
}

impl Default for NetOptions {
    fn default() -> Self {
        Self {
            url: None,
            headers: Vec::new(),
            agent: concat!("backstop/", env!("CARGO_PKG_VERSION")).to_owned(),
            user_agent: None,
            cookies: Vec::new(),
            retries: 5,
            in_flight: None,
            low_speed: 1000,
            patience: Duration::from_secs(30),
            summaries: None,
        }
    }
}

/// What to pull, and how.
#[derive(Debug, Clone)]
pub struct PullOptions {
    /// Refs, commits, or `REF@COMMIT`; when empty, the remote's `branches`, or, to
    /// mirror, all that it has.
    pub refs: Vec<String>,
    /// The refs become the repository's own instead of the remote's.
    pub mirror: bool,
    /// How many commits before each come along; `None`: all that there are.
    pub depth: Option<u32>,
    /// Only these paths, and what leads to them; all when empty.
    pub subpaths: Vec<String>,
    /// Commits without their content.
    pub commit_metadata_only: bool,
    /// Repositories on this machine that are looked into first.
    pub local_caches: Vec<PathBuf>,
    /// Whether a commit that is bound to refs must be bound to that which was wanted.
    pub verify_bindings: bool,
    /// Whether a ref may not go back in time.
    pub timestamp_check: bool,
    /// A revision that nothing wanted may be older than.
    pub timestamp_check_from: Option<String>,
    /// Whether files with set-user-id bits and the like are refused.
    pub plain_modes_only: bool,
    /// Whether an archive takes a remote's files over unread. What is damaged there is
    /// damaged here.
    pub unverified_files: bool,
    /// Whether to use static deltas.
    pub deltas: Deltas,
    /// Whether a signed summary may be older than one seen before, or expired.
    pub older_summary: bool,
    /// How to use the network.
    pub net: NetOptions,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            refs: Vec::new(),
            mirror: false,
            depth: Some(0),
            subpaths: Vec::new(),
            commit_metadata_only: false,
            local_caches: Vec::new(),
            verify_bindings: true,
            timestamp_check: false,
            timestamp_check_from: None,
            plain_modes_only: false,
            unverified_files: false,
            deltas: Deltas::default(),
            older_summary: false,
            net: NetOptions::default(),
        }
    }
}
