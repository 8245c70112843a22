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

    /// The names of all groups, each once, in the order of the file.
    pub(crate) fn groups(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (group, _, _) in &self.entries {
            if !names.contains(&group.as_str()) {
                names.push(group);
            }
        }
        names
    }

    /// The keys and values of a group, in the order of the file.
    pub(crate) fn pairs(&self, group: &str) -> Vec<(&str, &str)> {
        let of_group = self.entries.iter().filter(|(g, _, _)| g == group);
        of_group.map(|(_, k, v)| (k.as_str(), v.as_str())).collect()
    }
}

/// The name of the group that a line begins.
fn group_of(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']')
}

/// Sets a key in a key file's text, or removes it with `None`. All other lines stay
/// as they are, comments too. A new group goes to the end.
pub(crate) fn with_key(text: &str, group: &str, key: &str, value: Option<&str>) -> String {
    let new = value.map(|value| format!("{key}={}", value.replace('\n', " ")));
    let mut lines: Vec<String> = Vec::new();
    let (mut inside, mut end_of_group) = (false, None);
    for line in text.lines() {
        if let Some(name) = group_of(line) {
            inside = name == group;
        }
        let same_key = line.split_once('=').is_some_and(|(k, _)| k.trim() == key);
        if inside && same_key && !line.trim_start().starts_with('#') {
            continue;
        }
        lines.push(line.to_owned());
        if inside && !line.trim().is_empty() {
            end_of_group = Some(lines.len());
        }
    }
    match (new, end_of_group) {
        (Some(new), Some(at)) => lines.insert(at, new),
        (Some(new), None) => {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(format!("[{group}]"));
            lines.push(new);
        }
        (None, _) => {}
    }
    joined(&lines)
}

/// Removes a group with its keys from a key file's text.
pub(crate) fn without_group(text: &str, group: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(name) = group_of(line) {
            inside = name == group;
        }
        if !inside {
            lines.push(line.to_owned());
        }
    }
    while lines.last().is_some_and(|line| line.trim().is_empty()) {
        lines.pop();
    }
    joined(&lines)
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# top\n[core]\nmode=bare\n\n[remote \"a\"]\n# why\nurl=x\n\n[z]\nk=v\n";

    #[test]
    fn keys_are_set_and_removed_in_place() {
        let cases = [
            ("core", "mode", Some("archive"), "mode=archive"),
            ("remote \"a\"", "url", Some("y"), "url=y"),
            (
                "remote \"a\"",
                "gpg-verify",
                Some("false"),
                "gpg-verify=false",
            ),
            ("new", "k", Some("v"), "[new]\nk=v"),
        ];
        for (group, key, value, line) in cases {
            let text = with_key(TEXT, group, key, value);
            assert!(text.contains(line), "{text}");
            assert!(
                text.contains("# top\n") && text.contains("# why\n"),
                "{text}"
            );
            let file = KeyFile::parse(&text).unwrap();
            assert_eq!(file.get(group, key), value);
            assert_eq!(file.get("z", "k"), Some("v"));
        }
        let text = with_key(TEXT, "remote \"a\"", "url", None);
        assert_eq!(text, TEXT.replace("url=x\n", ""));
        assert_eq!(with_key("", "a", "b", Some("c")), "[a]\nb=c\n");
    }

    #[test]
    fn groups_are_removed() {
        let text = without_group(TEXT, "remote \"a\"");
        assert_eq!(text, "# top\n[core]\nmode=bare\n\n[z]\nk=v\n");
        assert_eq!(without_group(&text, "z"), "# top\n[core]\nmode=bare\n");
        assert_eq!(without_group(&text, "missing"), text);
    }
}
