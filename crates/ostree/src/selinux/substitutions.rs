//! Directories that are labelled like others: `/usr/etc /etc`.

use std::borrow::Cow;

/// One line.
#[derive(Debug)]
struct Substitution {
    from: Vec<u8>,
    to: Vec<u8>,
}

/// Lists of them: of each, one counts, in the order of the lists.
#[derive(Debug, Default)]
pub(super) struct Substitutions {
    lists: Vec<Vec<Substitution>>,
}

impl Substitutions {
    /// Adds a list that is applied after those before it. Later lines come first.
    pub(super) fn then(&mut self, text: &str) {
        let lines = text.lines().rev().filter(|l| !l.starts_with('#'));
        let list = lines.filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (from, to) = (words.next()?, words.next()?);
            Some(Substitution {
                from: from.into(),
                to: to.into(),
            })
        });
        self.lists.push(list.collect());
    }

    /// The path to look for instead.
    pub(super) fn apply<'p>(&self, path: &'p [u8]) -> Cow<'p, [u8]> {
        let mut path = Cow::Borrowed(path);
        for list in &self.lists {
            if let Some(other) = list.iter().find_map(|s| s.of(&path)) {
                path = Cow::Owned(other);
            }
        }
        path
    }
}

impl Substitution {
    fn of(&self, path: &[u8]) -> Option<Vec<u8>> {
        let rest = path.strip_prefix(self.from.as_slice())?;
        let rest = match (rest, self.to.as_slice()) {
            ([], _) => rest,
            ([b'/', below @ ..], b"/") => below,
            ([b'/', ..], _) => rest,
            _ => return None,
        };
        Some([&self.to, rest].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_directories_are_substituted() {
        let mut substitutions = Substitutions::default();
        substitutions.then("/a /b\n# no\n/a /c\n/root /\nx\n");
        substitutions.then("/c/d /e\n");
        let cases: [(&str, &str); 7] = [
            ("/a", "/c"),
            ("/a/f", "/c/f"),
            ("/ab", "/ab"),
            ("/a/d/f", "/e/f"),
            ("/root/x", "/x"),
            ("/root", "/"),
            ("/z", "/z"),
        ];
        for (path, becomes) in cases {
            assert_eq!(
                &*substitutions.apply(path.as_bytes()),
                becomes.as_bytes(),
                "{path}"
            );
        }
    }
}
