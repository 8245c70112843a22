//! What is in a delta, for people.

use std::path::Path;

use super::apply::{Beside, PartSource};
use super::{
    DeltaError, DeltaName, Endianness, Fallback, Operations, Part, SignedSuperblock, Superblock,
};
use crate::{Repo, Result};

/// What is in a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaReport {
    /// From which commit to which.
    pub name: DeltaName,
    /// Whether it is signed.
    pub signed: bool,
    /// The byte order of its sizes.
    pub endianness: Endianness,
    /// Whether the byte order was guessed.
    pub guessed: bool,
    /// When it was made, in seconds since 1970.
    pub timestamp: u64,
    /// How many deltas must be applied before it.
    pub parents: usize,
    /// What it leaves out.
    pub fallbacks: Vec<Fallback>,
    /// Its parts.
    pub parts: Vec<PartReport>,
}

/// What is in a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartReport {
    /// Objects that it makes.
    pub objects: usize,
    /// Its bytes.
    pub size: u64,
    /// Bytes of the objects.
    pub unpacked: u64,
    /// Modes.
    pub modes: usize,
    /// Sets of extended attributes.
    pub xattrs: usize,
    /// Bytes of data, unpacked.
    pub data: usize,
    /// Bytes of operations.
    pub operations: usize,
    /// Operations of each kind.
    pub counts: Operations,
}

impl Repo {
    /// What is in a delta of this repository.
    ///
    /// # Errors
    /// That there is none, that it is damaged; the disk's.
    pub fn show_delta(&self, name: &DeltaName) -> Result<DeltaReport> {
        let block = SignedSuperblock::decode(self.delta_superblock(name)?)?;
        let dir = self.path().join(name.relative_dir());
        self.report(&block, &Beside { repo: self, dir })
    }

    /// What is in a delta in files elsewhere.
    ///
    /// # Errors
    /// As [`Repo::show_delta`].
    pub fn show_delta_file(&self, path: &Path) -> Result<DeltaReport> {
        let (block, dir) = self.read_delta(path)?;
        self.report(&block, &Beside { repo: self, dir })
    }

    fn report(&self, outer: &SignedSuperblock, source: &dyn PartSource) -> Result<DeltaReport> {
        let block = Superblock::decode(&outer.bytes)?;
        let mut parts = Vec::new();
        for (number, header) in block.parts.iter().enumerate() {
            let bytes = match block.inline_part(number) {
                Some(bytes) => bytes,
                None => source.part(number, header)?,
            };
            let damaged = |source| DeltaError::Part {
                part: number,
                source,
            };
            let part = Part::decode(header, &bytes).map_err(damaged)?;
            let (_, counts) = part.recipes(header).map_err(damaged)?;
            let (modes, xattrs) = part.tables();
            parts.push(PartReport {
                objects: header.objects.len(),
                size: header.size,
                unpacked: header.unpacked,
                modes,
                xattrs,
                data: part.data().len(),
                operations: part.operations().len(),
                counts,
            });
        }
        Ok(DeltaReport {
            name: block.name,
            signed: outer.signatures.is_some(),
            endianness: block.endianness,
            guessed: block.guessed,
            timestamp: block.timestamp,
            parents: block.parents.len() / 64,
            fallbacks: block.fallbacks,
            parts,
        })
    }
}
