//! Which package mirror the machine uses.

use std::fs;
use std::path::{Path, PathBuf};

/// The Debian release that machines run.
pub const SUITE: &str = "bookworm";

/// One line per suite for the release, as the machine itself fetches it; the
/// public mirror when the machine names none.
#[must_use]
pub fn of_this_machine() -> String {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.flatten().map(|e| e.path()));
    }
    files.sort();
    let lines: Vec<String> = files.iter().flat_map(|f| read(f)).collect();
    choose(&lines)
}

fn choose(lines: &[String]) -> String {
    // Updates alone hold no whole system.
    if lines.iter().any(|l| l.contains(&format!(" {SUITE} "))) {
        return lines.join("\n") + "\n";
    }
    format!("deb http://deb.debian.org/debian {SUITE} main\n")
}

fn read(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    match path.extension().and_then(|e| e.to_str()) {
        Some("list") => one_line_style(&text),
        Some("sources") => deb822_style(&text),
        _ => Vec::new(),
    }
}

/// Whether a suite is the release or its updates; a third party's suite is not.
fn wanted(suite: &str) -> bool {
    ["", "-updates", "-security"]
        .iter()
        .any(|tail| suite.strip_prefix(SUITE) == Some(tail))
}

/// `deb [options] URI SUITE COMPONENTS`, one a line.
fn one_line_style(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|l| l.starts_with("deb ") || l.starts_with("deb\t"))
        .filter(|l| {
            let after = l.rsplit(']').next().unwrap_or(l);
            after.split_whitespace().any(wanted)
        })
        .map(str::to_owned)
        .collect()
}

/// Stanzas of `Field: value`.
fn deb822_style(text: &str) -> Vec<String> {
    let text: String = text
        .lines()
        .filter(|l| !l.starts_with('#'))
        .flat_map(|l| [l, "\n"])
        .collect();
    text.split("\n\n").flat_map(stanza).collect()
}

fn stanza(text: &str) -> Vec<String> {
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
        .map_or(String::new(), |k| format!("[signed-by={k}] "));
    let mut lines = Vec::new();
    for suite in suites.split_whitespace().filter(|s| wanted(s)) {
        for uri in uris.split_whitespace() {
            lines.push(format!("deb {key}{uri} {suite} {components}"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_release_and_leaves_third_parties() {
        let list = "# deb http://old/debian bookworm main\n\
            deb https://packages.example/apt cloud-sdk-bookworm main\n\
            deb-src http://m/debian bookworm main\n\
            deb [arch=amd64] http://m/debian bookworm main contrib\n";
        assert_eq!(
            one_line_style(list),
            ["deb [arch=amd64] http://m/debian bookworm main contrib"]
        );
        let sources = "Types: deb\n# a comment\nURIs: http://m/debian\n\
            Suites: bookworm bookworm-updates trixie\nComponents: main\nSigned-By: /k.gpg\n\n\
            Types: deb-src\nURIs: http://m/debian\nSuites: bookworm\n\n\
            Types: deb\nURIs: http://n/x\nSuites: nodistro\n";
        assert_eq!(
            deb822_style(sources),
            [
                "deb [signed-by=/k.gpg] http://m/debian bookworm main",
                "deb [signed-by=/k.gpg] http://m/debian bookworm-updates main"
            ]
        );
    }

    #[test]
    fn falls_back_to_the_public_mirror() {
        let public = "deb http://deb.debian.org/debian bookworm main\n";
        assert_eq!(choose(&[]), public);
        let updates = "deb http://m/debian bookworm-updates main".to_owned();
        assert_eq!(choose(&[updates]), public);
        let own = "deb http://m/debian bookworm main".to_owned();
        assert_eq!(choose(std::slice::from_ref(&own)), own + "\n");
    }
}
