//! Type strings.

use super::{Layout, Malformed, Result};

/// How deep types and values may be nested: far more than metadata needs.
pub(super) const MAX_DEPTH: usize = 32;

/// A complete type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `b`
    Bool,
    /// `y`
    Byte,
    /// `n` or `q`, `i`, `u` or `h`, `x`, `t` or `d`: its letter.
    Number(u8),
    /// `s`, `o` or `g`: its letter.
    Text(u8),
    /// `v`
    Variant,
    /// `m` and a type
    Maybe(Box<Type>),
    /// `a` and a type
    Array(Box<Type>),
    /// Types in parentheses
    Tuple(Vec<Type>),
    /// `{` key type, value type `}`
    Entry(Box<Type>, Box<Type>),
}

impl Type {
    /// Reads a type string that is one complete type.
    ///
    /// # Errors
    /// [`Malformed::Type`] for anything else, [`Malformed::Depth`] for a monster.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut rest = text;
        let parsed = Self::next(&mut rest, 0)?;
        if rest.is_empty() {
            Ok(parsed)
        } else {
            Err(Malformed::Type)
        }
    }

    fn next(rest: &mut &[u8], depth: usize) -> Result<Self> {
        if depth > MAX_DEPTH {
            return Err(Malformed::Depth);
        }
        let (letter, tail) = rest.split_first().ok_or(Malformed::Type)?;
        *rest = tail;
        Ok(match letter {
            b'b' => Self::Bool,
            b'y' => Self::Byte,
            b'n' | b'q' | b'i' | b'u' | b'h' | b'x' | b't' | b'd' => Self::Number(*letter),
            b's' | b'o' | b'g' => Self::Text(*letter),
            b'v' => Self::Variant,
            b'm' => Self::Maybe(Box::new(Self::next(rest, depth + 1)?)),
            b'a' => Self::Array(Box::new(Self::next(rest, depth + 1)?)),
            b'(' => Self::members(rest, depth)?,
            b'{' => Self::entry(rest, depth)?,
            _ => return Err(Malformed::Type),
        })
    }

    fn members(rest: &mut &[u8], depth: usize) -> Result<Self> {
        let mut members = Vec::new();
        while rest.first() != Some(&b')') {
            members.push(Self::next(rest, depth + 1)?);
        }
        *rest = &rest[1..];
        Ok(Self::Tuple(members))
    }

    fn entry(rest: &mut &[u8], depth: usize) -> Result<Self> {
        let key = Self::next(rest, depth + 1)?;
        if !matches!(
            key,
            Self::Bool | Self::Byte | Self::Number(_) | Self::Text(_)
        ) {
            return Err(Malformed::Type);
        }
        let value = Self::next(rest, depth + 1)?;
        let (end, tail) = rest.split_first().ok_or(Malformed::Type)?;
        *rest = tail;
        match end {
            b'}' => Ok(Self::Entry(Box::new(key), Box::new(value))),
            _ => Err(Malformed::Type),
        }
    }

    /// Appends the type string.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Bool => out.push(b'b'),
            Self::Byte => out.push(b'y'),
            Self::Number(letter) | Self::Text(letter) => out.push(*letter),
            Self::Variant => out.push(b'v'),
            Self::Maybe(inner) => {
                out.push(b'm');
                inner.write(out);
            }
            Self::Array(element) => {
                out.push(b'a');
                element.write(out);
            }
            Self::Tuple(members) => {
                out.push(b'(');
                members.iter().for_each(|m| m.write(out));
                out.push(b')');
            }
            Self::Entry(key, value) => {
                out.push(b'{');
                key.write(out);
                value.write(out);
                out.push(b'}');
            }
        }
    }

    /// How values of this type lie in a container.
    #[must_use]
    pub fn layout(&self) -> Layout {
        match self {
            Self::Bool | Self::Byte => Layout::U8,
            Self::Number(b'n' | b'q') => Layout::of_size(2),
            Self::Number(b'i' | b'u' | b'h') => Layout::U32,
            Self::Number(_) => Layout::U64,
            Self::Text(_) => Layout::BYTES,
            Self::Variant => Layout::VARIANT,
            Self::Maybe(inner) | Self::Array(inner) => Layout::variable(inner.layout().align),
            Self::Tuple(members) => tuple_layout(members.iter().map(Self::layout)),
            Self::Entry(key, value) => tuple_layout([key.layout(), value.layout()]),
        }
    }
}

/// The layout of a tuple of such members.
fn tuple_layout(members: impl IntoIterator<Item = Layout>) -> Layout {
    let (mut align, mut size) = (1, Some(0usize));
    for member in members {
        align = align.max(member.align);
        size = match (size, member.fixed) {
            (Some(size), Some(len)) => Some(super::align_up(size, member.align) + len),
            _ => None,
        };
    }
    Layout {
        align,
        fixed: size.map(|size| super::align_up(size, align).max(1)),
    }
}
