//! What can go wrong with a repository.

use std::path::PathBuf;

use crate::config::{BadConfig, RepoMode};
use crate::delta::DeltaError;
use crate::gvariant::Malformed;
use crate::sign::SignError;
use crate::{Checksum, ObjectName};

/// A failed operation on a repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk said no.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// There is no repository.
    #[error("{} is not a repository: it has no config file", path.display())]
    NotARepo {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The `config` file is unusable.
    #[error("cannot use the repository {}", path.display())]
    Config {
        /// The repository.
        path: PathBuf,
        /// What is wrong with it.
        source: BadConfig,
    },
    /// A repository that exists has another mode than the wanted one.
    #[error("the repository {} exists already, in mode {found} and not {wanted}", path.display())]
    OtherMode {
        /// The repository.
        path: PathBuf,
        /// Its mode.
        found: RepoMode,
        /// The mode asked for.
        wanted: RepoMode,
    },
    /// An object is not there.
    #[error("the object {0} is missing")]
    Missing(ObjectName),
    /// An object's bytes do not have the digest that names it.
    #[error("the object {object} is damaged: its digest is {found}")]
    WrongDigest {
        /// The object.
        object: ObjectName,
        /// The digest of what is there.
        found: Checksum,
    },
    /// An object's bytes are not what its kind demands.
    #[error("the object {object} is damaged")]
    Damaged {
        /// The object.
        object: ObjectName,
        /// How.
        source: Malformed,
    },
    /// A directory has a name in it that leads out of it, or nowhere.
    #[error("the object {object} is damaged: it has {name:?} for a file's name")]
    BadName {
        /// The directory.
        object: ObjectName,
        /// The name.
        name: String,
    },
    /// An object can not be read to its end.
    #[error("cannot read the object {object}")]
    Unreadable {
        /// The object.
        object: ObjectName,
        /// Why not.
        source: std::io::Error,
    },
    /// A revision names nothing.
    #[error("there is no ref or commit {0:?} in this repository")]
    NoSuchRev(String),
    /// A prefix fits several commits.
    #[error("{rev:?} could be several commits: {}", candidates(found))]
    Ambiguous {
        /// The prefix.
        rev: String,
        /// The commits.
        found: Vec<Checksum>,
    },
    /// `^` of a commit that has none before it.
    #[error("the commit {0} has no parent")]
    NoParent(Checksum),
    /// A ref's name is not allowed.
    #[error(
        "{0:?} cannot be the name of a ref: it is made of parts joined by \"/\", each of letters, \
         digits, \"-\", \".\" and \"_\", starting with a letter, digit or \"_\""
    )]
    RefName(String),
    /// A ref's file does not hold a checksum.
    #[error("the ref {0} is damaged: its file does not hold a checksum")]
    DamagedRef(String),
    /// A ref leads to a commit that is not there.
    #[error("the ref {name} leads to the commit {checksum}, which is missing")]
    RefToNothing {
        /// The ref.
        name: String,
        /// What it leads to.
        checksum: Checksum,
    },
    /// A path is not in the commit.
    #[error("{} is not in the commit", path.display())]
    NoSuchPath {
        /// The path.
        path: PathBuf,
    },
    /// A path is of another kind than what was asked for.
    #[error("{} in the commit is not {wanted}", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// A file is longer than the reader wants.
    #[error("{} in the commit is longer than {limit} bytes", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// A file that a commit cannot hold.
    #[error("cannot store {}: {why}", path.display())]
    Uncommittable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// The metadata that tells the sizes of a commit's objects cannot be understood.
    #[error("the metadata ostree.sizes of the commit is damaged")]
    BadSizes,
    /// Somebody who tests wanted a failure.
    #[error("{0}")]
    Wanted(&'static str),
    /// A file whose mode could do harm.
    #[error(
        "the file {object} has the mode {mode:o}, whose bits {bits:o} may not be in this repository"
    )]
    HarmfulMode {
        /// The file.
        object: ObjectName,
        /// Its mode.
        mode: u32,
        /// The bits that may not be.
        bits: u32,
    },
    /// Nothing was given that a commit could hold.
    #[error("there is no tree to commit")]
    NothingToCommit,
    /// A change is wanted for a path that is not in the tree.
    #[error("the {list} names {}, which is not in the tree", path.display())]
    Unmatched {
        /// The path.
        path: PathBuf,
        /// The list that names it.
        list: &'static str,
    },
    /// A file that a bare repository cannot hold.
    #[error(
        "a file's extended attributes are not sorted by name, and a bare repository cannot keep \
         them so: pull into one of mode bare-user or archive, or commit the tree anew with backstop"
    )]
    UnsortedXattrs,
    /// A policy of SELinux that cannot be used.
    #[error("cannot use the SELinux policy in {}: {why}", path.display())]
    SePolicy {
        /// The file of it.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An archive that cannot be read.
    #[error("cannot read the archive {}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// An entry of an archive that cannot be taken in.
    #[error("cannot take {} out of the archive: {why}", path.display())]
    ArchiveEntry {
        /// The entry.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// Writing would eat the space that must stay free.
    #[error(
        "not enough space for {}: {needed} more bytes would leave less than the {reserve} bytes \
         that min-free-space keeps ({free} are free); free some space, or change [core] \
         min-free-space-percent in its config",
        path.display()
    )]
    NoSpace {
        /// The repository.
        path: PathBuf,
        /// The size of the object to write.
        needed: u64,
        /// What is free now.
        free: u64,
        /// What must stay free.
        reserve: u64,
    },
    /// The filesystem is full.
    #[error(
        "the filesystem of {} is full: free some space and run the same again",
        path.display()
    )]
    Full {
        /// The repository or checkout.
        path: PathBuf,
        /// The failed write.
        source: durable::Error,
    },
    /// A checkout's destination is in the way.
    #[error("{} exists already", path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// Hard links were demanded but cannot be made.
    #[error("cannot make hard links of this repository's objects in {}: {why}", path.display())]
    NoHardLinks {
        /// The destination.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A name that cannot be a remote's.
    #[error(
        "{0:?} cannot be the name of a remote: it is made of letters, digits, \"-\", \".\" and \
         \"_\", starting with a letter, digit or \"_\""
    )]
    RemoteName(String),
    /// A cookie that a request cannot carry.
    #[error(
        "the cookie {0:?} cannot be sent: host, path and name may not be empty or have blanks in \
         them, and the path begins with \"/\""
    )]
    BadCookie(String),
    /// There is no such remote.
    #[error("there is no remote {0:?} in this repository; `remote list` shows those there are")]
    NoRemote(String),
    /// There is such a remote.
    #[error("the remote {name} exists already, in {}", file.display())]
    RemoteExists {
        /// Its name.
        name: String,
        /// The file that holds its settings.
        file: PathBuf,
    },
    /// A remote's settings are unusable.
    #[error("cannot use the remote {name}: {key} {why}")]
    BadRemote {
        /// Its name.
        name: String,
        /// The setting.
        key: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A commit's detached metadata cannot be read.
    #[error("the detached metadata of {object} is damaged")]
    DamagedDetached {
        /// The commit.
        object: ObjectName,
        /// How.
        source: Malformed,
    },
    /// A commit or summary is not believed.
    #[error("{what} is refused")]
    Refused {
        /// What.
        what: String,
        /// Why.
        source: crate::Distrust,
    },
    /// A signed summary is demanded, and there is none.
    #[error("the source has no summary, or a damaged one, and a signed one is demanded")]
    NoSummary,
    /// A remote lacks an object that it must have.
    #[error("the remote does not have the object {0}: it is incomplete, or being written")]
    NotServed(ObjectName),
    /// Something that is not on this machine cannot be had.
    #[error("cannot fetch {what}")]
    Unavailable {
        /// What.
        what: String,
        /// Why not.
        source: crate::Distrust,
    },
    /// A delta is another one than the remote lists.
    #[error("the delta's superblock has the digest {found}, and the remote lists {wanted}")]
    OtherSuperblock {
        /// The listed digest.
        wanted: Checksum,
        /// The one that came.
        found: Checksum,
    },
    /// A file that only a privileged owner should have.
    #[error("the file {object} has the mode {mode:o}, and only plain ones are wanted")]
    UnsafeMode {
        /// The object.
        object: ObjectName,
        /// Its mode.
        mode: u32,
    },
    /// A remote named more objects than can be meant.
    #[error("there are more than {0} objects to pull: that is taken for an attack")]
    TooMany(u64),
    /// A commit was made for other refs.
    #[error("the commit {commit} is not meant for the ref {name:?}: it is bound to {bound:?}")]
    OtherBinding {
        /// The commit.
        commit: Checksum,
        /// The ref that led to it.
        name: String,
        /// Those that it is for.
        bound: String,
    },
    /// A commit was made for another collection.
    #[error(
        "the commit {commit} is not meant for the collection {wanted}: it is bound to {}",
        bound.as_deref().map_or("none".to_owned(), |b| format!("{b:?}"))
    )]
    OtherCollection {
        /// The commit.
        commit: Checksum,
        /// The collection that it was found in.
        wanted: String,
        /// The one that it is for, if it says so.
        bound: Option<String>,
    },
    /// A name that no collection can have.
    #[error(
        "{0:?} is not the name of a collection: it is a reversed domain name, such as org.example.Os"
    )]
    CollectionId(String),
    /// A ref would go back in time.
    #[error(
        "the commit {commit}, made {time} seconds after 1970, is older than {current}, which is \
         here already and was made {current_time} seconds after 1970"
    )]
    BackInTime {
        /// The pulled commit.
        commit: Checksum,
        /// When it was made.
        time: u64,
        /// The commit that it would replace.
        current: Checksum,
        /// When that was made.
        current_time: u64,
    },
    /// A commit is not signed by anybody who is trusted.
    #[error("the commit {commit} is not trusted")]
    UntrustedCommit {
        /// The commit.
        commit: Checksum,
        /// Why not.
        source: Box<SignError>,
    },
    /// A summary is not signed by anybody who is trusted.
    #[error("the summary of the remote {remote:?} is not trusted")]
    UntrustedSummary {
        /// The remote.
        remote: String,
        /// Why not.
        source: Box<SignError>,
    },
    /// Signing failed, or what is needed to check signatures is unusable.
    #[error(transparent)]
    Sign(Box<SignError>),
    /// A static delta could not be made or used.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// A tree is nested so deeply that it cannot be meant.
    #[error("the directory {} is nested too deeply", path.display())]
    TooDeep {
        /// The path.
        path: PathBuf,
    },
}

fn candidates(found: &[Checksum]) -> String {
    let all: Vec<_> = found.iter().map(Checksum::to_string).collect();
    all.join(", ")
}

/// Result of an operation on a repository.
pub type Result<T> = std::result::Result<T, Error>;

impl From<SignError> for Error {
    fn from(error: SignError) -> Self {
        Self::Sign(Box::new(error))
    }
}

impl Error {
    /// Whether the disk was full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } | Self::NoSpace { .. } => true,
            Self::Disk(e) => e.source.kind() == std::io::ErrorKind::StorageFull,
            _ => false,
        }
    }

    /// Whether it is damage of what the repository holds.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Missing(_)
                | Self::WrongDigest { .. }
                | Self::Damaged { .. }
                | Self::BadName { .. }
                | Self::Unreadable { .. }
                | Self::DamagedRef(_)
                | Self::RefToNothing { .. }
        )
    }

    /// Says what to do when a filesystem ran full while writing to `path`.
    pub(crate) fn explain_full(self, path: &std::path::Path) -> Self {
        match self {
            Self::Disk(source) if source.source.kind() == std::io::ErrorKind::StorageFull => {
                let path = path.to_owned();
                Self::Full { path, source }
            }
            other => other,
        }
    }
}
