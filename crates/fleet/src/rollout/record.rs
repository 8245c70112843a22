//! What a rollout came to, kept on the deployer's disk so that it can be resumed.
//!
//! One file a rollout, one line of JSON an entry: first the plan, then each
//! host's end as it comes. A last line that is torn was never written.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use durable::{Doing, Fs};
use serde::{Deserialize, Serialize};

use super::{End, Plan};

/// No log is longer.
const LONGEST: u64 = 64 << 20;

/// Why a rollout's log can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] durable::Error),
    /// It says something that this program does not understand.
    #[error("the rollout's record {} makes no sense at line {line}", path.display())]
    Nonsense {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// It has no plan.
    #[error("the rollout's record {} has no plan", .0.display())]
    NoPlan(PathBuf),
    /// Another process is at it.
    #[error("another `backstop fleet deploy` is at the rollout {0}")]
    Busy(String),
    /// There is none.
    #[error("there is no rollout {0}; `backstop fleet rollouts` lists them")]
    None(String),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "entry")]
pub enum Entry {
    /// It was begun.
    Begun {
        /// Seconds since 1970.
        at: u64,
        /// What it is to do.
        plan: Plan,
    },
    /// A host has ended.
    Ended {
        /// Seconds since 1970.
        at: u64,
        /// The host.
        host: String,
        /// How.
        #[serde(flatten)]
        end: End,
    },
    /// A person took it up again.
    Resumed {
        /// Seconds since 1970.
        at: u64,
    },
    /// It came to its own end: there is nothing to resume.
    Finished {
        /// Seconds since 1970.
        at: u64,
    },
}

/// The record of one rollout.
#[derive(Debug)]
pub struct Log {
    fs: Arc<dyn Fs>,
    id: String,
    path: PathBuf,
    _lock: Box<dyn durable::FsLock>,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// Its name.
    pub id: String,
    /// When it was begun, in seconds since 1970.
    pub begun: u64,
    /// What it was to do.
    pub plan: Plan,
    /// How hosts ended, by their places in the plan.
    pub ends: Vec<(usize, End)>,
    /// Whether it came to its own end.
    pub finished: bool,
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

impl Log {
    /// Begins a record in `dir`. Rollouts are named by the time of their
    /// beginning.
    ///
    /// # Errors
    /// The disk.
    pub fn create(fs: Arc<dyn Fs>, dir: &Path, plan: &Plan) -> Result<Self, LogError> {
        durable::create_dir_all(&*fs, dir, 0o700)?;
        let at = now();
        let mut number = at;
        while fs.metadata(&file(dir, &number.to_string())).is_ok() {
            number += 1;
        }
        let log = Self::lock(fs, dir, number.to_string())?;
        let plan = plan.clone();
        log.append(&Entry::Begun { at, plan })?;
        Ok(log)
    }

    /// Takes up the record of an earlier rollout: `id`, or the newest.
    ///
    /// # Errors
    /// There is none, it can't be read, or somebody else is at it.
    pub fn resume(
        fs: Arc<dyn Fs>,
        dir: &Path,
        id: Option<&str>,
    ) -> Result<(Self, Story), LogError> {
        let none = || LogError::None(id.unwrap_or_default().to_owned());
        let id = match id {
            Some(id) => id.to_owned(),
            None => list(&*fs, dir)?.pop().ok_or_else(none)?,
        };
        let log = Self::lock(fs, dir, id)?;
        let story = Story::load(&*log.fs, dir, &log.id)?;
        log.append(&Entry::Resumed { at: now() })?;
        Ok((log, story))
    }

    fn lock(fs: Arc<dyn Fs>, dir: &Path, id: String) -> Result<Self, LogError> {
        let lock = dir.join(format!("{id}.lock"));
        let held = fs
            .try_lock(&lock, durable::LockMode::Exclusive)
            .doing("lock", &lock)?;
        let Some(held) = held else {
            return Err(LogError::Busy(id));
        };
        Ok(Self {
            path: file(dir, &id),
            fs,
            id,
            _lock: held,
        })
    }

    /// The rollout's name.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Writes down how a host ended.
    ///
    /// # Errors
    /// The disk.
    pub fn ended(&self, host: &str, end: &End) -> Result<(), LogError> {
        self.append(&Entry::Ended {
            at: now(),
            host: host.to_owned(),
            end: end.clone(),
        })
    }

    /// Writes down that there is nothing to resume.
    ///
    /// # Errors
    /// The disk.
    pub fn finished(&self) -> Result<(), LogError> {
        self.append(&Entry::Finished { at: now() })
    }

    fn append(&self, entry: &Entry) -> Result<(), LogError> {
        let mut line = Vec::new();
        // A torn line of an earlier process is closed off first.
        if let Ok(found) = durable::read_bounded(&*self.fs, &self.path, LONGEST)
            && found.last().is_some_and(|b| *b != b'\n')
        {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, entry).map_err(|source| LogError::Nonsense {
            path: self.path.clone(),
            line: 0,
            source,
        })?;
        line.push(b'\n');
        Ok(durable::append_record(&*self.fs, &self.path, &line)?)
    }
}

fn file(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!("{id}.jsonl"))
}

