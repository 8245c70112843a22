//! Making a delta.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use durable::{Doing, LockMode};
use monitor::{Monitor, Progress, Unit};

use super::builder::Builder;
use super::encode::{Encoded, encode};
use super::similar::{Contents, OldFile, OldFiles};
use super::{DeltaName, Endianness, Fallback, SignedSuperblock, Superblock};
use crate::format::{FileHeader, Metadata};
use crate::sign::{Signer, sign_data};
use crate::workers::work_through;
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// How to make a delta. Sizes are in bytes.
#[derive(Debug, Clone)]
pub struct DeltaOptions {
    /// Puts the parts into the superblock, so that the delta is one file.
    pub inline: bool,
    /// New files larger than this, of which there is no old version, are left out, to
    /// be fetched by themselves; 0: none are.
    pub min_fallback_size: u64,
    /// How much a part holds, about.
    pub max_chunk_size: u64,
    /// No patch is made of files that together are larger than this.
    pub max_bsdiff_size: u64,
    /// Makes patches at all. Else, old files are only copied from.
    pub bsdiff: bool,
    /// The byte order of sizes in the superblock.
    pub endianness: Endianness,
    /// Where the superblock goes, the parts beside it; into the repository if `None`.
    pub output: Option<PathBuf>,
    /// Who signs the superblock.
    pub signers: Vec<Signer>,
    /// What else is to be said in the superblock.
    pub metadata: Metadata,
}

impl Default for DeltaOptions {
    fn default() -> Self {
        Self {
            inline: false,
            min_fallback_size: 4_000_000,
            max_chunk_size: 32_000_000,
            max_bsdiff_size: 128_000_000,
            bsdiff: true,
            endianness: Endianness::default(),
            output: None,
            signers: Vec::new(),
            metadata: Metadata::default(),
        }
    }
}

impl DeltaOptions {
    /// Whether a file of one size may become a patch of a file of another.
    fn may_patch(&self, old: u64, new: u64) -> bool {
        self.bsdiff && old.saturating_add(new) <= self.max_bsdiff_size
    }
}

/// What came of making a delta.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeltaSummary {
    /// Parts.
    pub parts: usize,
    /// Bytes of superblock and parts.
    pub size: u64,
    /// Objects in it.
    pub objects: usize,
    /// Objects left out.
    pub fallbacks: usize,
    /// Files of which old ones are copied.
    pub copied: usize,
    /// Files that are patches of old ones.
    pub patched: usize,
    /// Files that may be patches of old ones, where that costs less than copying.
    pub patchable: usize,
    /// Files that are in it whole.
    pub whole: usize,
}

/// A new file and what it may be made of.
struct Job {
    checksum: Checksum,
    path: String,
    size: u64,
    old: Option<OldFile>,
}

/// A new file, and how it is made.
struct Done {
    header: FileHeader,
    content: Vec<u8>,
    how: Encoded,
}

/// So many bytes of old and new files are worked on at a time.
const BATCH: u64 = 48 << 20;

impl Repo {
    /// Makes a delta from one commit (or from nothing) to another.
    ///
    /// # Errors
    /// Missing or damaged objects; the disk's.
    pub fn generate_delta(
        &self,
        name: DeltaName,
        options: &DeltaOptions,
        monitor: &dyn Monitor,
    ) -> Result<DeltaSummary> {
        let _lock = self.lock(LockMode::Shared, monitor)?;
        self.generate_locked(name, options, monitor)
            .map_err(|e| e.explain_full(self.path()))
    }

    fn generate_locked(
        &self,
        name: DeltaName,
        options: &DeltaOptions,
        monitor: &dyn Monitor,
    ) -> Result<DeltaSummary> {
        let commit = self.load(ObjectName::new(name.to, ObjectKind::Commit))?;
        let mut block = without_parts(name, commit, options);
        let place = Place::prepare(self, name, options)?;
        let (mut stored, mut inline) = (0, Vec::new());
        let mut store = |part: usize, bytes: Vec<u8>| {
            if options.inline {
                inline.push(bytes);
                return Ok(());
            }
            stored += bytes.len() as u64;
            place.store(&part.to_string(), &bytes)
        };
        let compare = Compare {
            repo: self,
            options,
            monitor,
            done: AtomicU64::new(0),
        };
        let mut work = Work::new(compare, Builder::new(options.max_chunk_size, &mut store));
        work.run(name)?;
        let mut summary = work.finish(&mut block)?;
        for (part, bytes) in inline.iter().enumerate() {
            block.set_inline_part(part, bytes);
        }
        if let Some(detached) = self.detached_metadata(&name.to)? {
            block.set_detached(&detached);
        }
        let bytes = signed(block.encode(), &options.signers)?;
        place.finish(&bytes, block.parts.len())?;
        summary.size = bytes.len() as u64 + stored;
        Ok(summary)
    }
}

