//! What every part of a commit's trees is taken in with.

use std::collections::HashMap;
use std::path::Path;
use std::sync::PoisonError;

use monitor::Monitor;

use super::{Counts, Task, Walk};
use crate::commit_options::CommitOptions;
use crate::digests::Digests;
use crate::modify::{LinkedFiles, Modified};
use crate::store::Staging;
use crate::workers::work_through;
use crate::{Checksum, Error, Repo, Result};

/// Where trees go, and what is changed of them on the way.
pub(super) struct Intake<'a> {
    pub(super) repo: &'a Repo,
    pub(super) staging: &'a Staging<'a>,
    pub(super) options: &'a CommitOptions,
    pub(super) modified: Modified<'a>,
    /// Digests of files that need not be read.
    pub(super) digests: Option<Digests>,
    pub(super) monitor: &'a dyn Monitor,
}

impl<'a> Intake<'a> {
    /// One that reads every file.
    pub(super) fn new(
        repo: &'a Repo,
        staging: &'a Staging<'a>,
        options: &'a CommitOptions,
        monitor: &'a dyn Monitor,
    ) -> Self {
        Self {
            repo,
            staging,
            options,
            modified: Modified::new(&options.modify),
            digests: None,
            monitor,
        }
    }

    /// One that reads those files that changed since the last commit of them. What is
    /// consumed is not there again; what a policy labels has other digests by its path.
    pub(super) fn remembering(mut self) -> Self {
        let CommitOptions {
            policy, read_all, ..
        } = self.options;
        if !self.options.modify.consume && !read_all && policy.is_none() {
            self.digests = Digests::open(self.repo);
        }
        self
    }

    /// Whether extended attributes are left out.
    pub(super) fn drops_xattrs(&self) -> bool {
        self.options.drops_xattrs(self.repo)
    }

    /// Takes a directory in; its tree and attributes.
    pub(super) fn walk(&self, dir: &Path, counts: &mut Counts) -> Result<(Checksum, Checksum)> {
        let known = match self.options.modify.links {
            LinkedFiles::Read => HashMap::new(),
            _ => self.repo.objects_by_inode()?,
        };
        let walk = Walk::new(self, dir, known);
        let first = vec![Task::Dir(dir.to_owned(), String::new(), None)];
        work_through(first, Vec::new, |task, buffer, tasks| {
            walk.work(task, buffer, tasks)
        })?;
        counts.dirs += walk.dirs.into_inner();
        counts.files += walk.files.into_inner();
        counts.hits += walk.hits.into_inner();
        counts.unread += walk.unread.into_inner();
        let root = walk
            .root
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        root.ok_or(Error::Uncommittable {
            path: dir.to_owned(),
            why: "it is not a directory",
        })
    }
}
