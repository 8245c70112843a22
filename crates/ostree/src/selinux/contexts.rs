//! `file_contexts`: patterns of paths, types of files, labels.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::wrong;
use crate::Result;
use crate::format::{TYPE_DIR, TYPE_FILE, TYPE_MASK, TYPE_SYMLINK};

/// Bytes that make a pattern of a path.
const META: &[u8] = b".^$?*+|[({";

/// One line.
#[derive(Debug)]
struct Spec {
    /// Where it stands, for errors.
    place: (PathBuf, usize),
    /// What every path that fits begins with.
    literal: Vec<u8>,
    /// What every path that fits is like; `None` where the literal is all of it.
    pattern: Option<Pattern>,
    /// The type of file it is for, as in a mode; 0 is for all.
    kind: u32,
    /// `None`: nothing is labelled.
    label: Option<String>,
}

/// What a path has to fit.
#[derive(Debug)]
struct Pattern {
    text: String,
    regex: OnceLock<Compiled>,
}

/// A pattern, or why it is none.
type Compiled = std::result::Result<Regex, String>;

/// All lines, by the directory that each is about.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    specs: Vec<Spec>,
    /// By what stands before the last `/` of its literal, with it.
    below: HashMap<Vec<u8>, Vec<usize>>,
}

impl Contexts {
    /// Adds the lines of a file.
    pub(super) fn add(&mut self, path: &Path, text: &[u8]) -> Result<()> {
        for (i, line) in text.split(|b| *b == b'\n').enumerate() {
            let place = (path.to_owned(), i + 1);
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let line = std::str::from_utf8(line).ok().filter(|l| l.is_ascii());
            let line = line.ok_or_else(|| bad(&place, "it is not plain ASCII"))?;
            self.specs.push(Spec::parse(place, line)?);
        }
        Ok(())
    }

    /// Makes plain paths count before patterns, and among equals the last one.
    pub(super) fn sorted(mut self) -> Self {
        self.specs.sort_by_key(|spec| spec.pattern.is_none());
        for (i, spec) in self.specs.iter().enumerate() {
            let dir = spec.literal.iter().rposition(|b| *b == b'/');
            let dir = &spec.literal[..dir.map_or(0, |slash| slash + 1)];
            self.below.entry(dir.to_owned()).or_default().push(i);
        }
        self
    }

    /// The label of what is at `path` and has the type in `mode`.
    pub(super) fn find(&self, path: &[u8], mode: u32) -> Result<Option<&str>> {
        let slashes = path.iter().enumerate().filter(|(_, b)| **b == b'/');
        let dirs = std::iter::once(0).chain(slashes.map(|(at, _)| at + 1));
        let lists = dirs.filter_map(|end| self.below.get(&path[..end]));
        let mut lists: Vec<&[usize]> = lists.map(Vec::as_slice).collect();
        // From the last line to the first, through all lists at once.
        while let Some(list) = lists.iter_mut().max_by_key(|list| list.last().copied()) {
            let Some((last, before)) = list.split_last() else {
                break;
            };
            *list = before;
            if self.specs[*last].fits(path, mode)? {
                return Ok(self.specs[*last].label.as_deref());
            }
        }
        Ok(None)
    }
}

impl Spec {
    fn parse(place: (PathBuf, usize), line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (pattern, kind, label) = match words[..] {
            [pattern, label] => (pattern, 0, label),
            [pattern, kind, label] => match kind_of(kind) {
                Some(kind) => (pattern, kind, label),
                None => return Err(bad(&place, &format!("{kind} is no type of file"))),
            },
            _ => return Err(bad(&place, "it is not PATTERN [TYPE] LABEL")),
        };
        let (literal, exact) = literal(pattern.as_bytes());
        Ok(Self {
            place,
            literal,
            pattern: (!exact).then(|| Pattern {
                text: format!("^{pattern}$"),
                regex: OnceLock::new(),
            }),
            kind,
            label: (label != "<<none>>").then(|| label.to_owned()),
        })
    }

    fn fits(&self, path: &[u8], mode: u32) -> Result<bool> {
        let (kind, wanted) = (mode & TYPE_MASK, self.kind);
        if !path.starts_with(&self.literal) || (wanted != 0 && kind != 0 && kind != wanted) {
            return Ok(false);
        }
        let Some(pattern) = &self.pattern else {
            return Ok(path.len() == self.literal.len());
        };
        let compiled = pattern.regex.get_or_init(|| compile(&pattern.text));
        let regex = compiled.as_ref().map_err(|why| bad(&self.place, why))?;
        Ok(regex.is_match(path))
    }
}

fn bad((path, line): &(PathBuf, usize), why: &str) -> crate::Error {
    wrong(path, format!("line {line}: {why}"))
}

fn compile(pattern: &str) -> Compiled {
    let mut builder = RegexBuilder::new(pattern);
    let built = builder.unicode(false).dot_matches_new_line(true).build();
    built.map_err(|e| format!("its pattern is not known here: {e}"))
}

