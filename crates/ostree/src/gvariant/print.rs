//! Values as text, in the notation of GVariant, which `ostree` prints.

use std::fmt::{self, Write};

use super::{Type, Value};

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, true)
    }
}

impl Value {
    /// Prints the value; with `typed` so that its type can be told from the text.
    fn print(&self, f: &mut fmt::Formatter<'_>, typed: bool) -> fmt::Result {
        match self {
            Self::Bool(flag) => write!(f, "{flag}"),
            Self::Byte(byte) => {
                let word = if typed { "byte " } else { "" };
                write!(f, "{word}0x{byte:02x}")
            }
            Self::Number(letter, bytes) => number(f, *letter, bytes, typed),
            Self::Text(text) => quoted(f, text),
            Self::OtherText(letter, text) => {
                let word = if *letter == b'o' {
                    "objectpath "
                } else {
                    "signature "
                };
                f.write_str(if typed { word } else { "" })?;
                quoted(f, text)
            }
            Self::Bytes(bytes) => byte_string(f, bytes, typed),
            Self::Variant(value) => {
                f.write_char('<')?;
                value.print(f, true)?;
                f.write_char('>')
            }
            Self::Maybe(_, Some(value)) => {
                f.write_str(if typed { "just " } else { "" })?;
                value.print(f, typed)
            }
            Self::Maybe(_, None) => nothing(f, &self.value_type(), "nothing", typed),
            Self::Array(of, items) if items.is_empty() => {
                let word = match of {
                    Type::Entry(..) => "{}",
                    _ => "[]",
                };
                nothing(f, &self.value_type(), word, typed)
            }
            Self::Array(Type::Entry(..), items) => list(f, ('{', '}'), items, typed),
            Self::Array(_, items) => list(f, ('[', ']'), items, typed),
            Self::Tuple(members) => tuple(f, members, typed),
            Self::Entry(key, value) => {
                key.print(f, typed)?;
                f.write_str(": ")?;
                value.print(f, typed)
            }
        }
    }
}

/// An empty container, after its type where that cannot be told.
fn nothing(f: &mut fmt::Formatter<'_>, of: &Type, word: &str, typed: bool) -> fmt::Result {
    if typed {
        let mut text = Vec::new();
        of.write(&mut text);
        write!(f, "@{} ", String::from_utf8_lossy(&text))?;
    }
    f.write_str(word)
}

/// Only the first element of an array tells the type of all.
fn list(
    f: &mut fmt::Formatter<'_>,
    (open, close): (char, char),
    items: &[Value],
    typed: bool,
) -> fmt::Result {
    f.write_char(open)?;
    for (i, item) in items.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        item.print(f, typed && i == 0)?;
    }
    f.write_char(close)
}

fn tuple(f: &mut fmt::Formatter<'_>, members: &[Value], typed: bool) -> fmt::Result {
    f.write_char('(')?;
    for (i, member) in members.iter().enumerate() {
        f.write_str(if i == 0 { "" } else { ", " })?;
        member.print(f, typed)?;
    }
    f.write_str(if members.len() == 1 { ",)" } else { ")" })
}

/// Bytes: as text where they end with their only NUL, else one by one.
fn byte_string(f: &mut fmt::Formatter<'_>, bytes: &[u8], typed: bool) -> fmt::Result {
    let text = match bytes.split_last() {
        Some((0, text)) if !text.contains(&0) => text,
        None => return nothing(f, &Type::Array(Box::new(Type::Byte)), "[]", typed),
        _ => {
            let items: Vec<_> = bytes.iter().map(|b| Value::Byte(*b)).collect();
            return list(f, ('[', ']'), &items, typed);
        }
    };
    let quote = if text.contains(&b'\'') { '"' } else { '\'' };
    write!(f, "b{quote}")?;
    for byte in text {
        match byte {
            b'\\' | b'"' => write!(f, "\\{}", *byte as char)?,
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            0x20..=0x7e => f.write_char(*byte as char)?,
            other => write!(f, "\\{other:03o}")?,
        }
    }
    f.write_char(quote)
}

fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') { '"' } else { '\'' };
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            c if c == quote || c == '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

/// A number, read as little-endian.
fn number(f: &mut fmt::Formatter<'_>, letter: u8, bytes: &[u8], typed: bool) -> fmt::Result {
    let mut wide = [0u8; 8];
    let len = bytes.len().min(8);
    wide[..len].copy_from_slice(&bytes[..len]);
    let n = u64::from_le_bytes(wide);
    let word = match letter {
        b'n' => "int16 ",
        b'q' => "uint16 ",
        b'u' => "uint32 ",
        b'x' => "int64 ",
        b't' => "uint64 ",
        b'h' => "handle ",
        _ => "",
    };
    f.write_str(if typed { word } else { "" })?;
    match letter {
        b'd' => write!(f, "{:?}", f64::from_bits(n)),
        b'n' => write!(f, "{}", n as u16 as i16),
        b'i' | b'h' => write!(f, "{}", n as u32 as i32),
        b'x' => write!(f, "{}", n as i64),
        _ => write!(f, "{n}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation() {
        let bytes = |b: &[u8]| Value::Bytes(b.to_vec());
        let xattr = |n: &[u8], v: &[u8]| Value::Tuple(vec![bytes(n), bytes(v)]);
        let of = |items| Value::Array(Type::parse(b"(ayay)").unwrap(), items);
        let cases = [
            (Value::from("it's"), "\"it's\""),
            (Value::from("1"), "'1'"),
            (Value::texts(["a", "b"]), "['a', 'b']"),
            (Value::texts::<&str>([]), "@as []"),
            (Value::Number(b'u', vec![5, 0, 0, 0]), "uint32 5"),
            (Value::Variant(Box::new(Value::Bool(true))), "<true>"),
            (of(vec![]), "@a(ayay) []"),
            (
                of(vec![xattr(b"user.a\0", b"t")]),
                "[(b'user.a', [byte 0x74])]",
            ),
            (
                of(vec![
                    xattr(b"user.a\0", b"\0\x01"),
                    xattr(b"user.b\0", b"z"),
                ]),
                "[(b'user.a', [byte 0x00, 0x01]), (b'user.b', [0x7a])]",
            ),
        ];
        for (value, text) in cases {
            assert_eq!(value.to_string(), text);
        }
    }
}
