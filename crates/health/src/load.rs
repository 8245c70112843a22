//! Where checks are found.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::check::{Check, Origin, Probe, built_in};
use crate::file;
use crate::report::{Need, Stage};

/// The directories of check files below the root; later ones win.
const DIRECTORIES: [&str; 3] = [
    "usr/lib/backstop/checks.d",
    "run/backstop/checks.d",
    "etc/backstop/checks.d",
];
/// greenboot's directories below the root; later ones win.
const GREENBOOT: [&str; 2] = ["usr/lib/greenboot/check", "etc/greenboot/check"];
/// No check file is longer.
const LONGEST: u64 = 64 * 1024;
/// No host has more checks.
const MOST: usize = 1000;

/// A check file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its name.
    pub path: PathBuf,
    /// What is wrong with it, with the line.
    pub what: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.what)
    }
}

/// The checks of a host, in the order of their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checks {
    /// Those that can be used.
    pub checks: Vec<Check>,
    /// The files that cannot. They fail a new version's preflight, and are no
    /// more than reported for a running one.
    pub problems: Vec<Problem>,
}

/// Which checks to load besides those in files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuiltIns {
    /// The built-in ones too.
    With,
    /// Only those in files, as for a host in a directory.
    Without,
}

impl Checks {
    /// Loads the checks of the system below `root`: built-in, drop-ins, and
    /// greenboot's.
    #[must_use]
    pub fn load(root: &Path, built_ins: BuiltIns) -> Self {
        let mut found = BTreeMap::new();
        let mut problems = Vec::new();
        if built_ins == BuiltIns::With {
            found.extend(built_in().into_iter().map(|c| (c.name.clone(), c)));
        }
        for dir in DIRECTORIES {
            drop_ins(&root.join(dir), &mut found, &mut problems);
        }
        for dir in GREENBOOT {
            for (sub, need) in [("required.d", Need::Required), ("wanted.d", Need::Wanted)] {
                greenboot(&root.join(dir).join(sub), need, &mut found, &mut problems);
            }
        }
        Self {
            checks: found.into_values().collect(),
            problems,
        }
    }

    /// Those that are asked in a container, as checks before the activation. The files
    /// that cannot be used are not among them.
    #[must_use]
    pub fn in_container(&self) -> Self {
        let asked = self.checks.iter().filter(|check| check.container);
        let checks = asked.cloned().map(|check| Check {
            stages: vec![Stage::Preflight],
            container: false,
            ..check
        });
        Self {
            checks: checks.collect(),
            problems: Vec::new(),
        }
    }
}

/// The names in a directory, sorted; none where there is no directory.
fn names(dir: &Path, problems: &mut Vec<Problem>) -> Vec<String> {
    let mut problem = |what: String| {
        let path = dir.to_owned();
        problems.push(Problem { path, what });
    };
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(e) => {
            problem(e.to_string());
            return Vec::new();
        }
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    if names.len() > MOST {
        problem(format!("more than {MOST} files: the rest is left out"));
        names.truncate(MOST);
    }
    names
}

/// Loads the check files of one directory over those found before.
fn drop_ins(dir: &Path, found: &mut BTreeMap<String, Check>, problems: &mut Vec<Problem>) {
    for file_name in names(dir, problems) {
        let Some(name) = file_name.strip_suffix(".toml") else {
            continue;
        };
        let path = dir.join(&file_name);
        let parsed = read(&path).and_then(|text| file::parse(name, &text, &path));
        // A broken file does not leave the one below it in force: that one was
        // meant to be replaced.
        found.remove(name);
        problems.retain(|p| p.path.file_name() != path.file_name());
        match parsed {
            Ok(Some(check)) => {
                found.insert(name.to_owned(), check);
            }
            Ok(None) => {}
            Err(what) => problems.push(Problem { path, what }),
        }
    }
}

/// Reads a text file, up to a bound.
fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    let mut text = String::new();
    let read = file.take(LONGEST + 1).read_to_string(&mut text);
    if read.map_err(|e| e.to_string())? as u64 > LONGEST {
        return Err(format!("longer than {LONGEST} bytes"));
    }
    Ok(text)
}

/// Takes up the programs in one of greenboot's directories.
fn greenboot(
    dir: &Path,
    need: Need,
    found: &mut BTreeMap<String, Check>,
    problems: &mut Vec<Problem>,
) {
    for file_name in names(dir, problems) {
        let path = dir.join(&file_name);
        let Some(argv) = greenboot_command(&path) else {
            continue;
        };
        let name = format!("greenboot/{file_name}");
        let check = Check {
            name: name.clone(),
            description: "a check written for greenboot".to_owned(),
            stages: vec![Stage::Live, Stage::Boot],
            need,
            always: false,
            container: false,
            timeout: Duration::from_secs(120),
            retries: 0,
            interval: Duration::from_secs(2),
            probe: Probe::Command { argv },
            origin: Origin::Greenboot(path),
        };
        found.insert(name, check);
    }
}

/// How a program of greenboot's is run: a shell script by `bash`, as greenboot
/// does, anything executable by itself; nothing else is one.
fn greenboot_command(path: &Path) -> Option<Vec<String>> {
    let metadata = std::fs::metadata(path).ok()?;
    let executable = metadata.permissions().mode() & 0o111 != 0;
    let name = path.to_str()?.to_owned();
    match path.extension() {
        _ if !metadata.is_file() => None,
        Some(sh) if sh == "sh" => Some(vec!["bash".to_owned(), name]),
        _ if executable => Some(vec![name]),
        _ => None,
    }
}