/// The type of file that the second of three words means.
fn kind_of(word: &str) -> Option<u32> {
    Some(match word {
        "--" => TYPE_FILE,
        "-d" => TYPE_DIR,
        "-l" => TYPE_SYMLINK,
        "-b" => 0o060_000,
        "-c" => 0o020_000,
        "-p" => 0o010_000,
        "-s" => 0o140_000,
        _ => return None,
    })
}

/// A pattern's first directory, with the slashes around it, where that is a plain name:
/// the paths that fit are below it, whatever else the pattern says.
fn top(pattern: &[u8]) -> &[u8] {
    let slash = pattern.iter().skip(1).position(|b| *b == b'/');
    let top = &pattern[..slash.map_or(0, |at| at + 2)];
    match top.iter().any(|b| META.contains(b) || *b == b'\\') {
        true => &[],
        false => top,
    }
}

/// What everything that fits a pattern begins with, and whether that is all of it.
fn literal(pattern: &[u8]) -> (Vec<u8>, bool) {
    if has_alternatives(pattern) {
        return (top(pattern).to_owned(), false);
    }
    let mut literal = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(escaped) if !escaped.is_ascii_alphanumeric() => literal.push(*escaped),
                _ => return (literal, false),
            },
            // What stands before these may be absent.
            b'?' | b'*' | b'{' => {
                literal.pop();
                return (literal, false);
            }
            meta if META.contains(meta) => return (literal, false),
            plain => literal.push(*plain),
        }
    }
    (literal, true)
}

/// Whether there is a `|` that no group holds: it divides the whole pattern, and only what
/// is left of it must fit from the beginning, and what is right of it to the end.
fn has_alternatives(pattern: &[u8]) -> bool {
    let (mut depth, mut in_class, mut escaped) = (0_u32, false, false);
    for byte in pattern {
        match byte {
            _ if escaped => {
                escaped = false;
                continue;
            }
            b'\\' => escaped = true,
            b']' => in_class = false,
            _ if in_class => {}
            b'[' => in_class = true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_what_all_paths_begin_with() {
        let cases: [(&str, &str, bool); 11] = [
            ("/usr/bin/a", "/usr/bin/a", true),
            (r"/usr/lib/a\.so", "/usr/lib/a.so", true),
            ("/usr/bin(/.*)?", "/usr/bin", false),
            ("/usr/lib64?/a", "/usr/lib6", false),
            ("/a+", "/a", false),
            (r"/a\++", "/a+", false),
            (r"/a\d", "/a", false),
            ("/usr/a|/usr/b", "/usr/", false),
            ("/a|/b", "", false),
            ("/(a|b)/c", "/", false),
            ("/a[|]b", "/a", false),
        ];
        for (pattern, begins, exact) in cases {
            let (found, whole) = literal(pattern.as_bytes());
            assert_eq!(
                (&*String::from_utf8_lossy(&found), whole),
                (begins, exact),
                "{pattern}"
            );
        }
    }

    #[test]
    fn the_last_line_that_fits_counts_and_plain_paths_before_patterns() {
        let mut contexts = Contexts::default();
        let text = b"/plain exact\n/.* all\n/p.* -d dirs\n/p.*  some\n/pl.*\t--  files\n/none(/.*)? <<none>>\n";
        contexts.add(Path::new("file_contexts"), text).unwrap();
        contexts
            .add(Path::new("local"), b"# \n\n/x/y/[^/]*\\.c local\n")
            .unwrap();
        let contexts = contexts.sorted();
        let cases = [
            ("/plain", TYPE_FILE, Some("exact")),
            ("/plus", TYPE_FILE, Some("files")),
            ("/plus", TYPE_DIR, Some("some")),
            ("/q", 0, Some("all")),
            ("/none", TYPE_DIR, None),
            ("/none/a", TYPE_FILE, None),
            ("/x/y/a.c", TYPE_FILE, Some("local")),
            ("/x/y/z/a.c", TYPE_FILE, Some("all")),
            ("q", TYPE_FILE, None),
        ];
        for (path, kind, label) in cases {
            assert_eq!(
                contexts.find(path.as_bytes(), kind).unwrap(),
                label,
                "{path}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let cases: [(&[u8], &str); 7] = [
            (b"/a", "line 1: it is not PATTERN [TYPE] LABEL"),
            (b"\n/a -x b", "line 2: -x is no type of file"),
            (b"/a b c d", "line 1: it is not PATTERN [TYPE] LABEL"),
            ("/\u{e4} b".as_bytes(), "line 1: it is not plain ASCII"),
            (b"/[a b", "line 1: its pattern is not known here"),
            (b"/(?!b)a b", "line 1: its pattern is not known here"),
            (br"/(a)\1? b", "line 1: its pattern is not known here"),
        ];
        for (text, why) in cases {
            let mut contexts = Contexts::default();
            let added = contexts.add(Path::new("f"), text);
            let found = added.and_then(|()| contexts.sorted().find(b"/a", 0).map(|_| ()));
            let error = found.unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
