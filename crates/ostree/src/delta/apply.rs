//! Applying a delta.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use durable::{FileKind, LockMode};
use monitor::{Monitor, Progress, Unit};

use super::error::PartError;
use super::rebuild::Rebuild;
use super::{
    DeltaError, DeltaName, MAX_SUPERBLOCK, Part, PartHeader, SignedSuperblock, Superblock,
};
use crate::sign::{Trust, Vouched};
use crate::store::Staging;
use crate::workers::work_through;
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// What a delta must fulfil.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Whose signature the delta must have, if it is signed.
    pub trust: Option<Trust>,
    /// Whether it must be signed.
    pub must_be_signed: bool,
}

/// What came of applying a delta.
#[derive(Debug, Clone)]
pub struct ApplySummary {
    /// From which commit to which.
    pub name: DeltaName,
    /// Objects that were not there before.
    pub objects_written: u64,
    /// Their bytes.
    pub bytes_written: u64,
    /// Who vouches for the delta, if that was asked.
    pub vouched: Option<Vouched>,
}

/// Where parts come from: a directory, a network.
pub trait PartSource: Sync {
    /// The bytes of a part, as a file has them. They need not be checked.
    ///
    /// # Errors
    /// That it cannot be had.
    fn part(&self, number: usize, header: &PartHeader) -> Result<Vec<u8>>;
}

/// Parts in files beside the superblock.
pub(super) struct Beside<'a> {
    pub(super) repo: &'a Repo,
    pub(super) dir: PathBuf,
}

impl PartSource for Beside<'_> {
    fn part(&self, number: usize, header: &PartHeader) -> Result<Vec<u8>> {
        let path = self.dir.join(number.to_string());
        Ok(durable::read_bounded(self.repo.fs(), &path, header.size)?)
    }
}

/// Checks the signatures of a superblock as `options` demand.
fn check_signatures(
    block: &SignedSuperblock,
    options: &ApplyOptions,
) -> std::result::Result<Option<Vouched>, DeltaError> {
    let Some(signatures) = &block.signatures else {
        return match options.must_be_signed {
            true => Err(DeltaError::Unsigned),
            false => Ok(None),
        };
    };
    match &options.trust {
        Some(trust) => trust
            .verify(&block.bytes, signatures)
            .map(Some)
            .map_err(|e| DeltaError::Untrusted(Box::new(e))),
        None if options.must_be_signed => Err(DeltaError::Unsigned),
        None => Ok(None),
    }
}

impl Repo {
    /// Applies a delta that is in files: a superblock, or a directory with one. All
    /// objects are verified. No ref is set.
    ///
    /// # Errors
    /// That it is damaged, does not fit what is here, or is not signed as demanded;
    /// the disk's. No commit is there then that was not before.
    pub fn apply_delta(
        &self,
        path: &Path,
        options: &ApplyOptions,
        monitor: &dyn Monitor,
    ) -> Result<ApplySummary> {
        let (block, dir) = self.read_delta(path)?;
        let vouched = check_signatures(&block, options)?;
        let block = Superblock::decode(&block.bytes)?;
        if let Some(fallback) = block.fallbacks.first() {
            return Err(Error::Delta(DeltaError::Fallbacks {
                count: block.fallbacks.len(),
                first: fallback.object,
            }));
        }
        let _lock = self.lock(LockMode::Shared, monitor)?;
        let source = Beside { repo: self, dir };
        let (objects_written, bytes_written) = self
            .apply_block(&block, &source, monitor)
            .map_err(|e| e.explain_full(self.path()))?;
        Ok(ApplySummary {
            name: block.name,
            objects_written,
            bytes_written,
            vouched,
        })
    }

    /// Reads a superblock, and says where its parts are.
    pub(super) fn read_delta(&self, path: &Path) -> Result<(SignedSuperblock, PathBuf)> {
        use durable::Doing;
        let stat = self.fs().metadata(path).doing("look at", path)?;
        let (file, dir) = match stat.kind {
            FileKind::Dir => (path.join("superblock"), path.to_owned()),
            FileKind::Other => return Err(DeltaError::NotADelta(path.to_owned()).into()),
            _ => {
                let dir = path.parent().map_or(PathBuf::new(), Path::to_owned);
                (path.to_owned(), dir)
            }
        };
        let bytes = durable::read_bounded(self.fs(), &file, MAX_SUPERBLOCK)?;
        Ok((SignedSuperblock::decode(bytes)?, dir))
    }

