//! Values from text, in the notation of GVariant.
//!
//! What people write for a commit's metadata is read: `true`, `42`, `uint64 42`,
//! `'text'`, lists, tuples, dictionaries, `<values>` and `@TYPE` before what is empty.

use super::types::MAX_DEPTH;
use super::{Type, Value};

/// Why a text is no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no value in the notation of GVariant, from character {at} on")]
pub struct NotAValue {
    /// The text.
    pub text: String,
    /// Where it goes wrong.
    pub at: usize,
}

/// The words for the types of numbers.
const NUMBERS: [(&str, u8); 8] = [
    ("int16", b'n'),
    ("uint16", b'q'),
    ("int32", b'i'),
    ("uint32", b'u'),
    ("int64", b'x'),
    ("uint64", b't'),
    ("double", b'd'),
    ("handle", b'h'),
];

struct Text<'a> {
    rest: &'a str,
    depth: usize,
}

impl Value {
    /// Reads a value from text.
    ///
    /// # Errors
    /// Where the text is none.
    pub fn parse_text(text: &str) -> Result<Self, NotAValue> {
        let mut reader = Text {
            rest: text,
            depth: 0,
        };
        let value = reader.value(None);
        reader.skip_space();
        match value {
            Some(value) if reader.rest.is_empty() => Ok(value),
            _ => Err(NotAValue {
                at: text.len() - reader.rest.len(),
                text: text.to_owned(),
            }),
        }
    }
}

impl Text<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, word: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self) -> &str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
        let len = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(len);
        self.rest = rest;
        word
    }

    fn value(&mut self, of: Option<&Type>) -> Option<Value> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let value = self.any(of);
        self.depth -= 1;
        value
    }

    fn any(&mut self, of: Option<&Type>) -> Option<Value> {
        self.skip_space();
        match self.rest.chars().next()? {
            '@' => {
                let end = self.rest.find(' ')?;
                let of = Type::parse(&self.rest.as_bytes()[1..end]).ok()?;
                self.rest = &self.rest[end..];
                self.value(Some(&of))
            }
            quote @ ('\'' | '"') => self.text(quote).map(|text| match of {
                Some(Type::Text(letter)) if *letter != b's' => Value::OtherText(*letter, text),
                _ => Value::Text(text),
            }),
            'b' if self.rest[1..].starts_with(['\'', '"']) => self.byte_string(),
            '[' => self.list(of),
            '{' => self.dictionary(of),
            '(' => self.tuple(of),
            '<' => {
                self.take("<");
                let inner = self.value(None)?;
                self.take(">").then(|| Value::Variant(Box::new(inner)))
            }
            _ => self.plain(of),
        }
    }

    /// A word: yes, no, or a number, maybe after its type's name.
    fn plain(&mut self, of: Option<&Type>) -> Option<Value> {
        let word = self.word().to_owned();
        match word.as_str() {
            "true" => return Some(Value::Bool(true)),
            "false" => return Some(Value::Bool(false)),
            "byte" => return self.value(Some(&Type::Byte)),
            "boolean" => return self.value(Some(&Type::Bool)),
            "string" => return self.value(Some(&Type::Text(b's'))),
            "objectpath" => return self.value(Some(&Type::Text(b'o'))),
            "signature" => return self.value(Some(&Type::Text(b'g'))),
            _ => {}
        }
        if let Some((_, letter)) = NUMBERS.iter().find(|(name, _)| *name == word) {
            return self.value(Some(&Type::Number(*letter)));
        }
        number(&word, of)
    }

    fn text(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == quote => {
                    self.rest = &self.rest[at + c.len_utf8()..];
                    return Some(text);
                }
                '\\' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    'u' => {
                        let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                    }
                    other => other,
                }),
                c => text.push(c),
            }
        }
        None
    }

    /// Bytes as text, `b'…'`: a NUL follows them, and odd ones are in octal.
    fn byte_string(&mut self) -> Option<Value> {
        let mut chars = self.rest[1..].bytes().enumerate().peekable();
        let (_, quote) = chars.next()?;
        let mut bytes = Vec::new();
        while let Some((at, byte)) = chars.next() {
            match byte {
                byte if byte == quote => {
                    self.rest = &self.rest[at + 2..];
                    bytes.push(0);
                    return Some(Value::Bytes(bytes));
                }
                b'\\' => bytes.push(match chars.next()?.1 {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    digit @ b'0'..=b'7' => {
                        let mut code = u32::from(digit - b'0');
                        for _ in 0..2 {
                            let next = chars.next_if(|(_, b)| matches!(b, b'0'..=b'7'));
                            code = next.map_or(code, |(_, b)| code * 8 + u32::from(b - b'0'));
                        }
                        u8::try_from(code).ok()?
                    }
                    other => other,
                }),
                byte => bytes.push(byte),
            }
        }
        None
    }

    /// Values up to a closing bracket.
    fn items(&mut self, open: &str, close: &str, of: &[Option<&Type>]) -> Option<Vec<Value>> {
        self.take(open);
        let (mut items, mut first) = (Vec::new(), None);
        while !self.take(close) {
            let of = match of {
                [one] if items.is_empty() => *one,
                // What the first one is, all are.
                [one] => one.or(first.as_ref()),
                several => several.get(items.len()).copied().flatten(),
            };
            let item = self.value(of)?;
            first.get_or_insert_with(|| item.value_type());
            items.push(item);
            if !self.take(",") && !self.rest.trim_start().starts_with(close) {
                return None;
            }
        }
        Some(items)
    }

    fn list(&mut self, of: Option<&Type>) -> Option<Value> {
        let element = match of {
            Some(Type::Array(element)) => Some(&**element),
            _ => None,
        };
        let items = self.items("[", "]", &[element])?;
        let element = element
            .cloned()
            .or_else(|| items.first().map(Value::value_type))?;
        if items.iter().any(|i| i.value_type() != element) {
            return None;
        }
        if element == Type::Byte {
            let byte = |v: &Value| match v {
                Value::Byte(b) => Some(*b),
                _ => None,
            };
            return items
                .iter()
                .map(byte)
                .collect::<Option<_>>()
                .map(Value::Bytes);
        }
        Some(Value::Array(element, items))
    }

    fn dictionary(&mut self, of: Option<&Type>) -> Option<Value> {
        self.take("{");
        let (key, value) = match of {
            Some(Type::Array(element)) => match &**element {
                Type::Entry(key, value) => (Some(&**key), Some(&**value)),
                _ => return None,
            },
            _ => (None, None),
        };
        let mut items = Vec::new();
        while !self.take("}") {
            let k = self.value(key)?;
            if !self.take(":") {
                return None;
            }
            let v = self.value(value)?;
            items.push(Value::Entry(Box::new(k), Box::new(v)));
            if !self.take(",") && !self.rest.trim_start().starts_with('}') {
                return None;
            }
        }
        let element = match (items.first(), of) {
            (Some(first), _) => first.value_type(),
            (None, Some(Type::Array(element))) => (**element).clone(),
            _ => return None,
        };
        let same = items.iter().all(|i| i.value_type() == element);
        same.then_some(Value::Array(element, items))
    }

    fn tuple(&mut self, of: Option<&Type>) -> Option<Value> {
        let members: Vec<Option<&Type>> = match of {
            Some(Type::Tuple(members)) => members.iter().map(Some).collect(),
            _ => Vec::new(),
        };
        // One type alone would be taken for that of all.
        let members = if members.len() == 1 {
            vec![members[0], None]
        } else {
            members
        };
        self.items("(", ")", &members).map(Value::Tuple)
    }
}