/// The rollouts recorded in `dir`, oldest first.
///
/// # Errors
/// The disk.
pub fn list(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>, LogError> {
    let entries = match fs.read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.doing("list", dir)?,
    };
    let names = entries.iter().filter_map(|entry| entry.name.to_str());
    let ids = names.filter_map(|name| name.strip_suffix(".jsonl"));
    let mut numbers: Vec<u64> = ids.filter_map(|id| id.parse().ok()).collect();
    numbers.sort_unstable();
    Ok(numbers.iter().map(ToString::to_string).collect())
}

impl Story {
    /// Reads a rollout's record.
    ///
    /// # Errors
    /// The disk, or it makes no sense.
    pub fn load(fs: &dyn Fs, dir: &Path, id: &str) -> Result<Self, LogError> {
        let path = file(dir, id);
        if fs.metadata(&path).is_err() {
            return Err(LogError::None(id.to_owned()));
        }
        let bytes = durable::read_bounded(fs, &path, LONGEST)?;
        Self::fold(id, &bytes, &path)
    }

    fn fold(id: &str, bytes: &[u8], path: &Path) -> Result<Self, LogError> {
        let mut story: Option<Self> = None;
        let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        for (number, line) in (1..).zip(&lines) {
            if line.is_empty() {
                continue;
            }
            let entry = match serde_json::from_slice(line) {
                Ok(entry) => entry,
                // Torn by a crash, now or earlier: it was never written.
                Err(e) if e.is_eof() => continue,
                Err(source) => {
                    let path = path.to_owned();
                    return Err(LogError::Nonsense {
                        path,
                        line: number,
                        source,
                    });
                }
            };
            Self::add(&mut story, id, entry);
        }
        story.ok_or_else(|| LogError::NoPlan(path.to_owned()))
    }

    fn add(story: &mut Option<Self>, id: &str, entry: Entry) {
        match (entry, story) {
            (Entry::Begun { at, plan }, story) => {
                *story = Some(Self {
                    id: id.to_owned(),
                    begun: at,
                    plan,
                    ends: Vec::new(),
                    finished: false,
                });
            }
            (Entry::Ended { host, end, .. }, Some(story)) => {
                let place = story.plan.hosts.iter().position(|h| h.name == host);
                if let Some(place) = place {
                    story.ends.retain(|(at, _)| *at != place);
                    story.ends.push((place, end));
                }
            }
            (Entry::Finished { .. }, Some(story)) => story.finished = true,
            (Entry::Resumed { .. }, Some(story)) => story.finished = false,
            (_, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{OnFailure, Parallel};
    use crate::rollout::Planned;
    use durable::RealFs;

    fn plan() -> Plan {
        let host = |name: &str, wave| Planned {
            name: name.to_owned(),
            wave,
        };
        Plan {
            hosts: vec![host("a", 0), host("b", 1)],
            max_failures: 1,
            on_failure: OnFailure::PutBack,
            pause_s: 0,
            ignore_unreachable: false,
            prepare_ahead: true,
            parallel: Parallel::default(),
        }
    }

    fn kept() -> End {
        End::Kept {
            previous: "1".to_owned(),
            version: "2".to_owned(),
        }
    }

    #[test]
    fn a_rollout_is_remembered_and_taken_up() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let log = Log::create(fs.clone(), dir.path(), &plan()).unwrap();
        log.ended("a", &kept()).unwrap();
        let busy = Log::resume(fs.clone(), dir.path(), None).unwrap_err();
        assert!(matches!(busy, LogError::Busy(_)), "{busy}");
        drop(log);
        let (log, story) = Log::resume(fs.clone(), dir.path(), None).unwrap();
        assert_eq!(story.plan, plan());
        assert_eq!(story.ends, [(0, kept())]);
        assert!(!story.finished);
        log.finished().unwrap();
        assert!(Story::load(&*fs, dir.path(), log.id()).unwrap().finished);
        let other = Log::resume(fs, dir.path(), Some("1")).unwrap_err();
        assert!(matches!(other, LogError::None(_)), "{other}");
    }

    #[test]
    fn a_record_cut_anywhere_tells_what_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let log = Log::create(fs.clone(), dir.path(), &plan()).unwrap();
        let begun = durable::read(&*fs, &log.path).unwrap().len();
        log.ended("a", &kept()).unwrap();
        let whole = durable::read(&*fs, &log.path).unwrap();
        for cut in begun..whole.len() {
            fs.truncate(&log.path, cut as u64).unwrap();
            log.ended("b", &kept()).unwrap();
            let story = Story::load(&*fs, dir.path(), log.id()).unwrap();
            let places: Vec<_> = story.ends.iter().map(|(at, _)| *at).collect();
            assert!(places == [1] || places == [0, 1], "{cut}: {places:?}");
            fs.truncate(&log.path, 0).unwrap();
            fs.append(&log.path, &whole).unwrap();
        }
        assert!(Story::fold("x", b"{\"entry\": 7}\n", Path::new("x")).is_err());
        assert!(Story::fold("x", b"", Path::new("x")).is_err());
    }
}
