//! A commit and those before it.

use crate::{Checksum, Commit, ObjectKind, ObjectName, Repo, Result};

/// A commit and its ancestors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Newest first.
    pub commits: Vec<(Checksum, Commit)>,
    /// Whether older ones exist that are not in this repository.
    pub cut: bool,
}

impl Repo {
    /// The commit and at most `limit - 1` of its ancestors.
    ///
    /// # Errors
    /// A damaged commit; the first one missing.
    pub fn history(&self, commit: &Checksum, limit: usize) -> Result<History> {
        let mut history = History::default();
        let mut next = Some(*commit);
        while let Some(checksum) = next.filter(|_| history.commits.len() < limit) {
            let here = self.has(&ObjectName::new(checksum, ObjectKind::Commit))?;
            if !here && !history.commits.is_empty() {
                history.cut = true;
                break;
            }
            let commit = self.load_commit(&checksum)?;
            next = commit.parent;
            history.commits.push((checksum, commit));
        }
        Ok(history)
    }
}
