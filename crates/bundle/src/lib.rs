//! A whole version of a system in one signed file, for hosts without a network.
//!
//! | module | holds |
//! | --- | --- |
//! | [`description`] | what a bundle says of itself |
//! | [`writer`] | [`write()`]: content goes in as a stream |
//! | [`reader`] | [`Bundle`]: nothing comes out that was not verified |
//! | [`closure`] | a Nix closure as content |
//! | [`image`] | an image version as content |
//!
//! The signature covers the description and the digest of each piece of the
//! content, so that a reader holds one piece at a time and believes nothing
//! unverified (P12). The file is described in `docs/formats/bundle.md`.

pub mod closure;
pub mod description;
mod error;
pub mod image;
mod layout;
pub mod reader;
pub mod writer;

pub use description::{Description, Encoding, Kind};
pub use error::{Error, Result};
pub use reader::{Bundle, Content};
pub use writer::write;
