//! What both programs do.

use super::floor::Floor;

/// A piece of work: its name, and the arguments that make each program do it in
/// its directory, where `repo` is a repository and `tree` what is committed.
pub struct Work {
    pub name: &'static str,
    /// A repository that must be there, beside `repo`.
    pub into: Option<Into>,
    pub ostree: &'static [&'static str],
    pub backstop: &'static [&'static str],
    /// What it reads: in memory when it begins.
    pub reads: Reads,
    /// What no program can do without.
    pub floor: &'static [Floor],
}

/// A new repository, into which something goes.
#[derive(Debug, Clone, Copy)]
pub struct Into {
    pub name: &'static str,
    pub kind: Kind,
}

/// What a new repository is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As the host's own.
    Bare,
    /// The same, with the served one as its remote.
    Following(Answers),
    /// What is served over HTTP.
    Archive,
}

/// What the server sends in one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// One object, as any web server does.
    One,
    /// Many, to those who ask for them.
    Many,
}

/// What a piece of work reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// The tree that is committed.
    Tree,
    /// The program's own repository.
    Repo,
    /// The archive that is served.
    Served,
}

/// One round, in this order: each piece builds on those before it. But for one file that
/// warms memory, nothing is removed within a round: ext4 searches long for an inode that was not in use a
/// minute ago, and who comes after a removal pays for it.
pub const WORKS: [Work; 11] = [
    Work {
        name: "commit to bare",
        into: None,
        ostree: &["commit", "--repo=repo", "-b", "main", "tree"],
        backstop: &["commit", "--repo=repo", "-b", "main", "tree"],
        reads: Reads::Tree,
        floor: &[Floor::Hash, Floor::Create],
    },
    Work {
        name: "commit again, nothing new",
        into: None,
        ostree: &["commit", "--repo=repo", "-b", "main", "tree"],
        backstop: &["commit", "--repo=repo", "-b", "main", "tree"],
        reads: Reads::Tree,
        floor: &[Floor::Look],
    },
    Work {
        name: "commit to archive",
        into: Some(Into {
            name: "packed",
            kind: Kind::Archive,
        }),
        ostree: &["commit", "--repo=packed", "-b", "main", "tree"],
        backstop: &["commit", "--repo=packed", "-b", "main", "tree"],
        reads: Reads::Tree,
        floor: &[Floor::Hash, Floor::Deflate, Floor::Create],
    },
    Work {
        name: "fsck",
        into: None,
        ostree: &["fsck", "-q", "--repo=repo"],
        backstop: &["fsck", "--repo=repo"],
        reads: Reads::Repo,
        floor: &[Floor::Hash],
    },
    Work {
        name: "checkout, hard links",
        into: None,
        ostree: &["checkout", "-H", "--repo=repo", "main", "links"],
        backstop: &["checkout", "-H", "--repo=repo", "main", "links"],
        reads: Reads::Repo,
        floor: &[Floor::Link],
    },
    Work {
        name: "checkout, copies",
        into: None,
        ostree: &["checkout", "-C", "--repo=repo", "main", "copies"],
        backstop: &["checkout", "-C", "--repo=repo", "main", "copies"],
        reads: Reads::Repo,
        floor: &[Floor::Copy],
    },
    Work {
        name: "pull-local, verified, links",
        into: Some(Into {
            name: "verified",
            kind: Kind::Bare,
        }),
        ostree: &[
            "pull-local",
            "--untrusted",
            "--repo=verified",
            "repo",
            "main",
        ],
        backstop: &["pull-local", "--repo=verified", "repo", "main"],
        reads: Reads::Repo,
        floor: &[Floor::Hash, Floor::Link],
    },
    Work {
        name: "pull-local, trusted, links",
        into: Some(Into {
            name: "trusted",
            kind: Kind::Bare,
        }),
        ostree: &["pull-local", "--repo=trusted", "repo", "main"],
        backstop: &["pull-local", "--trusted", "--repo=trusted", "repo", "main"],
        reads: Reads::Repo,
        floor: &[Floor::Link],
    },
    Work {
        name: "pull over HTTP, archive to bare",
        into: Some(Into {
            name: "pulled",
            kind: Kind::Following(Answers::Many),
        }),
        ostree: &["pull", "--repo=pulled", "origin", "main"],
        backstop: &["pull", "--repo=pulled", "origin", "main"],
        reads: Reads::Served,
        floor: &[Floor::Inflate, Floor::Hash, Floor::Create],
    },
    Work {
        name: "the same, an object an answer",
        into: Some(Into {
            name: "singly",
            kind: Kind::Following(Answers::One),
        }),
        ostree: &["pull", "--repo=singly", "origin", "main"],
        backstop: &["pull", "--repo=singly", "origin", "main"],
        reads: Reads::Served,
        floor: &[Floor::Inflate, Floor::Hash, Floor::Create],
    },
    Work {
        name: "prune, nothing to do",
        into: None,
        ostree: &["prune", "--repo=repo"],
        backstop: &["prune", "--repo=repo"],
        reads: Reads::Repo,
        floor: &[Floor::Look],
    },
];
