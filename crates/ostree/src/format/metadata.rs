//! Metadata of a commit: `a{sv}` in the order in which it was written.

use std::collections::HashSet;

use crate::gvariant::{Layout, Malformed, Result, Type, Value, Writer, array, text, tuple};

const ENTRY: [Layout; 2] = [Layout::BYTES, Layout::VARIANT];

/// Named values. Their order is part of the commit's digest, so it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, Value)>);

impl Metadata {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    /// Adds a value, or replaces the one that has the key.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.0.iter_mut().find(|(k, _)| k == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
    }

    /// Takes a value out.
    pub fn remove(&mut self, key: &str) {
        self.0.retain(|(k, _)| k != key);
    }

    /// All keys and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v))
    }

    /// The bytes of an `a{sv}`.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        self.write(&mut w);
        w.finish()
    }

    /// Reads an `a{sv}`.
    ///
    /// # Errors
    /// Where it is not canonical, or has a key twice.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut found = Vec::new();
        let mut keys = HashSet::new();
        for item in array(bytes, Layout::VARIANT)? {
            let [key, value] = tuple(item, ENTRY)?;
            let key = text(key)?;
            if !keys.insert(key) {
                return Err(Malformed::Order);
            }
            found.push((key.to_owned(), Value::decode_variant(value)?));
        }
        Ok(Self(found))
    }

    /// These values as one value, of the type `a{sv}`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let entry = |(key, value): &(String, Value)| {
            let value = Value::Variant(Box::new(value.clone()));
            Value::Entry(Box::new(Value::from(key.as_str())), Box::new(value))
        };
        Value::Array(Self::entry_type(), self.0.iter().map(entry).collect())
    }

    /// The values of a value of the type `a{sv}`; `None` for another type, or where
    /// a key is there twice.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        let Value::Array(of, items) = value else {
            return None;
        };
        let mut found = Self::default();
        for item in items {
            let Value::Entry(key, value) = item else {
                return None;
            };
            let (Value::Text(key), Value::Variant(value)) = (&**key, &**value) else {
                return None;
            };
            if found.get(key).is_some() {
                return None;
            }
            found.0.push((key.clone(), (**value).clone()));
        }
        (*of == Self::entry_type()).then_some(found)
    }

    fn entry_type() -> Type {
        Type::Entry(Box::new(Type::Text(b's')), Box::new(Type::Variant))
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.array(Layout::VARIANT, &self.0, |w, (key, value)| {
            w.tuple(&ENTRY, |w, i| match i {
                0 => w.text(key),
                _ => value.write_variant(w),
            });
        });
    }
}
