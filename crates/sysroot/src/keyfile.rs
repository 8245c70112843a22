//! Files of `[group]`s with `key=value` lines, of which unknown ones are kept.

use std::fmt;

/// Groups in order, each with its keys in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Keyfile(Vec<(String, Vec<(String, String)>)>);

impl Keyfile {
    /// Reads a file; the error says which line is neither.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut groups: Vec<(String, Vec<(String, String)>)> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let group = line.strip_prefix('[').and_then(|l| l.strip_suffix(']'));
            match (group, line.split_once('='), groups.last_mut()) {
                (Some(name), _, _) => groups.push((name.to_owned(), Vec::new())),
                (None, Some((key, value)), Some((_, keys))) => {
                    keys.push((key.trim().to_owned(), value.trim().to_owned()));
                }
                _ => return Err(format!("line {} is not key=value in a group", at + 1)),
            }
        }
        Ok(Self(groups))
    }

    pub(crate) fn get(&self, group: &str, key: &str) -> Option<&str> {
        let groups = self.0.iter().filter(|(name, _)| name == group);
        let mut keys = groups.flat_map(|(_, keys)| keys);
        keys.find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// Makes a group the last one.
    pub(crate) fn move_last(&mut self, group: &str) {
        self.0.sort_by_key(|(name, _)| name == group);
    }

    /// Sets a key, or removes it with `None`.
    pub(crate) fn set(&mut self, group: &str, key: &str, value: Option<&str>) {
        for (_, keys) in self.0.iter_mut().filter(|(name, _)| name == group) {
            keys.retain(|(k, _)| k != key);
        }
        if let Some(value) = value {
            let line = (key.to_owned(), value.replace('\n', " "));
            match self.0.iter_mut().find(|(name, _)| name == group) {
                Some((_, keys)) => keys.push(line),
                None => self.0.push((group.to_owned(), vec![line])),
            }
        }
        self.0
            .retain(|(name, keys)| name != group || !keys.is_empty());
    }
}

impl fmt::Display for Keyfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, keys)) in self.0.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            writeln!(f, "[{name}]")?;
            for (key, value) in keys {
                writeln!(f, "{key}={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_groups_stay() {
        let text = "[origin]\nrefspec=r:b\n\n[packages]\nrequested=a;b\n";
        let mut file = Keyfile::parse(text).unwrap();
        assert_eq!(file.to_string(), text);
        file.set("libostree-transient", "pinned", Some("true"));
        assert_eq!(file.get("libostree-transient", "pinned"), Some("true"));
        file.set("libostree-transient", "pinned", None);
        assert_eq!(file.to_string(), text);
        file.set("origin", "refspec", Some("x"));
        assert_eq!(file.get("origin", "refspec"), Some("x"));
    }

    #[test]
    fn refuses_what_is_neither() {
        for bad in ["a=1\n", "[a]\nb\n", "[a\n"] {
            assert!(Keyfile::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Keyfile::parse("# x\n\n").unwrap(), Keyfile::default());
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "(\\[?[a-c=#]{0,4}\\]?\n){0,8}") {
            if let Ok(file) = Keyfile::parse(&text) {
                proptest::prop_assert_eq!(Keyfile::parse(&file.to_string()), Ok(file));
            }
        }
    }
}
