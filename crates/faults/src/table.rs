//! The findings as a table, for people and for `docs/boot-failures.md`.

use crate::Platform;
use crate::host::Finding;

/// The line before a table in a document.
fn begin(name: &str) -> String {
    format!("<!-- begin: cargo xtask boot-failures, {name} -->\n")
}

/// The line after it.
const END: &str = "<!-- end -->";

/// One finding in a line.
#[must_use]
pub fn line(finding: &Finding) -> String {
    format!(
        "{:<12} {:<22} {:>4.0} s  {} of {}  {}",
        finding.platform.name(),
        finding.case.name,
        finding.took.as_secs_f64(),
        finding.attempts,
        finding.platform.attempts(),
        end(finding),
    )
}

fn end(finding: &Finding) -> String {
    let by_hand = match finding.power_cycles {
        0 => String::new(),
        1 => " (switched off and on by hand)".to_owned(),
        n => format!(" (switched off and on by hand {n} times)"),
    };
    let words = match &finding.last_words {
        Some(from) => format!("; the kernel's last words, from {from}"),
        None => String::new(),
    };
    format!("{}{by_hand}{words}", finding.end)
}

/// The findings of some platforms as Markdown: a row for each case.
#[must_use]
pub fn markdown(findings: &[Finding], platforms: &[Platform]) -> String {
    let mut out = String::from("| what is wrong |");
    let mut rule = String::from("| --- |");
    for platform in platforms {
        out += &format!(" {} |", platform.name());
        rule += " ---: |";
    }
    out += " attempts used | `backstop history` says |\n";
    out += &(rule + " ---: | --- |\n");
    for case in crate::CASES {
        let of = |platform: &Platform| {
            let same = |f: &&Finding| f.platform == *platform && f.case.name == case.name;
            findings.iter().find(same)
        };
        let found: Vec<_> = platforms.iter().map(of).collect();
        let Some(one) = found.iter().flatten().next() else {
            continue;
        };
        out += &format!("| {} |", case.what);
        for finding in &found {
            let took = finding.map(|f| format!("{:.0} s", f.took.as_secs_f64()));
            out += &format!(" {} |", took.unwrap_or_else(|| "–".to_owned()));
        }
        out += &format!(" {} | {} |\n", one.attempts, end(one).replace('|', "\\|"));
    }
    out
}

/// The document with this table in the place of the one of that name; `None` when it has
/// no place for one.
#[must_use]
pub fn into_document(document: &str, name: &str, table: &str) -> Option<String> {
    let begin = begin(name);
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_gets_its_table() {
        let begin = begin("x");
        let document = format!("a\n{begin}old\n{END}\nb\n");
        let expected = format!("a\n{begin}new\n{END}\nb\n");
        assert_eq!(into_document(&document, "x", "new\n"), Some(expected));
        assert_eq!(into_document(&document, "y", "new\n"), None);
    }
}
