//! Commits: judged before anything that they name is asked for.

use super::request::{Request, What};
use super::{PullSession, lock};
use crate::collection::check_binding;
use crate::format::{Commit, Metadata};
use crate::{Checksum, Error, FetchedCommit, ObjectKind, ObjectName, Result, Trust};

/// A commit whose signatures are still to come.
#[derive(Debug)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    request: Request,
}

impl PullSession<'_> {
    /// A commit arrived, or was here: now for its signatures.
    pub(super) fn take_commit(&self, request: &Request, bytes: &[u8]) -> Result<()> {
        let What::Object(object) = request.what else {
            return Ok(());
        };
        let pending = Pending {
            bytes: bytes.to_vec(),
            request: request.clone(),
        };
        lock(&self.pending).insert(object.checksum, pending);
        self.push(Request::detached(object.checksum))
    }

    /// Whether a commit that arrived is believed without any signature, because none is
    /// demanded.
    pub(super) fn needs_no_signature(&self, checksum: &Checksum) -> bool {
        let pending = lock(&self.pending);
        let Some(pending) = pending.get(checksum) else {
            return false;
        };
        let judged = self.verifier.verify_commit(&FetchedCommit {
            checksum,
            bytes: &pending.bytes,
            detached: None,
        });
        matches!(judged, Ok(Trust::Undemanded))
    }

    /// The signatures of a commit arrived, or there are none.
    pub(super) fn commit_with(&self, checksum: Checksum, detached: Option<Metadata>) -> Result<()> {
        let Some(pending) = lock(&self.pending).remove(&checksum) else {
            return Ok(());
        };
        // Those that are here already count too, when nothing came.
        let known = match &detached {
            Some(_) => None,
            None => self.repo.detached_metadata(&checksum)?,
        };
        let fetched = FetchedCommit {
            checksum: &checksum,
            bytes: &pending.bytes,
            detached: detached.as_ref().or(known.as_ref()),
        };
        let judged = self.verifier.verify_commit(&fetched);
        judged.map_err(|source| Error::Refused {
            what: format!("the commit {checksum}"),
            source,
        })?;
        let object = ObjectName::new(checksum, ObjectKind::Commit);
        let commit =
            Commit::decode(&pending.bytes).map_err(|source| Error::Damaged { object, source })?;
        self.check_binding(&checksum, &commit)?;
        self.check_time(&pending.request, &checksum, &commit)?;
        let complete = self.repo.has(&object)? && !self.repo.is_partial(&checksum)?;
        self.staging.metadata(ObjectKind::Commit, &pending.bytes)?;
        if let Some(detached) = detached {
            lock(&self.detached).push((checksum, detached));
        }
        if !complete {
            lock(&self.commits).push(checksum);
        }
        self.follow_commit(&pending.request, &commit, complete)
    }

    /// A commit that says which refs it is for must be for those that it was found as.
    fn check_binding(&self, checksum: &Checksum, commit: &Commit) -> Result<()> {
        if !self.options.verify_bindings {
            return Ok(());
        }
        let collection = self.options.collection.as_deref();
        let wanted = self.options.wanted.iter().filter(|w| w.commit == *checksum);
        let mut names = wanted.filter_map(|w| w.name.as_ref());
        names.try_for_each(|name| check_binding(&commit.metadata, checksum, collection, name))
    }

    /// A ref must not go back in time, where that is asked for.
    fn check_time(&self, request: &Request, checksum: &Checksum, commit: &Commit) -> Result<()> {
        if !request.first {
            return Ok(());
        }
        let mut floors = Vec::from_iter(self.options.timestamp_check_from);
        if self.options.timestamp_check {
            let wanted = self.options.wanted.iter().filter(|w| w.commit == *checksum);
            for name in wanted.filter_map(|w| w.local_ref(&self.options)) {
                floors.extend(self.repo.read_ref(&name)?);
            }
        }
        for floor in floors {
            let current = self.repo.load_commit(&floor)?.timestamp;
            if commit.timestamp < current {
                return Err(Error::BackInTime {
                    commit: *checksum,
                    time: commit.timestamp,
                    current: floor,
                    current_time: current,
                });
            }
        }
        Ok(())
    }

    /// Stores what is said of the commits, before they are there themselves.
    pub(super) fn publish_detached(&self) -> Result<()> {
        for (commit, metadata) in std::mem::take(&mut *lock(&self.detached)) {
            let known = self.repo.detached_metadata(&commit).ok().flatten();
            if known.as_ref() == Some(&metadata) {
                continue;
            }
            let path = self.repo.detached_path(&commit);
            if let Some(dir) = path.parent() {
                durable::create_dir_all(self.repo.fs(), dir, 0o755)?;
            }
            durable::publish_file(self.repo.fs(), &path, &metadata.encode(), 0o644)?;
        }
        Ok(())
    }
}
