//! One thing to ask the other side for.

use super::{PullSession, Wanted};
use crate::detached::MAX_DETACHED;
use crate::{Checksum, ObjectKind, ObjectName};

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// An object.
    Object(ObjectName),
    /// The detached metadata of a commit.
    Detached(Checksum),
}

/// Which part of a tree is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// All of it.
    All,
    /// What these paths lead to, each as its components.
    Below(Vec<Vec<String>>),
}

/// One thing to ask the other side for.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) what: What,
    /// Of a tree, what is wanted of it.
    pub(super) scope: Scope,
    /// Of a commit, how many before it come along; `None`: all.
    pub(super) depth: Option<u32>,
    /// Whether it was wanted itself, and not as the parent of another.
    pub(super) first: bool,
    /// Whether it is no error that the other side lacks it.
    pub(super) optional: bool,
}

impl Request {
    pub(super) fn object(checksum: Checksum, kind: ObjectKind) -> Self {
        Self {
            what: What::Object(ObjectName::new(checksum, kind)),
            scope: Scope::All,
            depth: Some(0),
            first: false,
            optional: false,
        }
    }

    pub(super) fn wanted(wanted: &Wanted, depth: Option<u32>) -> Self {
        Self {
            depth,
            first: true,
            ..Self::object(wanted.commit, ObjectKind::Commit)
        }
    }

    pub(super) fn detached(commit: Checksum) -> Self {
        Self {
            what: What::Detached(commit),
            optional: true,
            ..Self::object(commit, ObjectKind::Commit)
        }
    }

    /// Whether it never changes, so that any mirror of the remote's content may have it.
    /// What is added to a commit later comes from the remote itself.
    #[must_use]
    pub fn is_content(&self) -> bool {
        !matches!(self.what, What::Detached(_))
    }

    /// Where it is below the remote's address.
    #[must_use]
    pub fn path(&self) -> String {
        let (object, meta) = match self.what {
            What::Object(object) => (object, ""),
            What::Detached(commit) => (ObjectName::new(commit, ObjectKind::Commit), "meta"),
        };
        let path = object.relative_path(PullSession::FAR_MODE);
        format!("objects/{}{meta}", path.display())
    }

    /// The most bytes that may come; `None` where that depends on what they say.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        match self.what {
            What::Object(object) if object.kind == ObjectKind::File => None,
            What::Object(object) => Some(object.kind.limit()),
            What::Detached(_) => Some(MAX_DETACHED),
        }
    }

    /// Its name for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        match self.what {
            What::Object(object) => format!("the object {object}"),
            What::Detached(commit) => format!("the detached metadata of the commit {commit}"),
        }
    }
}
