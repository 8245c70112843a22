//! What a pull is to bring.

use crate::{Checksum, Repo};

/// A commit to pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What the remote calls it, if it was wanted by name.
    pub name: Option<String>,
    /// Which commit that is.
    pub commit: Checksum,
}

/// What a pull is to bring, and under which conditions.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The commits.
    pub wanted: Vec<Wanted>,
    /// The remote under whose name the refs are filed; `None` with [`Self::mirror`].
    pub remote: Option<String>,
    /// The refs become the repository's own.
    pub mirror: bool,
    /// How many commits before each come along; `None`: all that there are.
    pub depth: Option<u32>,
    /// Only these paths, and what leads to them; all when empty.
    pub subpaths: Vec<String>,
    /// Commits without their content.
    pub commit_metadata_only: bool,
    /// Repositories on this machine that are looked into first.
    pub local_caches: Vec<Repo>,
    /// Whether a commit that is bound to refs must be bound to that which was wanted.
    pub verify_bindings: bool,
    /// The collection that refs are of: then, commits must say so.
    pub collection: Option<String>,
    /// Whether a ref may not go back in time.
    pub timestamp_check: bool,
    /// A commit that no wanted one may be older than.
    pub timestamp_check_from: Option<Checksum>,
    /// Whether files with set-user-id bits and the like are refused, and others that
    /// a `bare-user-only` repository cannot hold.
    pub plain_modes_only: bool,
    /// Whether an archive takes an archive's files over as they come, unread. What is
    /// damaged there is damaged here.
    pub unverified_files: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            wanted: Vec::new(),
            remote: None,
            mirror: false,
            depth: Some(0),
            subpaths: Vec::new(),
            commit_metadata_only: false,
            local_caches: Vec::new(),
            verify_bindings: true,
            collection: None,
            timestamp_check: false,
            timestamp_check_from: None,
            plain_modes_only: false,
            unverified_files: false,
        }
    }
}

impl SessionOptions {
    /// Whether what is pulled will lack something.
    pub(super) fn is_partial(&self) -> bool {
        self.commit_metadata_only || !self.subpaths.is_empty()
    }
}

impl Wanted {
    /// The ref that it becomes here.
    pub(super) fn local_ref(&self, options: &SessionOptions) -> Option<String> {
        let name = self.name.as_ref()?;
        match &options.remote {
            Some(remote) if !options.mirror => Some(format!("{remote}:{name}")),
            _ => Some(name.clone()),
        }
    }
}
