//! The journal: what happened to this host, and what it is in the middle of.
//!
//! One file, only ever appended to. Each record holds what happened and the
//! state that followed, so the last record alone says where the host stands.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use durable::{Fs, FsLock, LockMode};
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::frame;
use crate::knowledge::{Knowledge, Learned};
use crate::reason::Outcome;
use crate::state::{Phase, State, Then};
use crate::step::Step;
use crate::version::{BootId, Now, VersionId};

/// The format this program writes, and the newest it reads.
const FORMAT: u32 = 1;
/// A journal longer than this was not written by backstop.
const LONGEST: u64 = 1 << 30;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The format's number.
    pub format: u32,
    /// Counts up from 1.
    pub seq: u64,
    /// When.
    #[serde(flatten)]
    pub now: Now,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// What was learned of versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned: Vec<Learned>,
    /// How the transaction ended, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What the host is in the middle of since.
    pub state: State,
}

/// The record's line in a timeline.
impl std::fmt::Display for Record {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.event.name())?;
        if let Some(detail) = self.event.detail() {
            write!(f, ": {detail}")?;
        }
        match (&self.outcome, self.state.open()) {
            (Some(outcome), _) => write!(f, " -> {outcome}"),
            (None, Some(open)) => write!(f, " -> {}", open.phase.name()),
            (None, None) => Ok(()),
        }
    }
}

/// What the journal says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Memory {
    /// What the host is in the middle of.
    pub state: State,
    /// What is known of versions.
    pub knowledge: Knowledge,
    /// The last record's number; 0 when there is none.
    pub seq: u64,
    /// What was last kept of a live trial, and in which boot.
    kept_live: Option<(BootId, VersionId)>,
    /// Where the next record goes; what lies behind is a torn tail.
    end: u64,
    /// How long the file is.
    len: u64,
}

/// Why the journal could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk.
    #[error("cannot use the journal in {}", dir.display())]
    Disk {
        /// The journal's directory.
        dir: PathBuf,
        /// What failed.
        source: durable::Error,
    },
    /// A lock.
    #[error("cannot lock {}", path.display())]
    Lock {
        /// The lock's file.
        path: PathBuf,
        /// The kernel's answer.
        source: std::io::Error,
    },
    /// A record in the middle is damaged.
    #[error(
        "the journal {} is damaged at byte {at}; `backstop settle` sets it aside and goes on \
         from what can be read of it", path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Where the damaged record begins.
        at: usize,
    },
    /// A record was written by a newer program.
    #[error(
        "the journal {} was written by a newer backstop (format {found}, this one knows {FORMAT}); \
         use that one, or run `backstop settle`: it sets the journal aside and keeps what it \
         can read of it", path.display()
    )]
    Newer {
        /// The journal.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// A whole record makes no sense.
    #[error(
        "record {number} of the journal {} cannot be read; `backstop settle` sets it aside and \
         goes on from what can be read of it", path.display()
    )]
    Unreadable {
        /// The journal.
        path: PathBuf,
        /// Which record, counted from 1.
        number: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A record could not be put into words.
    #[error("cannot write a record for the journal")]
    Encode(#[source] serde_json::Error),
}

impl JournalError {
    /// Whether setting the journal aside helps.
    #[must_use]
    pub fn is_content(&self) -> bool {
        matches!(
            self,
            Self::Damaged { .. } | Self::Newer { .. } | Self::Unreadable { .. }
        )
    }
}

/// The journal in a directory, with its locks.
#[derive(Debug, Clone)]
pub struct Journal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Bytes that this process itself has synced.
    synced: Arc<AtomicU64>,
}

/// The exclusive right to change the host. Dropping it lets go.
#[derive(Debug)]
pub struct Work {
    _lock: Box<dyn FsLock>,
}

/// The exclusive right to add a record, held for an instant only.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    journal: &'a Journal,
    pub(crate) memory: Memory,
    _lock: Box<dyn FsLock>,
}

