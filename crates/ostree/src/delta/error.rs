//! What can be wrong with a static delta.

use std::path::PathBuf;

use super::DeltaName;
use crate::gvariant::Malformed;
use crate::{Checksum, ObjectName};

/// Why a delta cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// A text that should name a delta does not.
    #[error("{0:?} is not the name of a delta: it is TO or FROM-TO, each a checksum")]
    Name(String),
    /// There is no such delta.
    #[error("there is no delta {0} in this repository")]
    Missing(DeltaName),
    /// A superblock is not what it should be.
    #[error("the delta's superblock is damaged")]
    Superblock(#[source] Malformed),
    /// The commit in a superblock is another one than it says.
    #[error("the delta's superblock holds the commit {found} and not {wanted}, as it says")]
    OtherCommit {
        /// The digest that it says.
        wanted: Checksum,
        /// The digest of what it holds.
        found: Checksum,
    },
    /// A part of the delta is damaged.
    #[error("part {part} of the delta is damaged")]
    Part {
        /// Its number, from 0.
        part: usize,
        /// How.
        source: PartError,
    },
    /// A delta that starts from a commit that is not here.
    #[error("the delta starts from the commit {0}, which is not in this repository in full")]
    NoSource(Checksum),
    /// A delta leaves objects out, for them to be fetched by themselves.
    #[error(
        "the delta leaves out {count} objects, such as {first}, that are too large for it and must \
         be fetched by themselves: pull the commit, or make the delta with no such limit \
         (--min-fallback-size=0)"
    )]
    Fallbacks {
        /// How many.
        count: usize,
        /// One of them.
        first: ObjectName,
    },
    /// Applied, the delta leaves the commit incomplete.
    #[error("the delta does not hold all that its commit needs")]
    Incomplete(#[source] Box<crate::Error>),
    /// A delta must be signed and is not.
    #[error("the delta is not signed, and only signed ones are accepted here")]
    Unsigned,
    /// Nobody who is trusted signed the delta.
    #[error("the delta is not trusted")]
    Untrusted(#[source] Box<crate::sign::SignError>),
    /// A file that should hold a delta cannot be one.
    #[error("{} is not a delta: it is neither a superblock nor a directory with one", .0.display())]
    NotADelta(PathBuf),
    /// Compression failed.
    #[error("cannot compress a part of the delta")]
    Compress(#[source] std::io::Error),
}

/// How a part is damaged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// Its bytes do not have the digest that the superblock gives.
    #[error("its digest is {found} and not {wanted}")]
    WrongDigest {
        /// What the superblock says.
        wanted: Checksum,
        /// What it is.
        found: Checksum,
    },
    /// It is of another size than the superblock says.
    #[error("it is {found} bytes long and not {wanted}")]
    WrongSize {
        /// What the superblock says.
        wanted: u64,
        /// What it is.
        found: u64,
    },
    /// A version of the format that is unknown.
    #[error("it is of version {0}, and this program knows version 0 only: use a newer one")]
    Version(u32),
    /// A kind of compression that is unknown.
    #[error("it is compressed in a way that is not known (0x{0:02x})")]
    Compression(u8),
    /// It cannot be unpacked.
    #[error("it cannot be unpacked")]
    Unpack(#[source] std::io::Error),
    /// It unpacks to more than its objects can need.
    #[error("it unpacks to more than {0} bytes, more than its objects can need")]
    TooLong(u64),
    /// Its values are not in normal form.
    #[error("its content is damaged")]
    Malformed(#[source] Malformed),
    /// One of its operations makes no sense.
    #[error("operation {number}: {why}")]
    Operation {
        /// Which, from 0.
        number: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A patch in it makes no sense.
    #[error("a patch in it leads nowhere: {0}")]
    Patch(&'static str),
}
