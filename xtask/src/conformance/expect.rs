//! What is expected of each script: `xtask/conformance.txt`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};

/// What should become of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// It must pass (or skip itself).
    Passes,
    /// It fails, for this reason.
    Fails(String),
    /// It is not run, for this reason.
    LeftOut(String),
}

/// The expectations; a script that is not listed must pass.
#[derive(Debug, Default)]
pub struct Expected(BTreeMap<String, Want>);

impl Expected {
    /// Reads the list: `pass NAME`, `fail NAME REASON`, `leave NAME REASON`.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut wants = BTreeMap::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.splitn(3, char::is_whitespace);
            let (word, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let reason = words.next().unwrap_or("").trim().to_owned();
            let want = match (word, reason.is_empty()) {
                ("pass", true) => Want::Passes,
                ("fail", false) => Want::Fails(reason),
                ("leave", false) => Want::LeftOut(reason),
                _ => bail!(
                    "line {} is none of \"pass NAME\", \"fail NAME REASON\", \"leave NAME REASON\"",
                    i + 1
                ),
            };
            if wants.insert(name.to_owned(), want).is_some() {
                bail!("line {}: {name} is there twice", i + 1);
            }
        }
        Ok(Self(wants))
    }

    /// What is expected of this script.
    pub fn of(&self, name: &str) -> Want {
        self.0.get(name).cloned().unwrap_or(Want::Passes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let list = Expected::parse("# why\npass a\nfail b  its words\nleave c needs X\n").unwrap();
        assert_eq!(list.of("a"), Want::Passes);
        assert_eq!(list.of("b"), Want::Fails("its words".into()));
        assert_eq!(list.of("c"), Want::LeftOut("needs X".into()));
        assert_eq!(list.of("unlisted"), Want::Passes);
        for bad in ["pass a b", "fail a", "what a b", "pass a\npass a"] {
            assert!(Expected::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_list_is_readable() {
        Expected::load(Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/conformance.txt"
        )))
        .unwrap();
    }
}