impl Journal {
    /// The journal in `dir`, which is made when first written to.
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, dir: &Path) -> Self {
        let dir = dir.to_owned();
        let synced = Arc::default();
        Self { fs, dir, synced }
    }

    /// The journal's file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// Reads it all, without a lock: a record that is just being written does
    /// not count yet.
    ///
    /// # Errors
    /// The disk's, or what is wrong with the content.
    pub fn load(&self) -> Result<Memory, JournalError> {
        let bytes = self.bytes()?;
        let mut memory = Memory::default();
        let end = self.each_record(&bytes, |record| memory.take_in(record))?;
        memory.end = end as u64;
        memory.len = bytes.len() as u64;
        Ok(memory)
    }

    /// The file's size, if it is there: one that differs means that there is news.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.fs.metadata(&self.path()).ok().map(|found| found.size)
    }

    /// All records, oldest first.
    ///
    /// # Errors
    /// As [`Journal::load`].
    pub fn records(&self) -> Result<Vec<Record>, JournalError> {
        let bytes = self.bytes()?;
        let mut records = Vec::new();
        self.each_record(&bytes, |record| records.push(record))?;
        Ok(records)
    }

    /// Takes the exclusive right to change the host, if it is free.
    ///
    /// # Errors
    /// The disk's.
    pub fn try_work(&self) -> Result<Option<Work>, JournalError> {
        self.make_dir()?;
        let path = self.dir.join("lock");
        match self.fs.try_lock(&path, LockMode::Exclusive) {
            Ok(lock) => Ok(lock.map(|lock| Work { _lock: lock })),
            Err(source) => Err(JournalError::Lock { path, source }),
        }
    }

    /// Takes the right to add a record; waits for whoever adds one.
    pub(crate) fn write(&self) -> Result<Writer<'_>, JournalError> {
        let lock = self.lock()?;
        Ok(Writer {
            journal: self,
            memory: self.load()?,
            _lock: lock,
        })
    }

    /// Sets a journal aside that cannot be read to its end, and begins a new
    /// one with what can be read of it: all that is known of versions, and the
    /// open transaction if the last record is a whole one.
    ///
    /// Where the transaction is lost, the boot loader alone leads back: the
    /// default was never changed, and the attempts run out.
    ///
    /// # Errors
    /// The disk's.
    pub fn set_aside(&self, now: &Now, why: &JournalError) -> Result<Record, JournalError> {
        let _lock = self.lock()?;
        let bytes = self.bytes()?;
        let mut memory = self.salvage(&bytes);
        let name = self.unused_name();
        self.keep_as(&name, &bytes)?;
        let record = Record {
            format: FORMAT,
            seq: memory.seq + 1,
            now: now.clone(),
            event: Event::SetAside {
                name,
                why: why.to_string(),
            },
            learned: memory.knowledge.as_learned(),
            outcome: None,
            state: memory.state.clone(),
        };
        // In one step: without a journal, what is known would be forgotten.
        let json = serde_json::to_vec(&record).map_err(JournalError::Encode)?;
        let begun = durable::publish_file(&*self.fs, &self.path(), &frame::encode(&json), 0o644);
        self.disk(begun)?;
        memory.take_in(record.clone());
        Ok(record)
    }

    /// Gives the journal a second name; where that cannot be, a copy.
    fn keep_as(&self, name: &str, bytes: &[u8]) -> Result<(), JournalError> {
        let aside = self.dir.join(name);
        let kept = match self.fs.hard_link(&self.path(), &aside) {
            Ok(()) => durable::Doing::doing(self.fs.sync_dir(&self.dir), "sync", &self.dir),
            Err(_) => durable::publish_file(&*self.fs, &aside, bytes, 0o644),
        };
        self.disk(kept)
    }

    fn lock(&self) -> Result<Box<dyn FsLock>, JournalError> {
        self.make_dir()?;
        let path = self.dir.join("journal.lock");
        let lock = self.fs.lock(&path, LockMode::Exclusive);
        lock.map_err(|source| JournalError::Lock { path, source })
    }

    fn make_dir(&self) -> Result<(), JournalError> {
        self.disk(durable::create_dir_all(&*self.fs, &self.dir, 0o700))
    }

    fn disk<T>(&self, result: durable::Result<T>) -> Result<T, JournalError> {
        result.map_err(|source| JournalError::Disk {
            dir: self.dir.clone(),
            source,
        })
    }

    /// The file's content; nothing where there is no file.
    fn bytes(&self) -> Result<Vec<u8>, JournalError> {
        match durable::read_bounded(&*self.fs, &self.path(), LONGEST) {
            Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            read => self.disk(read),
        }
    }

    /// Hands out each record and answers where the last one ends.
    fn each_record(
        &self,
        bytes: &[u8],
        mut take: impl FnMut(Record),
    ) -> Result<usize, JournalError> {
        let frames = frame::decode(bytes);
        for (i, content) in frames.contents.iter().enumerate() {
            take(self.record(i + 1, content)?);
        }
        match frames.damaged_at {
            Some(at) => Err(JournalError::Damaged {
                path: self.path(),
                at,
            }),
            None => Ok(frames.end),
        }
    }

    /// Reads record `number`. One of a newer format is refused even if it looks
    /// familiar.
    fn record(&self, number: usize, content: &[u8]) -> Result<Record, JournalError> {
        let path = self.path();
        let source = match serde_json::from_slice::<Record>(content) {
            Ok(record) if record.format <= FORMAT => return Ok(record),
            Ok(record) => {
                let found = record.format;
                return Err(JournalError::Newer { path, found });
            }
            Err(source) => source,
        };
        match serde_json::from_slice::<Format>(content) {
            Ok(Format { format: found }) if found > FORMAT => {
                Err(JournalError::Newer { path, found })
            }
            _ => Err(JournalError::Unreadable {
                path,
                number,
                source,
            }),
        }
    }

    /// What can be read of any journal.
    fn salvage(&self, bytes: &[u8]) -> Memory {
        let mut memory = Memory::default();
        for content in frame::decode(bytes).contents {
            let known = serde_json::from_slice::<Format>(content).is_ok_and(|f| f.format <= FORMAT);
            match serde_json::from_slice::<Record>(content) {
                Ok(record) if known => {
                    memory.infer(&record);
                    memory.take_in(record);
                }
                _ => memory.take_in_lesson(content),
            }
        }
        memory
    }

    /// A name for a journal set aside.
    fn unused_name(&self) -> String {
        let free = |name: &String| self.fs.metadata(&self.dir.join(name)).is_err();
        let names = (1..).map(|n: u64| format!("journal.aside-{n}"));
        names.into_iter().find(free).unwrap_or_default()
    }

    fn append(&self, memory: &mut Memory, record: Record) -> Result<Record, JournalError> {
        let json = serde_json::to_vec(&record).map_err(JournalError::Encode)?;
        let frame = frame::encode(&json);
        let path = self.path();
        // Whoever wrote the last record may have died before it was on the disk:
        // this one must not get there without it.
        if memory.end > 0 && memory.end != self.synced.load(Ordering::Relaxed) {
            self.disk(durable::make_sure(&*self.fs, &path))?;
        }
        if memory.end < memory.len {
            let cut = self.fs.truncate(&path, memory.end);
            self.disk(durable::Doing::doing(cut, "cut the torn tail of", &path))?;
        }
        self.disk(durable::append_record(&*self.fs, &path, &frame))?;
        memory.end += frame.len() as u64;
        memory.len = memory.end;
        self.synced.store(memory.end, Ordering::Relaxed);
        memory.take_in(record.clone());
        Ok(record)
    }
}