    fn apply_block(
        &self,
        block: &Superblock,
        source: &dyn PartSource,
        monitor: &dyn Monitor,
    ) -> Result<(u64, u64)> {
        let commit = ObjectName::new(block.name.to, ObjectKind::Commit);
        let staging = Staging::begin(self)?;
        self.stage_delta(block, source, &staging, monitor)?;
        let (objects, bytes) = staging.written();
        staging.publish()?;
        if self.has(&commit)? && !self.is_partial(&block.name.to)? {
            return Ok((objects, bytes));
        }
        self.check_complete(&block.commit)?;
        if let Some(detached) = block.detached() {
            // Before the commit itself, so that it is never there without.
            let path = self.detached_path(&block.name.to);
            if let Some(dir) = path.parent() {
                durable::create_dir_all(self.fs(), dir, 0o755)?;
            }
            durable::publish_file(self.fs(), &path, &detached.encode(), 0o644)?;
        }
        staging.metadata(ObjectKind::Commit, &block.commit)?;
        staging.publish()?;
        self.remove(&self.partial_mark(&block.name.to))?;
        Ok((objects + 1, bytes + block.commit.len() as u64))
    }

    /// Makes all objects of a delta but its commit, without publishing them. What
    /// the delta starts from must be there.
    ///
    /// # Errors
    /// That the delta is damaged or its parts cannot be had; the disk's. What is
    /// staged must not be published then.
    pub(crate) fn stage_delta(
        &self,
        block: &Superblock,
        source: &dyn PartSource,
        staging: &Staging<'_>,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        if let Some(from) = block.name.from {
            let there = self.has(&ObjectName::new(from, ObjectKind::Commit))?;
            if !there || self.is_partial(&from)? {
                return Err(DeltaError::NoSource(from).into());
            }
        }
        let done = AtomicUsize::new(0);
        // The newest task is done first.
        let parts: Vec<usize> = (0..block.parts.len()).rev().collect();
        work_through(
            parts,
            || (),
            |number, (), _| {
                self.stage_part(block, number, source, staging)?;
                monitor.progress(Progress {
                    step: "applying parts of a delta",
                    done: done.fetch_add(1, Ordering::Relaxed) as u64 + 1,
                    total: Some(block.parts.len() as u64),
                    unit: Unit::Items,
                });
                Ok::<_, Error>(())
            },
        )
    }

    fn stage_part(
        &self,
        block: &Superblock,
        number: usize,
        source: &dyn PartSource,
        staging: &Staging<'_>,
    ) -> Result<()> {
        let header = &block.parts[number];
        if self.has_all(header)? {
            return Ok(());
        }
        let damaged = |source: PartError| {
            let part = number;
            Error::Delta(DeltaError::Part { part, source })
        };
        let bytes = match block.inline_part(number) {
            Some(bytes) => bytes,
            None => source.part(number, header)?,
        };
        let part = Part::decode(header, &bytes).map_err(damaged)?;
        drop(bytes);
        let (recipes, _) = part.recipes(header).map_err(damaged)?;
        let rebuild = Rebuild {
            repo: self,
            staging,
            number,
            part: &part,
        };
        recipes.iter().try_for_each(|recipe| rebuild.make(recipe))
    }

    /// Whether a part has nothing that is not here.
    fn has_all(&self, header: &PartHeader) -> Result<bool> {
        for object in &header.objects {
            if !self.has(object)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Checks that all is there that a commit, which is not, is made of.
    fn check_complete(&self, commit: &[u8]) -> Result<()> {
        let object = ObjectName::new(Checksum::of(commit), ObjectKind::Commit);
        let decoded = crate::Commit::decode(commit);
        let commit = decoded.map_err(|source| Error::Damaged { object, source })?;
        let incomplete = |e| Error::Delta(DeltaError::Incomplete(Box::new(e)));
        self.check_tree(&commit).map_err(incomplete)
    }

    fn check_tree(&self, commit: &crate::Commit) -> Result<()> {
        let mut seen = std::collections::HashSet::new();
        let mut trees = vec![commit.root_tree];
        let need = |checksum, kind| {
            let object = ObjectName::new(checksum, kind);
            match self.has(&object)? {
                true => Ok(()),
                false => Err(Error::Missing(object)),
            }
        };
        need(commit.root_meta, ObjectKind::DirMeta)?;
        while let Some(tree) = trees.pop() {
            if !seen.insert(tree) {
                continue;
            }
            let tree = self.load_dirtree(&tree)?;
            for file in &tree.files {
                if seen.insert(file.checksum) {
                    need(file.checksum, ObjectKind::File)?;
                }
            }
            for dir in &tree.dirs {
                if seen.insert(dir.meta) {
                    need(dir.meta, ObjectKind::DirMeta)?;
                }
                trees.push(dir.tree);
            }
        }
        Ok(())
    }
}
