//! What framing must know of a type.

/// How values of a type lie in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Values start at multiples of this: 1, 2, 4 or 8.
    pub align: usize,
    /// The length of each value, where all have the same.
    pub fixed: Option<usize>,
}

impl Layout {
    /// `ay`, `s`, `as`, and containers of those.
    pub const BYTES: Self = Self::variable(1);
    /// `y`.
    pub const U8: Self = Self::of_size(1);
    /// `u`.
    pub const U32: Self = Self::of_size(4);
    /// `t`.
    pub const U64: Self = Self::of_size(8);
    /// `v`, `{sv}`, `a{sv}`.
    pub const VARIANT: Self = Self::variable(8);

    /// Values of any length at multiples of `align`.
    #[must_use]
    pub const fn variable(align: usize) -> Self {
        Self { align, fixed: None }
    }

    /// Integers of `size` bytes.
    #[must_use]
    pub const fn of_size(size: usize) -> Self {
        Self {
            align: size,
            fixed: Some(size),
        }
    }
}
