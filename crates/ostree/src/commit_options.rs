//! What a commit says, what it is made of, and what came of it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::Checksum;
use crate::format::Metadata;
use crate::modify::Modify;
use crate::selinux::SePolicy;
use crate::sign::Signer;
use crate::tar_import::Archive;

/// A tree to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A directory.
    Dir(PathBuf),
    /// What a commit holds, changed like the content of a directory.
    Commit(Checksum),
    /// What a commit holds, as it is.
    Base(Checksum),
    /// An archive.
    Tar(Archive),
    /// A directory of root's with nothing in it.
    Empty,
}

/// What a commit says and how files are taken in.
#[derive(Debug, Clone, Default)]
pub struct CommitOptions {
    /// The ref to point to the new commit. Its commit becomes the parent, unless
    /// `parent` says otherwise.
    pub branch: Option<String>,
    /// The commit before this one.
    pub parent: Parent,
    /// One line that says what it is.
    pub subject: String,
    /// More about it.
    pub body: String,
    /// Seconds since 1970; the time of the commit when `None`.
    pub timestamp: Option<u64>,
    /// Named values, such as `version`; the ref binding is added to them.
    pub metadata: Metadata,
    /// Further refs that this commit may be found under.
    pub bind_refs: Vec<String>,
    /// Leaves the bindings to refs and to the repository's collection out.
    pub no_bindings: bool,
    /// Owner of everything.
    pub owner_uid: Option<u32>,
    /// Group of everything.
    pub owner_gid: Option<u32>,
    /// Owner and group 0; no set-id, sticky or others' write bits; no extended
    /// attributes.
    pub canonical_permissions: bool,
    /// Leaves all extended attributes out.
    pub no_xattrs: bool,
    /// Whose labels files get, instead of those that they have.
    pub policy: Option<Arc<SePolicy>>,
    /// Who signs the commit, before the branch points to it.
    pub signers: Vec<Signer>,
    /// What else is changed on the way in.
    pub modify: Modify,
    /// Says that this is a system that boots, and with which kernel.
    pub bootable: bool,
    /// What is said of the commit beside it, which its digest does not cover.
    pub detached: Option<Metadata>,
    /// Writes into the commit how large its objects are; for archives.
    pub sizes: bool,
    /// A failure to end with just before anything is published, for those who test
    /// what is left then.
    pub before_publishing: Option<&'static str>,
    /// Reads every file, also those of which the digest is known since the last commit.
    pub read_all: bool,
    /// Makes no commit where the content is the parent's.
    pub skip_unchanged: bool,
}

/// Where a commit's parent comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Parent {
    /// The commit that the branch points to, if there is one.
    #[default]
    OfBranch,
    /// No parent.
    None,
    /// This one.
    Commit(Checksum),
}

/// What came of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitSummary {
    /// The commit.
    pub checksum: Checksum,
    /// Metadata objects in the tree, with the commit; equal ones count once for
    /// each place.
    pub metadata_total: u64,
    /// Files and symlinks in the tree.
    pub content_total: u64,
    /// Objects that were not there before.
    pub objects_written: u64,
    /// Files among those.
    pub content_written: u64,
    /// Files that were known by their hard links, and not read.
    pub cache_hits: u64,
    /// Files that did not change since they were last committed, and were not read.
    pub unread: u64,
    /// Bytes of those objects, before compression.
    pub bytes_written: u64,
}
