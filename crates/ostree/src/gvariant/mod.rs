//! A strict codec for the part of GVariant that OSTree's objects use.
//!
//! An object is named by the digest of its bytes, so every value must have one
//! encoding only. Reading therefore takes nothing but the normal form: framing
//! offsets of the smallest size that fits, no gaps, padding of zero bytes, text in
//! UTF-8 with one NUL at its end. Whatever is read encodes to the same bytes
//! again; whatever would not is [`Malformed`].
//!
//! Containers are split into slices by [`tuple()`] and [`array()`], without copying;
//! [`Writer`] is the other direction. [`Value`] is any value with its type, for the
//! `a{sv}` metadata of commits.

mod layout;
mod parse;
mod print;
mod reader;
mod types;
mod value;
mod writer;

pub use layout::Layout;
pub use parse::NotAValue;
pub use reader::{array, boolean, bytes, text, tuple, u32_be, u64_be};
pub use types::Type;
pub use value::Value;
pub use writer::Writer;

/// Why bytes are not a value in normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A fixed-size value has another length.
    #[error("a value of fixed size has the wrong length")]
    Length,
    /// A framing offset points outside of its container or backwards.
    #[error("a framing offset points to a wrong place")]
    Offset,
    /// Framing offsets are wider than the container needs.
    #[error("the framing offsets are not of the smallest size")]
    OffsetSize,
    /// Bytes between values are not zero.
    #[error("padding is not zero")]
    Padding,
    /// Text is not UTF-8 or not ended by exactly one NUL.
    #[error("text is not UTF-8 with one NUL at its end")]
    Text,
    /// A boolean is neither 0 nor 1.
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    /// A type string is not one complete known type.
    #[error("a type string is not one complete type")]
    Type,
    /// Values are nested too deeply.
    #[error("values are nested too deeply")]
    Depth,
    /// A digest is not 32 bytes long.
    #[error("a digest is not 32 bytes long")]
    Digest,
    /// A file name is empty, `.`, `..`, or holds a slash.
    #[error("a file name is empty, \".\", \"..\" or has a slash in it")]
    Name,
    /// Entries are not in strictly rising order.
    #[error("entries are not sorted, or one is there twice")]
    Order,
    /// A file type or mode bit that the format does not know.
    #[error("a file mode does not fit the kind of object")]
    Mode,
    /// A field that must be zero or empty is not.
    #[error("a field that must be empty is not")]
    NotEmpty,
    /// The bytes end early or go on after the end.
    #[error("the object is cut short, or goes on after its end")]
    Cut,
    /// The object is larger than anything of its kind may be.
    #[error("the object is too large")]
    TooLarge,
}

/// Result of decoding.
pub type Result<T> = std::result::Result<T, Malformed>;

/// The smallest offset size (1, 2, 4 or 8) with which `body` bytes and `count`
/// offsets can be addressed; 0 where there is no offset.
fn offset_size(body: usize, count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let fits = |size: usize, max: usize| {
        count
            .checked_mul(size)
            .and_then(|table| table.checked_add(body))
            .is_some_and(|total| total <= max)
    };
    match () {
        () if fits(1, 0xff) => 1,
        () if fits(2, 0xffff) => 2,
        () if fits(4, 0xffff_ffff) => 4,
        () => 8,
    }
}

/// The offset size that a reader deduces from a container's length.
fn offset_size_of(total: usize) -> usize {
    match total {
        0 => 0,
        1..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

/// `position` rounded up to a multiple of `align` (a power of two).
fn align_up(position: usize, align: usize) -> usize {
    position.saturating_add(align - 1) & !(align - 1)
}
