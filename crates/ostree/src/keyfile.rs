//! The `[group]` and `key=value` files in which OSTree keeps its settings.

/// A parsed key file; later values of the same key win.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFile {
    entries: Vec<(String, String, String)>,
}

impl KeyFile {
    /// Parses a text; the error is the number of the line that is neither a
    /// group, a comment nor a pair.
    pub(crate) fn parse(text: &str) -> Result<Self, usize> {
        let mut entries = Vec::new();
        let mut group = None;
        for (i, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                group = Some(name.to_owned());
                continue;
            }
            let (key, value) = line.split_once('=').ok_or(i + 1)?;
            let group = group.clone().ok_or(i + 1)?;
            entries.push((group, key.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Self { entries })
    }

    /// The value of a key.
    pub(crate) fn get(&self, group: &str, key: &str) -> Option<&str> {
        let of_key = |(g, k, _): &&(String, String, String)| g == group && k == key;
        let found = self.entries.iter().rev().find(of_key);
        found.map(|(_, _, value)| value.as_str())
    }
}
