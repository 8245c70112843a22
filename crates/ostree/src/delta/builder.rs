//! Putting parts together: objects go in one by one, full parts come out.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::encode::Encoded;
use super::matching::Match;
use super::part::{Contents, Mode};
use super::{DeltaError, PartHeader, varint};
use crate::format::{FileHeader, Xattrs};
use crate::workers::{threads, work_through};
use crate::{Checksum, Error, ObjectKind, ObjectName, Result};

/// A part that is being filled.
#[derive(Default)]
struct Growing {
    contents: Contents,
    objects: Vec<ObjectName>,
    unpacked: u64,
    modes: HashMap<Mode, usize>,
    xattrs: HashMap<Xattrs, usize>,
    sources: HashMap<Checksum, usize>,
}

/// Takes objects in, and hands finished parts, in order, to `store`.
pub(super) struct Builder<'a> {
    max_part: u64,
    current: Growing,
    full: Vec<Growing>,
    headers: Vec<PartHeader>,
    store: &'a mut dyn FnMut(usize, Vec<u8>) -> Result<()>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(
        max_part: u64,
        store: &'a mut dyn FnMut(usize, Vec<u8>) -> Result<()>,
    ) -> Self {
        Self {
            max_part,
            current: Growing::default(),
            full: Vec::new(),
            headers: Vec::new(),
            store,
        }
    }

    /// Makes sure that so many bytes more fit in the current part, unless it is empty.
    fn room(&mut self, more: usize) -> Result<()> {
        let there = self.current.contents.data.len() as u64;
        if !self.current.objects.is_empty() && there + more as u64 > self.max_part {
            self.full.push(std::mem::take(&mut self.current));
            if self.full.len() >= threads() {
                self.pack()?;
            }
        }
        Ok(())
    }

    pub(super) fn metadata(&mut self, object: ObjectName, data: &[u8]) -> Result<()> {
        self.room(data.len())?;
        let part = &mut self.current;
        part.objects.push(object);
        part.unpacked += data.len() as u64;
        let at = part.add(data);
        part.operation(b'S', &[data.len(), at]);
        Ok(())
    }

    /// Adds a file; `content` is its content, or a symlink's target.
    pub(super) fn file(
        &mut self,
        checksum: Checksum,
        header: &FileHeader,
        content: &[u8],
        how: &Encoded,
        from: Option<Checksum>,
    ) -> Result<()> {
        self.room(how.new_bytes(content.len()))?;
        let part = &mut self.current;
        part.objects
            .push(ObjectName::new(checksum, ObjectKind::File));
        part.unpacked += content.len() as u64;
        let (mode, xattrs) = part.attributes(header);
        match (how, from) {
            (Encoded::Copies(matches), Some(from)) => {
                part.operation(b'o', &[mode, xattrs, content.len()]);
                part.copies(content, matches, from);
                part.operation(b'c', &[]);
            }
            (Encoded::Patch(patch), Some(from)) => {
                let source = part.source(from);
                part.operation(b'r', &[source]);
                part.operation(b'o', &[mode, xattrs, content.len()]);
                let at = part.add(patch);
                part.operation(b'B', &[at, patch.len()]);
                part.operation(b'c', &[]);
            }
            _ => {
                let at = part.add(content);
                part.operation(b'S', &[mode, xattrs, content.len(), at]);
            }
        }
        Ok(())
    }

    /// Packs the full parts, all at once.
    fn pack(&mut self) -> Result<()> {
        let full = std::mem::take(&mut self.full);
        let first = self.headers.len();
        let tasks: Vec<_> = full.into_iter().enumerate().collect();
        let packed = Mutex::new(Vec::new());
        let pack = |(i, part): (usize, Growing)| {
            let done = part.pack()?;
            packed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((i, done));
            Ok::<_, Error>(())
        };
        work_through(tasks, || (), |task, (), _| pack(task))?;
        let mut packed = packed.into_inner().unwrap_or_else(PoisonError::into_inner);
        packed.sort_by_key(|(i, _)| *i);
        for (i, (header, bytes)) in packed {
            self.headers.push(header);
            (self.store)(first + i, bytes)?;
        }
        Ok(())
    }

    /// What is to be said of the parts in the superblock.
    pub(super) fn finish(mut self) -> Result<Vec<PartHeader>> {
        let last = std::mem::take(&mut self.current);
        self.full.push(last);
        self.pack()?;
        Ok(self.headers)
    }
}

impl Encoded {
    /// About how many bytes it adds to a part.
    fn new_bytes(&self, len: usize) -> usize {
        match self {
            Self::Whole => len,
            Self::Copies(matches) => len - matches.iter().map(|m| m.len).sum::<usize>(),
            Self::Patch(patch) => patch.len(),
        }
    }
}

impl Growing {
    fn operation(&mut self, code: u8, arguments: &[usize]) {
        self.contents.operations.push(code);
        for n in arguments {
            varint::write(&mut self.contents.operations, *n as u64);
        }
    }

    /// Appends to the data; where that begins.
    fn add(&mut self, data: &[u8]) -> usize {
        let at = self.contents.data.len();
        self.contents.data.extend_from_slice(data);
        at
    }

    /// The numbers of a file's mode and attributes.
    fn attributes(&mut self, header: &FileHeader) -> (usize, usize) {
        let mode = (header.uid, header.gid, header.mode);
        let modes = &mut self.contents.modes;
        let mode = *self.modes.entry(mode).or_insert_with(|| {
            modes.push(mode);
            modes.len() - 1
        });
        if let Some(known) = self.xattrs.get(&header.xattrs) {
            return (mode, *known);
        }
        let number = self.contents.xattrs.len();
        self.contents.xattrs.push(header.xattrs.clone());
        self.xattrs.insert(header.xattrs.clone(), number);
        (mode, number)
    }

    /// Where in the data the digest of an old file is.
    fn source(&mut self, from: Checksum) -> usize {
        if let Some(at) = self.sources.get(&from) {
            return *at;
        }
        let at = self.add(from.as_bytes());
        self.sources.insert(from, at);
        at
    }

    /// Operations that copy matches, and between them write what is new.
    fn copies(&mut self, content: &[u8], matches: &[Match], from: Checksum) {
        let source = self.source(from);
        let mut end = 0;
        let mut copying = false;
        for m in matches {
            self.literal(&content[end..m.new], &mut copying);
            if !copying {
                self.operation(b'r', &[source]);
                copying = true;
            }
            self.operation(b'w', &[m.len, m.old]);
            end = m.new + m.len;
        }
        self.literal(&content[end..], &mut copying);
    }

    fn literal(&mut self, new: &[u8], copying: &mut bool) {
        if new.is_empty() {
            return;
        }
        if std::mem::take(copying) {
            self.operation(b'R', &[]);
        }
        let at = self.add(new);
        self.operation(b'w', &[new.len(), at]);
    }

    fn pack(self) -> std::result::Result<(PartHeader, Vec<u8>), DeltaError> {
        let bytes = self.contents.pack()?;
        let header = PartHeader {
            version: 0,
            checksum: Checksum::of(&bytes),
            size: bytes.len() as u64,
            unpacked: self.unpacked,
            objects: self.objects,
        };
        Ok((header, bytes))
    }
}