/// A number of a type; of 32 bits with a sign where none is given.
fn number(word: &str, of: Option<&Type>) -> Option<Value> {
    let wide = || match word.strip_prefix("0x") {
        Some(hex) => i128::from_str_radix(hex, 16).ok(),
        None => word.parse::<i128>().ok(),
    };
    let letter = match of {
        Some(Type::Byte) => return u8::try_from(wide()?).ok().map(Value::Byte),
        Some(Type::Number(letter)) => *letter,
        // Large ones are printed as `6e114`, and there are `inf` and `nan`.
        None if !word.starts_with("0x") && wide().is_none() && word.parse::<f64>().is_ok() => b'd',
        None => b'i',
        Some(_) => return None,
    };
    let bytes = match letter {
        b'n' => i16::try_from(wide()?).ok()?.to_le_bytes().to_vec(),
        b'q' => u16::try_from(wide()?).ok()?.to_le_bytes().to_vec(),
        b'i' | b'h' => i32::try_from(wide()?).ok()?.to_le_bytes().to_vec(),
        b'u' => u32::try_from(wide()?).ok()?.to_le_bytes().to_vec(),
        b'x' => i64::try_from(wide()?).ok()?.to_le_bytes().to_vec(),
        b't' => u64::try_from(wide()?).ok()?.to_le_bytes().to_vec(),
        b'd' => word.parse::<f64>().ok()?.to_le_bytes().to_vec(),
        _ => return None,
    };
    Some(Value::Number(letter, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_they_are_printed() {
        for text in [
            "true",
            "6e114",
            "-inf",
            "42",
            "uint64 42",
            "int16 -3",
            "byte 0x2a",
            "b''",
            "b'a\\001b\\377'",
            "b\"it's\"",
            "'text'",
            "'bell\\u0007'",
            "['a', 'b']",
            "[uint32 1, 2]",
            "('a', 1)",
            "{'a': <true>, 'b': <'x'>}",
            "@a{sv} {}",
            "@as []",
            "<uint32 7>",
        ] {
            let value = Value::parse_text(text).unwrap();
            assert_eq!(value.to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_none() {
        for text in [
            "",
            "what",
            "'a",
            "b'a",
            "b'\\777'",
            "[1, 'a']",
            "[]",
            "(1",
            "uint16 70000",
            "1 2",
            "{1}",
        ] {
            assert!(Value::parse_text(text).is_err(), "{text}");
        }
        let deep = "<".repeat(100);
        assert!(Value::parse_text(&deep).is_err());
    }
}
