//! What the kernel said last in a boot that did not come to an end: from the firmware's
//! store (pstore, which outlives a panic), or else from the journal of the boot before.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use durable::{FileKind, Fs};

/// Where systemd puts what it finds in the firmware's store.
const ARCHIVE: &str = "/var/lib/systemd/pstore";
/// How many lines are kept.
const LINES: usize = 40;
/// How much of a file is read, in bytes.
const LIMIT: u64 = 256 << 10;
/// How much of a line is kept, in characters.
const WIDTH: usize = 300;
/// How deep the archive is searched, and how many names in each directory.
const DEPTH: usize = 3;
const NAMES: usize = 1000;
/// Where they are kept, below a host's memory.
const DIR: &str = "last-words";
/// For how many upgrades they are kept.
const KEPT: usize = 20;

/// The last lines of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWords {
    /// Where they were found.
    pub from: String,
    /// The lines, the last one last.
    pub lines: Vec<String>,
}

impl LastWords {
    fn of(from: &str, text: &str) -> Option<Self> {
        let plain = |c: &char| !c.is_control() || *c == '\t';
        let line = |line: &str| line.chars().filter(plain).take(WIDTH).collect::<String>();
        let lines: Vec<String> = text.lines().map(line).collect();
        let from_line = lines.len().saturating_sub(LINES);
        let lines = lines[from_line..].to_vec();
        let from = from.to_owned();
        (!lines.is_empty()).then_some(Self { from, lines })
    }

    /// Finds those of a boot that began after `since` (seconds since 1970) and is not the
    /// one with the id `not_of`.
    pub(crate) fn find(fs: &dyn Fs, since: u64, not_of: Option<&str>) -> Option<Self> {
        stored(fs, Path::new(ARCHIVE), since).or_else(|| journal(not_of))
    }

    /// Keeps them in a host's memory, for the upgrade of this number.
    ///
    /// # Errors
    /// The disk's.
    pub fn keep(&self, fs: &dyn Fs, memory: &Path, upgrade: u64) -> durable::Result<()> {
        let dir = memory.join(DIR);
        durable::create_dir_all(fs, &dir, 0o700)?;
        let mut kept = numbers(fs, &dir);
        kept.sort_unstable();
        let too_many = (kept.len() + 1).saturating_sub(KEPT);
        for old in kept.into_iter().take(too_many) {
            durable::remove_tree(fs, &dir.join(old.to_string()))?;
        }
        let text = format!("{}\n{}\n", self.from, self.lines.join("\n"));
        let path = dir.join(upgrade.to_string());
        durable::publish_file(fs, &path, text.as_bytes(), 0o600)
    }

    /// Those that were kept for the upgrade of this number.
    #[must_use]
    pub fn kept(fs: &dyn Fs, memory: &Path, upgrade: u64) -> Option<Self> {
        let path = memory.join(DIR).join(upgrade.to_string());
        let bytes = durable::read_bounded(fs, &path, LIMIT).ok()?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (from, lines) = text.split_once('\n')?;
        Self::of(from, lines)
    }
}

fn numbers(fs: &dyn Fs, dir: &Path) -> Vec<u64> {
    let entries = fs.read_dir(dir).unwrap_or_default();
    let names = entries
        .into_iter()
        .filter_map(|e| e.name.into_string().ok());
    names.filter_map(|name| name.parse().ok()).collect()
}

/// The newest whole text in the archive that is not older.
fn stored(fs: &dyn Fs, archive: &Path, since: u64) -> Option<LastWords> {
    let mut found = Vec::new();
    texts(fs, archive, DEPTH, &mut found);
    let since = i64::try_from(since).unwrap_or(i64::MAX);
    let (_, path) = found.into_iter().filter(|(at, _)| *at >= since).max()?;
    let bytes = durable::read_bounded(fs, &path, LIMIT).ok()?;
    LastWords::of("the firmware's store", &String::from_utf8_lossy(&bytes))
}

/// Each `dmesg*.txt` below a directory, with its time.
fn texts(fs: &dyn Fs, dir: &Path, depth: usize, found: &mut Vec<(i64, PathBuf)>) {
    for entry in fs.read_dir(dir).unwrap_or_default().into_iter().take(NAMES) {
        let path = dir.join(&entry.name);
        let name = entry.name.to_string_lossy();
        if entry.kind == FileKind::Dir && depth > 0 {
            texts(fs, &path, depth - 1, found);
        } else if name.starts_with("dmesg")
            && name.ends_with(".txt")
            && let Ok(meta) = fs.metadata(&path)
        {
            found.push((meta.mtime, path));
        }
    }
}

/// The kernel's messages of the boot before.
fn journal(not_of: Option<&str>) -> Option<LastWords> {
    let boot = ask(&[
        "-b",
        "-1",
        "-n",
        "1",
        "-o",
        "json",
        "--output-fields=_BOOT_ID",
    ])?;
    let plain = |id: &str| id.replace('-', "");
    let of_that = not_of.is_some_and(|id| boot.contains(&plain(id)));
    if of_that || boot.is_empty() {
        return None;
    }
    let lines = LINES.to_string();
    let text = ask(&["-b", "-1", "-k", "-n", &lines, "-o", "short-monotonic"])?;
    LastWords::of("the journal of that boot", &text)
}

fn ask(arguments: &[&str]) -> Option<String> {
    let output = Command::new("journalctl")
        .args(["--no-pager", "--quiet"])
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;

    #[test]
    fn the_newest_text_in_the_archive_is_taken() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("1700000000/001");
        durable::create_dir_all(&RealFs, &dir, 0o755).unwrap();
        let text: String = (0..100).map(|n| format!("line {n}\u{1b}\n")).collect();
        let path = dir.join("dmesg.txt");
        durable::publish_file(&RealFs, &path, text.as_bytes(), 0o600).unwrap();
        durable::publish_file(&RealFs, &dir.join("other"), b"x\n", 0o600).unwrap();
        let found = stored(&RealFs, tmp.path(), 0).unwrap();
        assert_eq!(found.lines.len(), LINES);
        assert_eq!(found.lines.last().unwrap(), "line 99");
        assert_eq!(stored(&RealFs, tmp.path(), u64::MAX), None);
        assert_eq!(stored(&RealFs, &tmp.path().join("none"), 0), None);
    }

    #[test]
    fn what_is_kept_reads_back_and_is_not_kept_for_ever() {
        let tmp = tempfile::tempdir().unwrap();
        let words = LastWords::of("the journal of that boot", "a\nb\n").unwrap();
        for upgrade in 1..=30 {
            words.keep(&RealFs, tmp.path(), upgrade).unwrap();
        }
        let kept = |upgrade| LastWords::kept(&RealFs, tmp.path(), upgrade);
        assert_eq!(kept(30), Some(words));
        assert_eq!(kept(10), None);
        assert!(kept(11).is_some());
    }
}
