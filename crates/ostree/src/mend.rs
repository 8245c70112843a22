//! What is done about damage that a check found.

use std::collections::BTreeSet;

use durable::Doing;
use monitor::Monitor;

use crate::fsck::FsckReport;
use crate::pull::{PullFiles, PullOptions};
use crate::{Checksum, Error, FsckOptions, ObjectKind, ObjectName, Repo, Result};

/// What a partial mark says when a check made it.
const BY_FSCK: &[u8] = b"f";

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repair {
    /// Objects that were damaged, and removed.
    pub removed: u64,
    /// Commits that were fetched again.
    pub fetched: Vec<Checksum>,
    /// Commits that are still not whole: the other repository does not have them.
    pub lost: Vec<Checksum>,
}

/// The object that an error is about.
fn subject(error: &Error) -> Option<ObjectName> {
    match error {
        Error::Missing(object)
        | Error::BadName { object, .. }
        | Error::WrongDigest { object, .. }
        | Error::Damaged { object, .. }
        | Error::Unreadable { object, .. } => Some(*object),
        _ => None,
    }
}

fn subjects(report: &FsckReport) -> BTreeSet<ObjectName> {
    let errors = report.problems.iter().map(|p| &p.error);
    errors.filter_map(subject).collect()
}

impl Repo {
    /// Marks the commits that need what a check found damaged or missing as not
    /// whole, so that the next pull fetches it. Names them.
    ///
    /// # Errors
    /// The disk's.
    pub fn mark_broken(&self, report: &FsckReport) -> Result<Vec<Checksum>> {
        let bad = subjects(report);
        let mut marked = Vec::new();
        for commit in self.commits()? {
            let object = ObjectName::new(commit, ObjectKind::Commit);
            if !bad.contains(&object) && self.needs_any(&commit, &bad)? {
                self.mark_partial_as(&commit, BY_FSCK)?;
                marked.push(commit);
            }
        }
        Ok(marked)
    }

    /// Removes the damaged objects that a check found, after [`Repo::mark_broken`].
    ///
    /// # Errors
    /// The disk's.
    pub fn remove_damaged(&self, report: &FsckReport) -> Result<u64> {
        self.mark_broken(report)?;
        let bad = subjects(report);
        let mut removed = 0;
        for object in &bad {
            let path = self.object_path(object);
            removed += u64::from(self.fs().metadata(&path).is_ok());
            match object.kind {
                ObjectKind::Commit => self.remove_commit(&object.checksum)?,
                _ => self.remove(&path)?,
            }
        }
        let path = self.path();
        self.fs()
            .sync_filesystem(path)
            .doing("sync the filesystem of", path)?;
        Ok(removed)
    }

    /// Whether a commit needs one of these objects, or cannot be followed to its end.
    fn needs_any(&self, commit: &Checksum, bad: &BTreeSet<ObjectName>) -> Result<bool> {
        match self.reachable_from(commit) {
            Ok(needed) => Ok(bad.iter().any(|o| needed.contains(o))),
            Err(e) if e.is_damage() => Ok(true),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn mark_partial_as(&self, commit: &Checksum, why: &[u8]) -> Result<()> {
        let path = self.partial_mark(commit);
        if let Some(dir) = path.parent() {
            durable::create_dir_all(self.fs(), dir, 0o755)?;
        }
        Ok(durable::publish_file(self.fs(), &path, why, 0o644)?)
    }

    /// How many of these commits a check marked as not whole.
    ///
    /// # Errors
    /// The disk's.
    pub fn partial_by_fsck(&self, commits: &[Checksum]) -> Result<usize> {
        let mut count = 0;
        for commit in commits {
            let mark = durable::read_bounded(self.fs(), &self.partial_mark(commit), 64)?;
            count += usize::from(mark == BY_FSCK);
        }
        Ok(count)
    }

    /// Checks all, removes what is damaged, and fetches what is damaged or missing
    /// from another repository.
    ///
    /// # Errors
    /// The disk's; damage in the other repository.
    pub fn repair(&self, from: &Repo, monitor: &dyn Monitor) -> Result<Repair> {
        let report = self.fsck(&FsckOptions::default(), monitor)?;
        let mut repair = Repair {
            removed: self.remove_damaged(&report)?,
            ..Repair::default()
        };
        let options = PullOptions {
            depth: Some(0),
            files: PullFiles::Verified,
            ..PullOptions::default()
        };
        let mut broken: BTreeSet<Checksum> = BTreeSet::new();
        for commit in self.commits()? {
            if self.is_partial(&commit)? {
                broken.insert(commit);
            }
        }
        for problem in &report.problems {
            match &problem.error {
                Error::RefToNothing { checksum, .. } => drop(broken.insert(*checksum)),
                error => broken.extend(
                    subject(error)
                        .and_then(|o| (o.kind == ObjectKind::Commit).then_some(o.checksum)),
                ),
            }
        }
        for commit in broken {
            match self.pull_local(from, &[commit.to_string()], &options, monitor) {
                Ok(_) => repair.fetched.push(commit),
                Err(Error::Missing(_)) => repair.lost.push(commit),
                Err(other) => return Err(other),
            }
        }
        Ok(repair)
    }
}
