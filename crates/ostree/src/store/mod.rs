//! Objects on the disk.

mod content;
mod copies;
mod incoming;
mod place;
mod publish;
mod reader;
mod staging;
mod takeover;
mod writer;

pub(crate) use content::{Content, digest_long, read_small};
pub(crate) use incoming::{Incoming, can_hold, inflate_whole, max_deflated, split_header};
pub(crate) use reader::{FileObject, decode_dirtree, digest_of};
pub(crate) use staging::Staging;
pub(crate) use writer::{BARE_USER_ONLY_BITS, link_allowed, write_copy};

/// Files up to this size are read into memory once; longer ones are streamed.
pub(crate) const SMALL: u64 = 4 << 20;

/// The piece in which longer files are streamed.
pub(crate) const PIECE: usize = 256 << 10;
