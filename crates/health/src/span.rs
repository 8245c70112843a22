//! Lengths of time as people write them: `30`, `"30s"`, `"2m"`, `"500ms"`.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

/// Longer than any check may take.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A length of time in a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Reads `"30s"`, `"2m"`, `"1h"`, `"500ms"`, or a number of seconds.
    ///
    /// # Errors
    /// What is wrong with it, for the person who wrote it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let bad = || format!("`{text}` is no length of time, such as \"30s\", \"2m\" or \"1h\"");
        let number: u64 = number.parse().map_err(|_| bad())?;
        let millis = match unit.trim() {
            "ms" => Some(1),
            "" | "s" => Some(1000),
            "m" | "min" => Some(60 * 1000),
            "h" => Some(60 * 60 * 1000),
            "d" => Some(24 * 60 * 60 * 1000),
            _ => None,
        };
        let millis: u64 = millis.ok_or_else(bad)?;
        let whole = number.checked_mul(millis).map(Duration::from_millis);
        match whole {
            Some(span) if span <= LONGEST => Ok(Self(span)),
            _ => Err(format!("`{text}` is longer than a day")),
        }
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a length of time, such as \"30s\"")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
                Span::parse(text).map_err(E::custom)
            }
            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Span, E> {
                Span::parse(&seconds.to_string()).map_err(E::custom)
            }
            // JSON's numbers, where TOML's are signed.
            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Span, E> {
                Span::parse(&seconds.to_string()).map_err(E::custom)
            }
        }
        d.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let table = [
            ("30", Some(30_000)),
            ("30s", Some(30_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("500ms", Some(500)),
            ("1d", Some(86_400_000)),
            ("2d", None),
            ("", None),
            ("s", None),
            ("-3", None),
            ("3 weeks", None),
            ("99999999999999999999s", None),
        ];
        for (text, millis) in table {
            let span = Span::parse(text).ok().map(|s| s.0.as_millis());
            assert_eq!(span, millis, "{text}");
        }
    }
}