/// A superblock that names no parts yet.
fn without_parts(name: DeltaName, commit: Vec<u8>, options: &DeltaOptions) -> Superblock {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut block = Superblock {
        metadata: options.metadata.clone(),
        timestamp: now.map_or(0, |t| t.as_secs()),
        name,
        commit,
        parents: Vec::new(),
        parts: Vec::new(),
        fallbacks: Vec::new(),
        endianness: options.endianness,
        guessed: false,
    };
    block.name_endianness();
    block
}

/// The superblock as it lies on the disk.
fn signed(bytes: Vec<u8>, signers: &[Signer]) -> Result<Vec<u8>> {
    if signers.is_empty() {
        return Ok(bytes);
    }
    let signatures = Some(sign_data(&bytes, signers, None).map_err(Error::from)?);
    Ok(SignedSuperblock { bytes, signatures }.encode())
}

/// Where the files of a delta go. The superblock comes last, so without it there is
/// no delta; where there was one, it goes first.
struct Place<'a> {
    repo: &'a Repo,
    dir: PathBuf,
    superblock: PathBuf,
    /// Whether other files in `dir` are ours to remove.
    own: bool,
}

impl<'a> Place<'a> {
    fn prepare(repo: &'a Repo, name: DeltaName, options: &DeltaOptions) -> Result<Self> {
        let superblock = match &options.output {
            Some(path) => path.clone(),
            None => repo.path().join(name.superblock_path()),
        };
        let dir = match superblock.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        if options.output.is_none() {
            durable::create_dir_all(repo.fs(), &dir, 0o755)?;
            repo.remove(&superblock)?;
            repo.fs().sync_dir(&dir).doing("sync", &dir)?;
        }
        Ok(Self {
            repo,
            dir,
            superblock,
            own: options.output.is_none(),
        })
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        Ok(durable::publish_file(self.repo.fs(), &path, bytes, 0o644)?)
    }

