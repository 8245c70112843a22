//! Values of any type, as metadata holds them.

use super::types::MAX_DEPTH;
use super::{Malformed, Result, Type, Writer, reader};

/// A value with its type. Numbers keep the byte order of the object: OSTree
/// stores some of them big-endian inside of little-endian values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `y`
    Byte(u8),
    /// A number of the type with this letter, in its stored bytes.
    Number(u8, Vec<u8>),
    /// `s`
    Text(String),
    /// `o` or `g`: a D-Bus path or signature.
    OtherText(u8, String),
    /// `ay`
    Bytes(Vec<u8>),
    /// `v`
    Variant(Box<Value>),
    /// A value that may be absent, and its type.
    Maybe(Type, Option<Box<Value>>),
    /// Elements and their type.
    Array(Type, Vec<Value>),
    /// Members of a tuple.
    Tuple(Vec<Value>),
    /// Key and value.
    Entry(Box<Value>, Box<Value>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Value {
    /// An `as` of these texts.
    pub fn texts<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Self {
        let items = texts.into_iter().map(|t| Self::Text(t.into())).collect();
        Self::Array(Type::Text(b's'), items)
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The flag, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// A `t` as OSTree stores it: big-endian.
    #[must_use]
    pub fn u64_be(number: u64) -> Self {
        Self::Number(b't', number.to_be_bytes().to_vec())
    }

    /// The number, if it is a `t` that OSTree stored big-endian.
    #[must_use]
    pub fn as_u64_be(&self) -> Option<u64> {
        match self {
            Self::Number(b't', bytes) => {
                Some(u64::from_be_bytes(bytes.as_slice().try_into().ok()?))
            }
            _ => None,
        }
    }

    /// The bytes, if it is an `ay`.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The texts, if it is an array of them.
    #[must_use]
    pub fn as_texts(&self) -> Option<Vec<&str>> {
        match self {
            Self::Array(_, items) => items.iter().map(Self::as_text).collect(),
            _ => None,
        }
    }

    /// The type.
    #[must_use]
    pub fn value_type(&self) -> Type {
        match self {
            Self::Bool(_) => Type::Bool,
            Self::Byte(_) => Type::Byte,
            Self::Number(letter, _) => Type::Number(*letter),
            Self::Text(_) => Type::Text(b's'),
            Self::OtherText(letter, _) => Type::Text(*letter),
            Self::Bytes(_) => Type::Array(Box::new(Type::Byte)),
            Self::Variant(_) => Type::Variant,
            Self::Maybe(inner, _) => Type::Maybe(Box::new(inner.clone())),
            Self::Array(element, _) => Type::Array(Box::new(element.clone())),
            Self::Tuple(members) => Type::Tuple(members.iter().map(Self::value_type).collect()),
            Self::Entry(key, value) => {
                Type::Entry(Box::new(key.value_type()), Box::new(value.value_type()))
            }
        }
    }

    /// Reads a variant: a value, a zero byte, its type.
    ///
    /// # Errors
    /// Where the bytes are not in normal form.
    pub fn decode_variant(bytes: &[u8]) -> Result<Self> {
        Self::variant(bytes, 0)
    }

    /// Reads a value of a known type.
    ///
    /// # Errors
    /// Where the bytes are not in normal form.
    pub fn decode_typed(bytes: &[u8], of: &Type) -> Result<Self> {
        Self::decode(bytes, of, 0)
    }

    /// The same value with the bytes of all numbers in it reversed.
    #[must_use]
    pub fn byteswapped(self) -> Self {
        let all = |items: Vec<Self>| items.into_iter().map(Self::byteswapped).collect();
        match self {
            Self::Number(letter, mut bytes) => {
                bytes.reverse();
                Self::Number(letter, bytes)
            }
            Self::Variant(value) => Self::Variant(Box::new(value.byteswapped())),
            Self::Maybe(of, value) => Self::Maybe(of, value.map(|v| Box::new(v.byteswapped()))),
            Self::Array(of, items) => Self::Array(of, all(items)),
            Self::Tuple(members) => Self::Tuple(all(members)),
            Self::Entry(key, value) => {
                Self::Entry(Box::new(key.byteswapped()), Box::new(value.byteswapped()))
            }
            other => other,
        }
    }

    fn variant(bytes: &[u8], depth: usize) -> Result<Self> {
        let at = bytes.iter().rposition(|b| *b == 0).ok_or(Malformed::Type)?;
        Self::decode(&bytes[..at], &Type::parse(&bytes[at + 1..])?, depth + 1)
    }

    fn decode(bytes: &[u8], of: &Type, depth: usize) -> Result<Self> {
        if depth > MAX_DEPTH {
            return Err(Malformed::Depth);
        }
        Ok(match of {
            Type::Bool => Self::Bool(reader::boolean(bytes)?),
            Type::Byte => match bytes {
                [byte] => Self::Byte(*byte),
                _ => return Err(Malformed::Length),
            },
            Type::Number(letter) if of.layout().fixed == Some(bytes.len()) => {
                Self::Number(*letter, bytes.to_vec())
            }
            Type::Number(_) => return Err(Malformed::Length),
            Type::Text(b's') => Self::Text(reader::text(bytes)?.to_owned()),
            Type::Text(letter) => Self::OtherText(*letter, reader::text(bytes)?.to_owned()),
            Type::Variant => Self::Variant(Box::new(Self::variant(bytes, depth)?)),
            Type::Maybe(inner) => Self::Maybe((**inner).clone(), maybe(bytes, inner, depth)?),
            Type::Array(element) if **element == Type::Byte => Self::Bytes(bytes.to_vec()),
            Type::Array(element) => Self::Array(
                (**element).clone(),
                reader::array(bytes, element.layout())?
                    .into_iter()
                    .map(|item| Self::decode(item, element, depth + 1))
                    .collect::<Result<_>>()?,
            ),
            Type::Tuple(members) => Self::Tuple(decode_members(bytes, members, depth)?),
            Type::Entry(key, value) => {
                let [k, v] = reader::tuple(bytes, [key.layout(), value.layout()])?;
                Self::Entry(
                    Box::new(Self::decode(k, key, depth + 1)?),
                    Box::new(Self::decode(v, value, depth + 1)?),
                )
            }
        })
    }

    /// Appends the value as a variant.
    pub fn write_variant(&self, w: &mut Writer) {
        self.write(w);
        let mut tail = vec![0];
        self.value_type().write(&mut tail);
        w.raw(&tail);
    }

    fn write(&self, w: &mut Writer) {
        match self {
            Self::Bool(flag) => w.raw(&[u8::from(*flag)]),
            Self::Byte(byte) => w.raw(&[*byte]),
            Self::Number(_, bytes) | Self::Bytes(bytes) => w.raw(bytes),
            Self::Text(text) | Self::OtherText(_, text) => w.text(text),
            Self::Variant(value) => value.write_variant(w),
            Self::Maybe(_, None) => {}
            Self::Maybe(inner, Some(value)) => {
                value.write(w);
                if inner.layout().fixed.is_none() {
                    w.raw(&[0]);
                }
            }
            Self::Array(element, items) => {
                w.array(element.layout(), items, |w, item| item.write(w));
            }
            Self::Tuple(members) => {
                let layouts: Vec<_> = members.iter().map(|m| m.value_type().layout()).collect();
                w.tuple(&layouts, |w, i| members[i].write(w));
            }
            Self::Entry(key, value) => {
                let layouts = [key.value_type().layout(), value.value_type().layout()];
                w.tuple(
                    &layouts,
                    |w, i| if i == 0 { key.write(w) } else { value.write(w) },
                );
            }
        }
    }
}

/// A value that may be absent: nothing, or the value (and a zero byte where
/// values have no fixed size).
fn maybe(bytes: &[u8], inner: &Type, depth: usize) -> Result<Option<Box<Value>>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let value = match (inner.layout().fixed, bytes.split_last()) {
        (Some(_), _) => bytes,
        (None, Some((0, value))) => value,
        (None, _) => return Err(Malformed::Padding),
    };
    Ok(Some(Box::new(Value::decode(value, inner, depth + 1)?)))
}

fn decode_members(bytes: &[u8], members: &[Type], depth: usize) -> Result<Vec<Value>> {
    let layouts: Vec<_> = members.iter().map(Type::layout).collect();
    let mut found = Vec::with_capacity(members.len());
    reader::tuple_into(bytes, &layouts, |_, member| found.push(member))?;
    found
        .into_iter()
        .zip(members)
        .map(|(bytes, member)| Value::decode(bytes, member, depth + 1))
        .collect()
}