impl Writer<'_> {
    /// The number of the next record.
    pub(crate) fn next_seq(&self) -> u64 {
        self.memory.seq + 1
    }

    /// Makes sure that the records are on the disk: who wrote the last one may have
    /// died before that was so.
    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        if self.memory.seq == 0 {
            return Ok(());
        }
        let synced = durable::make_sure(&*self.journal.fs, &self.journal.path());
        self.journal.disk(synced)
    }

    /// Adds the record of a step; it is on the disk afterwards.
    pub(crate) fn append(
        &mut self,
        now: &Now,
        event: Event,
        step: &Step,
    ) -> Result<Record, JournalError> {
        let record = Record {
            format: FORMAT,
            seq: self.next_seq(),
            now: now.clone(),
            event,
            learned: step.learned.clone(),
            outcome: step.outcome.clone(),
            state: step.state.clone(),
        };
        self.journal.append(&mut self.memory, record)
    }
}

impl Memory {
    /// The version that is active: the one booted, or one kept live since.
    #[must_use]
    pub fn active(&self, boot: &BootId, booted: &VersionId) -> VersionId {
        match &self.kept_live {
            Some((in_boot, version)) if in_boot == boot => version.clone(),
            _ => booted.clone(),
        }
    }

    /// Takes in one more record.
    fn take_in(&mut self, record: Record) {
        self.seq = record.seq;
        if let (Some(Outcome::Kept { .. }), Some(open)) = (&record.outcome, self.state.open()) {
            // Agreed to before a reboot, it is the default, but not yet active.
            let here = Then::Verify;
            if matches!(open.phase, Phase::Keeping { then, .. } if then == here) {
                let version = open.transaction.target().clone();
                self.kept_live = Some((record.now.boot.clone(), version));
            }
        }
        for learned in &record.learned {
            let when = record.now.time;
            self.knowledge.learn(learned, when);
        }
        self.state = record.state;
    }

    /// Learns what a lost record may have said: a version that is being put back
    /// is taken to be bad.
    fn infer(&mut self, record: &Record) {
        let Some(open) = record.state.open() else {
            return;
        };
        let (Phase::RollingBack { cause, .. }
        | Phase::Verifying { cause }
        | Phase::RebootingToGood { cause, .. }) = &open.phase
        else {
            return;
        };
        let version = open.transaction.target().clone();
        if self.knowledge.standing(&version).is_none() {
            let reason = cause.reason.clone();
            let bad = Learned::Bad { version, reason };
            self.knowledge.learn(&bad, record.now.time);
        }
    }

    /// Takes in what can be understood of a record that cannot be. Where the
    /// host stands is not known then.
    fn take_in_lesson(&mut self, content: &[u8]) {
        self.state = State::Idle;
        let Ok(lesson) = serde_json::from_slice::<Lesson>(content) else {
            return;
        };
        self.seq = self.seq.max(lesson.seq);
        for learned in lesson.learned {
            if let Ok(learned) = serde_json::from_value(learned) {
                self.knowledge.learn(&learned, lesson.time);
            }
        }
    }
}

/// The one field that every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The fields that later formats are likely to share.
#[derive(Deserialize)]
struct Lesson {
    seq: u64,
    #[serde(default)]
    time: u64,
    #[serde(default)]
    learned: Vec<serde_json::Value>,
}