    /// Publishes the superblock; of a delta that was there before, parts beyond the
    /// new ones go.
    fn finish(&self, superblock: &[u8], parts: usize) -> Result<()> {
        durable::publish_file(self.repo.fs(), &self.superblock, superblock, 0o644)?;
        if !self.own {
            return Ok(());
        }
        for entry in self
            .repo
            .fs()
            .read_dir(&self.dir)
            .doing("list", &self.dir)?
        {
            let number = entry.name.to_str().and_then(|n| n.parse::<usize>().ok());
            if number.is_some_and(|n| n >= parts) {
                self.repo.remove(&self.dir.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

/// What the workers share.
struct Compare<'a> {
    repo: &'a Repo,
    options: &'a DeltaOptions,
    monitor: &'a dyn Monitor,
    /// Bytes of new files done so far.
    done: AtomicU64,
}

struct Work<'a> {
    compare: Compare<'a>,
    builder: Builder<'a>,
    fallbacks: Vec<Fallback>,
    /// Files that are whole, copied, patched.
    counts: [usize; 3],
    /// Files that may be patches.
    patchable: usize,
}

impl<'a> Work<'a> {
    fn new(compare: Compare<'a>, builder: Builder<'a>) -> Self {
        Self {
            compare,
            builder,
            fallbacks: Vec::new(),
            counts: [0; 3],
            patchable: 0,
        }
    }

    /// Ends the last part, and tells the superblock of all.
    fn finish(self, block: &mut Superblock) -> Result<DeltaSummary> {
        block.fallbacks = self.fallbacks;
        block.parts = self.builder.finish()?;
        let [whole, copied, patched] = self.counts;
        Ok(DeltaSummary {
            parts: block.parts.len(),
            size: 0,
            objects: block.parts.iter().map(|part| part.objects.len()).sum(),
            fallbacks: block.fallbacks.len(),
            copied,
            patched,
            patchable: self.patchable,
            whole,
        })
    }

    fn run(&mut self, name: DeltaName) -> Result<()> {
        let old = match &name.from {
            Some(from) => Contents::of(self.compare.repo, from)?,
            None => Contents::default(),
        };
        let new = Contents::of(self.compare.repo, &name.to)?;
        for object in new.metadata.iter().filter(|o| !old.objects.contains(o)) {
            let data = self.compare.repo.load(*object)?;
            self.builder.metadata(*object, &data)?;
        }
        let fresh: Vec<_> = new
            .files
            .into_iter()
            .filter(|(sum, _)| {
                !old.objects
                    .contains(&ObjectName::new(*sum, ObjectKind::File))
            })
            .collect();
        drop((new.objects, new.metadata, old.objects, old.metadata));
        let jobs = self.jobs(fresh, OldFiles::new(self.compare.repo, old.files))?;
        let total: u64 = jobs.iter().map(|j| j.size).sum();
        let mut rest = jobs.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |job: &&Job| {
                bytes += job.size + job.old.map_or(0, |o| o.size);
                bytes <= BATCH
            };
            let (batch, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            self.batch(batch, total)?;
            rest = others;
        }
        Ok(())
    }

    /// What is to be done of each new file: those with an old version first, then
    /// those that are whole, alike ones side by side for the compressor.
    fn jobs(&mut self, fresh: Vec<(Checksum, String)>, mut old: OldFiles<'_>) -> Result<Vec<Job>> {
        let mut jobs = Vec::new();
        for (checksum, path) in fresh {
            let file = self.compare.repo.open_file(&checksum)?;
            let (size, link) = (file.size, file.header.is_symlink());
            let like = if link { None } else { old.like(&path, size)? };
            let limit = self.compare.options.min_fallback_size;
            if like.is_none() && limit > 0 && size > limit {
                self.leave_out(checksum, size)?;
                continue;
            }
            let options = self.compare.options;
            let patchable = like.is_some_and(|old| options.may_patch(old.size, size));
            self.patchable += usize::from(patchable);
            jobs.push(Job {
                checksum,
                path,
                size,
                old: like,
            });
        }
        jobs.sort_by_cached_key(|job| {
            let path = Path::new(&job.path);
            let part = |p: Option<&std::ffi::OsStr>| p.unwrap_or_default().to_owned();
            let whole = job.old.is_none();
            let names = (part(path.extension()), part(path.file_name()));
            (whole, whole.then_some(names), job.path.clone())
        });
        Ok(jobs)
    }

    fn leave_out(&mut self, checksum: Checksum, unpacked: u64) -> Result<()> {
        let object = ObjectName::new(checksum, ObjectKind::File);
        let path = self.compare.repo.object_path(&object);
        let size = self
            .compare
            .repo
            .fs()
            .metadata(&path)
            .doing("look at", &path)?
            .size;
        self.fallbacks.push(Fallback {
            object,
            size,
            unpacked,
        });
        Ok(())
    }

    /// Works on some files on all cores, then takes them in, in their order.
    fn batch(&mut self, batch: &[Job], total: u64) -> Result<()> {
        let mut done: Vec<Mutex<Option<Done>>> = Vec::new();
        done.resize_with(batch.len(), Mutex::default);
        // The last task is done first: let that be the largest.
        let mut order: Vec<usize> = (0..batch.len()).collect();
        order.sort_by_key(|i| batch[*i].size);
        let compare = &self.compare;
        work_through(
            order,
            || (),
            |i: usize, (), _| {
                let made = compare.one(&batch[i], total)?;
                *done[i].lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
                Ok::<_, Error>(())
            },
        )?;
        for (job, done) in batch.iter().zip(done) {
            let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
            let Some(done) = done else { continue };
            let kind = match done.how {
                Encoded::Whole => 0,
                Encoded::Copies(_) => 1,
                Encoded::Patch(_) => 2,
            };
            self.counts[kind] += 1;
            let from = job.old.map(|old| old.checksum);
            self.builder
                .file(job.checksum, &done.header, &done.content, &done.how, from)?;
        }
        Ok(())
    }
}

impl Compare<'_> {
    fn one(&self, job: &Job, total: u64) -> Result<Done> {
        let done = self.encoded(job)?;
        self.monitor.progress(Progress {
            step: "comparing files",
            done: self.done.fetch_add(job.size, Ordering::Relaxed) + job.size,
            total: Some(total),
            unit: Unit::Bytes,
        });
        Ok(done)
    }

    fn encoded(&self, job: &Job) -> Result<Done> {
        let (header, content) = self.whole(job.checksum)?;
        let Some(old) = job.old else {
            let content = match header.is_symlink() {
                true => header.target.clone().into_bytes(),
                false => content,
            };
            let how = Encoded::Whole;
            return Ok(Done {
                header,
                content,
                how,
            });
        };
        let (_, before) = self.whole(old.checksum)?;
        let patches = self.options.may_patch(old.size, job.size);
        let how = encode(&before, &content, patches);
        Ok(Done {
            header,
            content,
            how,
        })
    }

    /// A file, read whole and verified.
    fn whole(&self, checksum: Checksum) -> Result<(FileHeader, Vec<u8>)> {
        let object = ObjectName::new(checksum, ObjectKind::File);
        let found = self.repo.load_file(&checksum, u64::MAX)?;
        found.ok_or(Error::Missing(object))
    }
}
