//! The packages in a version, as dpkg keeps them.

use std::collections::BTreeMap;
use std::path::Path;

use ostree::{Checksum, Repo};
use serde::Serialize;

use crate::Result;

/// Where the list of packages may be, in a version.
const LISTS: [&str; 2] = ["usr/lib/sysimage/dpkg/status", "var/lib/dpkg/status"];
/// No list is longer.
const LONGEST: u64 = 64 << 20;

/// A package that two versions have in different versions, or not both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its version before, if it was there.
    pub from: Option<String>,
    /// Its version after, if it stays.
    pub to: Option<String>,
}

/// The packages in which two versions differ, by name. Without lists, none.
pub(crate) fn changes(repo: &Repo, from: &Checksum, to: &Checksum) -> Result<Vec<PackageChange>> {
    Ok(compare(installed(repo, from)?, installed(repo, to)?))
}

fn installed(repo: &Repo, commit: &Checksum) -> Result<BTreeMap<String, String>> {
    for list in LISTS {
        if let Some(bytes) = repo.read_file(commit, Path::new(list), LONGEST)? {
            return Ok(parse(&String::from_utf8_lossy(&bytes)));
        }
    }
    Ok(BTreeMap::new())
}

/// Name and version of each installed package.
fn parse(text: &str) -> BTreeMap<String, String> {
    let field = |paragraph: &str, name: &str| {
        let found = paragraph.lines().find_map(|line| line.strip_prefix(name));
        found.map(|value| value.trim().to_owned())
    };
    let package = |paragraph: &str| {
        let status = field(paragraph, "Status:")?;
        let name = field(paragraph, "Package:")?;
        let there = status.ends_with(" installed");
        there.then_some((name, field(paragraph, "Version:")?))
    };
    text.split("\n\n").filter_map(package).collect()
}

fn compare(mut from: BTreeMap<String, String>, to: BTreeMap<String, String>) -> Vec<PackageChange> {
    let mut changes = Vec::new();
    for (name, version) in to {
        let before = from.remove(&name);
        if before.as_ref() != Some(&version) {
            changes.push(PackageChange {
                name,
                from: before,
                to: Some(version),
            });
        }
    }
    let gone = from.into_iter().map(|(name, version)| PackageChange {
        name,
        from: Some(version),
        to: None,
    });
    changes.extend(gone);
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared() {
        let before = "Package: a\nStatus: install ok installed\nVersion: 1\n\n\
                      Package: b\nStatus: install ok installed\nVersion: 2\nDescription: x\n Version: 9\n\n\
                      Package: c\nStatus: install ok installed\nVersion: 3\n\n\
                      Package: d\nStatus: deinstall ok config-files\nVersion: 4\n";
        let after = "Package: a\nStatus: install ok installed\nVersion: 1\n\n\
                     Package: b\nStatus: hold ok installed\nVersion: 2.1\n\n\
                     Package: d\nStatus: install ok installed\nVersion: 4\n";
        let found = compare(parse(before), parse(after));
        let found: Vec<_> = found
            .iter()
            .map(|c| (c.name.as_str(), c.from.as_deref(), c.to.as_deref()))
            .collect();
        let expected = [
            ("b", Some("2"), Some("2.1")),
            ("c", Some("3"), None),
            ("d", None, Some("4")),
        ];
        assert_eq!(found, expected);
    }
}
