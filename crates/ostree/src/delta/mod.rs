//! Static deltas: what turns one commit into another, made once and fetched by many.
//!
//! A delta is a *superblock*, which names the commits and lists the *parts*, and the
//! parts. A part is a block of data and a program of operations that makes objects
//! of that data and of files of the old commit. `docs/formats/delta.md` has the
//! bytes; they are those of `ostree`, so each may apply what the other made.
//!
//! | file | has |
//! | --- | --- |
//! | `name`, `superblock`, `part`, `program` | the format: bytes to values and back, no I/O |
//! | `matching`, `bsdiff`, `encode` | finding what two files share, and writing it down |
//! | `similar`, `builder`, `generate` | making a delta |
//! | `patch`, `rebuild`, `apply` | applying one |
//! | `shelf`, `index`, `show` | the deltas in a repository |
//!
//! Nothing of a delta is believed: every object that it makes is checked against its
//! digest before it counts, and every number in it against what there is.

mod apply;
mod bsdiff;
mod builder;
mod encode;
mod error;
mod generate;
mod index;
mod matching;
mod name;
mod part;
mod patch;
mod program;
mod rebuild;
mod shelf;
mod show;
mod similar;
mod superblock;
mod varint;

pub use apply::{ApplyOptions, ApplySummary, PartSource};
pub use error::{DeltaError, PartError};
pub use generate::{DeltaOptions, DeltaSummary};
pub use name::DeltaName;
pub use part::Part;
pub use program::{Content, Operations, Piece, Recipe, Target};
pub use show::{DeltaReport, PartReport};
pub use superblock::{
    Endianness, Fallback, MAX_SUPERBLOCK, PartHeader, SignedSuperblock, Superblock,
};

/// Entry points for tests that feed bytes of any kind to the parsers.
pub mod raw {
    pub use super::bsdiff::diff;
    pub use super::matching::{Match, find_matches};
    pub use super::part::unpack_part;
    pub use super::patch::apply_patch;
}
