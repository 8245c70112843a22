//! Which package mirror the machine uses.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Release;

/// One line per suite for the release, from where the machine itself fetches
/// its packages; the public mirror when the machine names none.
#[must_use]
pub fn of_this_machine(release: Release) -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.flatten().map(|e| e.path()));
    }
    files.sort();
    let lines: Vec<Source> = files.iter().flat_map(|f| read(f)).collect();
    choose(&lines, release)
}

/// A suite of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    /// `[name=value …]`, or nothing.
    options: String,
    uri: String,
    suite: String,
    components: String,
}

impl Source {
    /// The same of another release, if it is one of `from`'s.
    fn moved(&self, from: Release, to: Release) -> Option<Self> {
        let tail = tail(&self.suite, from)?;
        Some(Self {
            // There is a key of each release, besides the one for all.
            options: self.options.replace(from.suite(), to.suite()),
            suite: format!("{}{tail}", to.suite()),
            ..self.clone()
        })
    }

    fn line(&self) -> String {
        let words = [&self.options, &self.uri, &self.suite, &self.components];
        words
            .iter()
            .filter(|word| !word.is_empty())
            .fold("deb".into(), |line, word| format!("{line} {word}"))
    }
}

/// What follows a release's name in the name of its suite; a third party's suite
/// has none.
fn tail(suite: &str, release: Release) -> Option<&str> {
    let tail = suite.strip_prefix(release.suite())?;
    ["", "-updates", "-security"]
        .contains(&tail)
        .then_some(tail)
}

/// The machine's own lines for the release, or else those for another one, moved: the
/// same mirrors have it.
fn choose(sources: &[Source], release: Release) -> String {
    let others = Release::ALL.into_iter().filter(|other| *other != release);
    for from in std::iter::once(release).chain(others) {
        // Updates alone hold no whole system.
        if sources.iter().any(|source| source.suite == from.suite()) {
            let moved = sources.iter().filter_map(|s| s.moved(from, release));
            return moved.map(|s| s.line() + "\n").collect();
        }
    }
    format!(
        "deb http://deb.debian.org/debian {} main\n",
        release.suite()
    )
}

fn read(path: &Path) -> Vec<Source> {
    let text = fs::read_to_string(path).unwrap_or_default();
    match path.extension().and_then(|e| e.to_str()) {
        Some("list") => one_line_style(&text),
        Some("sources") => deb822_style(&text),
        _ => Vec::new(),
    }
}

/// `deb [options] URI SUITE COMPONENTS`, one a line.
fn one_line_style(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim();
    let (options, rest) = match rest.find(']') {
        Some(end) if rest.starts_with('[') => rest.split_at(end + 1),
        _ => ("", rest),
    };
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        options: options.to_owned(),
        uri: words.next()?,
        suite: words.next()?,
        components: words.collect::<Vec<_>>().join(" "),
    })
}

/// Stanzas of `Field: value`.
fn deb822_style(text: &str) -> Vec<Source> {
    let text: String = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .flat_map(|l| [l, "\n"])
        .collect();
    text.split("\n\n").flat_map(stanza).collect()
}

fn stanza(text: &str) -> Vec<Source> {
    let field = |name: &str| {
        text.lines()
            .filter_map(|l| l.split_once(':'))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.trim())
    };
    let (Some(types), Some(uris), Some(suites)) = (field("Types"), field("URIs"), field("Suites"))
    else {
        return Vec::new();
    };
    if !types.split_whitespace().any(|t| t == "deb") || field("Enabled") == Some("no") {
        return Vec::new();
    }
    let components = field("Components").unwrap_or("main");
    let key = field("Signed-By")
        .filter(|k| k.starts_with('/'))
        .map_or(String::new(), |k| format!("[signed-by={k}]"));
    let mut lines = Vec::new();
    for suite in suites.split_whitespace() {
        lines.extend(uris.split_whitespace().map(|uri| Source {
            options: key.clone(),
            uri: uri.to_owned(),
            suite: suite.to_owned(),
            components: components.to_owned(),
        }));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# deb http://old/debian bookworm main\n\
        deb https://packages.example/apt cloud-sdk-bookworm main\n\
        deb-src http://m/debian bookworm main\n\
        deb [arch=amd64] http://m/debian bookworm main contrib\n";
    const STANZAS: &str = "Types: deb\n# a comment\nURIs: http://m/debian\n\
        Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\n\
        Types: deb\nURIs: http://m/security\nSuites: bookworm-security\n\
        Signed-By: /k-bookworm.gpg\n\n\
        Types: deb-src\nURIs: http://m/debian\nSuites: bookworm\n\n\
        Types: deb\nURIs: http://n/x\nSuites: nodistro\n";

    #[test]
    fn keeps_the_release_and_leaves_third_parties() {
        assert_eq!(
            choose(&one_line_style(LIST), Release::Bookworm),
            "deb [arch=amd64] http://m/debian bookworm main contrib\n"
        );
        assert_eq!(
            choose(&deb822_style(STANZAS), Release::Bookworm),
            "deb [signed-by=/k.gpg] http://m/debian bookworm main\n\
             deb [signed-by=/k.gpg] http://m/debian bookworm-updates main\n\
             deb [signed-by=/k-bookworm.gpg] http://m/security bookworm-security main\n"
        );
    }

    #[test]
    fn another_release_comes_from_the_same_mirrors() {
        assert_eq!(
            choose(&one_line_style(LIST), Release::Trixie),
            "deb [arch=amd64] http://m/debian trixie main contrib\n"
        );
        assert_eq!(
            choose(&deb822_style(STANZAS), Release::Trixie),
            "deb [signed-by=/k.gpg] http://m/debian trixie main\n\
             deb [signed-by=/k.gpg] http://m/debian trixie-updates main\n\
             deb [signed-by=/k-trixie.gpg] http://m/security trixie-security main\n"
        );
        // What the machine itself says of the release goes first.
        let both = "deb http://m/debian bookworm main\ndeb http://t/debian trixie main\n";
        assert_eq!(
            choose(&one_line_style(both), Release::Trixie),
            "deb http://t/debian trixie main\n"
        );
    }

    #[test]
    fn falls_back_to_the_public_mirror() {
        let public = "deb http://deb.debian.org/debian trixie main\n";
        assert_eq!(choose(&[], Release::Trixie), public);
        let updates = one_line_style("deb http://m/debian bookworm-updates main\n");
        assert_eq!(choose(&updates, Release::Trixie), public);
        let own = "deb http://m/debian trixie main\n";
        assert_eq!(choose(&one_line_style(own), Release::Trixie), own);
    }
}
