//! What the machine itself needs for a tree's bytes: no program can be faster that
//! does this work.

use std::fmt::Write as _;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context;
use flate2::Compression;
use flate2::read::{DeflateDecoder, DeflateEncoder};
use sha2::{Digest, Sha256};

/// A kind of work that everything else is made of, done on all cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// Asking for each file's times and size.
    Look,
    /// Reading each file from memory and hashing it with SHA-256.
    Hash,
    /// Creating a file with the same bytes for each, and syncing the filesystem.
    Create,
    /// The same without syncing.
    Copy,
    /// A hard link to each.
    Link,
    /// Compressing each, as an archive has them.
    Deflate,
    /// Uncompressing each again.
    Inflate,
}

/// All of them, in the order in which they are measured.
const FLOORS: [Floor; 7] = [
    Floor::Look,
    Floor::Hash,
    Floor::Create,
    Floor::Copy,
    Floor::Link,
    Floor::Deflate,
    Floor::Inflate,
];

impl Floor {
    /// Its name in the table.
    fn name(self) -> &'static str {
        match self {
            Self::Look => "look at each file",
            Self::Hash => "read and hash",
            Self::Create => "create, and sync at the end",
            Self::Copy => "create",
            Self::Link => "link",
            Self::Deflate => "deflate",
            Self::Inflate => "inflate",
        }
    }
}

/// What was measured of each, in seconds.
#[derive(Debug, Default)]
pub struct Floors {
    rounds: Vec<[f64; FLOORS.len()]>,
}

impl Floors {
    /// Measures all of them once, in a directory that is left as it is.
    pub fn measure(&mut self, tree: &Path, dir: &Path) -> anyhow::Result<()> {
        let dir = dir.join("floor");
        let bytes = Bytes::of(tree)?;
        let mut round = [0.0; FLOORS.len()];
        for (seconds, floor) in round.iter_mut().zip(FLOORS) {
            *seconds = bytes.measure(floor, &dir)?;
        }
        self.rounds.push(round);
        Ok(())
    }

    /// The median of the sum of these.
    pub fn of(&self, floors: &[Floor]) -> f64 {
        let sum = |round: &[f64; FLOORS.len()]| {
            let pairs = round.iter().zip(FLOORS);
            pairs
                .filter(|(_, f)| floors.contains(f))
                .map(|(s, _)| s)
                .sum()
        };
        super::middle(self.rounds.iter().map(sum).collect())
    }

    /// Adds a table of them to the report.
    pub fn table(&self, report: &mut String) -> std::fmt::Result {
        writeln!(
            report,
            "\nThe floor is what the machine needs for the same files on all cores, whoever does it; \
             that of a piece of work is the sum of what it cannot do without.\n"
        )?;
        writeln!(report, "| floor | s |\n| --- | ---: |")?;
        for floor in FLOORS {
            writeln!(report, "| {} | {:.2} |", floor.name(), self.of(&[floor]))?;
        }
        Ok(())
    }
}

/// The regular files of a tree, and the same compressed, in memory.
#[derive(Debug)]
struct Bytes {
    files: Vec<PathBuf>,
    compressed: Mutex<Vec<Vec<u8>>>,
}

impl Bytes {
    /// Lists a tree.
    fn of(tree: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        let mut stack = vec![tree.to_owned()];
        while let Some(dir) = stack.pop() {
            let entries = std::fs::read_dir(&dir);
            for entry in entries.with_context(|| format!("cannot list {}", dir.display()))? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    stack.push(entry.path());
                } else if kind.is_file() {
                    files.push(entry.path());
                }
            }
        }
        let compressed = Mutex::new(vec![Vec::new(); files.len()]);
        Ok(Self { files, compressed })
    }

    /// Does the work once below `dir`; seconds on the clock.
    fn measure(&self, floor: Floor, dir: &Path) -> anyhow::Result<f64> {
        let dir = dir.join(format!("{floor:?}"));
        make_directories(&dir)?;
        rustix::fs::sync();
        let start = Instant::now();
        self.on_all_cores(|at, file| self.one(floor, &dir, at, file))?;
        if floor == Floor::Create {
            rustix::fs::syncfs(std::fs::File::open(&dir)?)?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    fn on_all_cores(
        &self,
        work: impl Fn(usize, &Path) -> anyhow::Result<()> + Sync,
    ) -> anyhow::Result<()> {
        let next = AtomicUsize::new(0);
        let worker = || -> anyhow::Result<()> {
            while let Some((at, file)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                self.files.get(at).map(|file| (at, file))
            } {
                work(at, file).with_context(|| format!("at {}", file.display()))?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let threads: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
            threads
                .into_iter()
                .try_for_each(|t| t.join().map_err(|_| anyhow::anyhow!("a panic"))?)
        })
    }

    #[expect(clippy::disallowed_methods, reason = "measured, not kept")]
    fn one(&self, floor: Floor, dir: &Path, at: usize, file: &Path) -> anyhow::Result<()> {
        let target = dir.join(format!("{:02x}/{at}", at % 256));
        match floor {
            Floor::Look => drop(std::fs::symlink_metadata(file)?.mtime_nsec()),
            Floor::Hash => drop(Sha256::digest(std::fs::read(file)?)),
            Floor::Create | Floor::Copy => std::fs::write(target, std::fs::read(file)?)?,
            Floor::Link => {
                let made = format!("{:?}/{:02x}/{at}", Floor::Copy, at % 256);
                let made = dir.parent().unwrap_or(dir).join(made);
                std::fs::hard_link(made, target)?;
            }
            Floor::Deflate => {
                let mut out = Vec::new();
                let bytes = std::fs::read(file)?;
                DeflateEncoder::new(&bytes[..], Compression::new(6)).read_to_end(&mut out)?;
                self.lock()[at] = out;
            }
            Floor::Inflate => {
                let bytes = std::mem::take(&mut self.lock()[at]);
                let mut out = Vec::new();
                DeflateDecoder::new(&bytes[..]).read_to_end(&mut out)?;
            }
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.compressed.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// As many as a repository has.
fn make_directories(dir: &Path) -> anyhow::Result<()> {
    for i in 0..256 {
        std::fs::create_dir_all(dir.join(format!("{i:02x}")))?;
    }
    Ok(())
}
