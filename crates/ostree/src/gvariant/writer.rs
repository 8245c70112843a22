//! From values to bytes.

use super::{Layout, align_up, offset_size};

/// Appends values in normal form. The outermost value starts at the first byte.
///
/// Containers are written by closures, their members in order:
/// ```
/// use ostree::gvariant::{Layout, Writer};
/// let mut w = Writer::new();
/// w.tuple(&[Layout::BYTES, Layout::U32], |w, i| match i {
///     0 => w.text("size"),
///     _ => w.u32_be(7),
/// });
/// assert_eq!(w.finish(), b"size\0\0\0\0\0\0\0\x07\x05");
/// ```
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// Nothing written yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The bytes.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Zero bytes up to a multiple of `align`.
    fn pad(&mut self, align: usize) {
        let aligned = align_up(self.out.len(), align);
        self.out.resize(aligned, 0);
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Text, and its NUL.
    pub fn text(&mut self, text: &str) {
        self.c_bytes(text.as_bytes());
    }

    /// A byte string, and its NUL.
    pub fn c_bytes(&mut self, bytes: &[u8]) {
        self.raw(bytes);
        self.out.push(0);
    }

    /// A `u` as OSTree stores it: big-endian.
    pub fn u32_be(&mut self, n: u32) {
        self.raw(&n.to_be_bytes());
    }

    /// A `t` as OSTree stores it: big-endian.
    pub fn u64_be(&mut self, n: u64) {
        self.raw(&n.to_be_bytes());
    }

    /// A tuple or dictionary entry; `write` is called with each member's index.
    pub fn tuple(&mut self, members: &[Layout], mut write: impl FnMut(&mut Self, usize)) {
        let base = self.out.len();
        let mut ends = Vec::new();
        for (i, member) in members.iter().enumerate() {
            self.pad(member.align);
            write(self, i);
            if member.fixed.is_none() && i + 1 < members.len() {
                ends.push(self.out.len() - base);
            }
        }
        if members.iter().all(|m| m.fixed.is_some()) {
            self.pad(members.iter().map(|m| m.align).max().unwrap_or(1));
            if members.is_empty() {
                self.out.push(0);
            }
        }
        ends.reverse();
        self.offsets(base, &ends);
    }

    /// An array; `write` is called with each item.
    pub fn array<T>(
        &mut self,
        element: Layout,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let base = self.out.len();
        let mut ends = Vec::new();
        for item in items {
            self.pad(element.align);
            write(self, item);
            if element.fixed.is_none() {
                ends.push(self.out.len() - base);
            }
        }
        self.offsets(base, &ends);
    }

    /// The table of framing offsets for what was written since `base`.
    fn offsets(&mut self, base: usize, ends: &[usize]) {
        let size = offset_size(self.out.len() - base, ends.len());
        for end in ends {
            self.out
                .extend_from_slice(&(*end as u64).to_le_bytes()[..size]);
        }
    }
}
