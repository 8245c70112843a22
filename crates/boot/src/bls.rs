//! Boot entry files (`loader/entries/*.conf`), as `ostree admin` reads them.
//!
//! A line is a key, blanks, and a value. Unknown keys are kept in their place;
//! comments and empty lines are not.

use std::fmt;

use crate::kargs::{KargsError, KernelArgs};

/// A boot entry file was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line} of the boot entry has a key and no value: {text:?}")]
pub struct BlsError {
    /// Which line, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
}

/// One boot entry: its keys and values in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BlsEntry {
    fields: Vec<(String, String)>,
}

impl BlsEntry {
    /// An entry without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads an entry file.
    ///
    /// # Errors
    /// A line that is not a key with a value.
    pub fn parse(text: &str) -> Result<Self, BlsError> {
        let mut fields = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((key, value)) = line.split_once(|c: char| c.is_ascii_whitespace()) else {
                let (line, text) = (at + 1, line.to_owned());
                return Err(BlsError { line, text });
            };
            fields.push((key.to_owned(), value.trim_start().to_owned()));
        }
        Ok(Self { fields })
    }

    /// The first value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let first = self.fields.iter().find(|(k, _)| k == key);
        first.map(|(_, value)| value.as_str())
    }

    /// Every value of a key, in order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let of_key = move |(k, v): &'a (String, String)| (k == key).then_some(v.as_str());
        self.fields.iter().filter_map(of_key)
    }

    /// Adds a key at the end. Line breaks in the value become blanks.
    pub fn push(&mut self, key: &str, value: &str) {
        let value = value.replace(['\n', '\r'], " ");
        self.fields.push((key.to_owned(), value.trim().to_owned()));
    }

    /// Gives a key one value, in the place of its first one.
    pub fn set(&mut self, key: &str, value: &str) {
        let Some(at) = self.fields.iter().position(|(k, _)| k == key) else {
            return self.push(key, value);
        };
        let mut index = 0;
        self.fields.retain(|(k, _)| {
            index += 1;
            index - 1 == at || k != key
        });
        self.fields[at].1 = value.replace(['\n', '\r'], " ");
    }

    /// The kernel arguments, of all `options` lines.
    ///
    /// # Errors
    /// An unfinished quote.
    pub fn options(&self) -> Result<KernelArgs, KargsError> {
        self.all("options").collect::<Vec<_>>().join(" ").parse()
    }
}

impl fmt::Display for BlsEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in self.fields.iter().filter(|(_, v)| !v.is_empty()) {
            writeln!(f, "{key} {value}")?;
        }
        Ok(())
    }
}

/// The name of the entry file of the `number`th deployment from the end, as
/// Debian's `ostree` 2022.7 names it; the highest number is the default.
#[must_use]
pub fn file_name(number: usize, stateroot: &str) -> String {
    format!("ostree-{number}-{stateroot}.conf")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY_OSTREE: &str = "title Debian GNU/Linux 12 (ostree:0)\nversion 2\n\
        options root=LABEL=root ostree=/ostree/boot.1/d/0f/0\n\
        linux /ostree/d-0f/vmlinuz-6.1\ninitrd /ostree/d-0f/a.img\ninitrd /b.img\n";

    #[test]
    fn reads_and_writes_the_same() {
        let entry = BlsEntry::parse(BY_OSTREE).unwrap();
        assert_eq!(entry.to_string(), BY_OSTREE);
        assert_eq!(entry.get("version"), Some("2"));
        assert_eq!(entry.all("initrd").count(), 2);
        let ostree = entry.options().unwrap().get("ostree").unwrap();
        assert_eq!(ostree, "/ostree/boot.1/d/0f/0");
    }

    #[test]
    fn keeps_unknown_keys_and_drops_comments() {
        let text = "# by hand\n\ntitle\tA  b\nx-mine 1\noptions a\noptions b\n";
        let mut entry = BlsEntry::parse(text).unwrap();
        assert_eq!(entry.get("x-mine"), Some("1"));
        assert_eq!(entry.options().unwrap().to_string(), "a b");
        entry.set("options", "c\nd");
        entry.set("version", "7");
        let expected = "title A  b\nx-mine 1\noptions c d\nversion 7\n";
        assert_eq!(entry.to_string(), expected);
    }

    #[test]
    fn refuses_a_key_without_value() {
        let error = BlsEntry::parse("title x\nlinux\n").unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (2, "linux"));
    }

    #[test]
    fn names_files_as_debian_does() {
        assert_eq!(file_name(2, "debian"), "ostree-2-debian.conf");
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "([a-b#]{0,2}[ \t]{0,2}[a-b \"=]{0,4}\n){0,6}") {
            if let Ok(entry) = BlsEntry::parse(&text) {
                proptest::prop_assert_eq!(BlsEntry::parse(&entry.to_string()), Ok(entry));
            }
        }
    }
}
