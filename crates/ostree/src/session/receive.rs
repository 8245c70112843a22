//! What takes in the bytes of a request.

use sys::Inflate;

use super::PullSession;
use super::request::{Request, What};
use super::room::Taken;
use crate::config::RepoMode;
use crate::format::FileHeader;
use crate::gvariant::Malformed;
use crate::store::{Incoming, can_hold, digest_of, inflate_whole, max_deflated, split_header};
use crate::{Checksum, Error, Metadata, ObjectKind, ObjectName, Result};

/// Files that are longer than this, deflated, are written while they arrive, unless there
/// is [`Room`](super::room::Room) for them.
const SPILL: usize = 256 << 10;

/// Those that are longer than this are in any case.
const LONG: u64 = 1 << 20;

/// Files that are longer than this, inflated, are not inflated in memory.
const WHOLE: u64 = 4 << 20;

/// What a thread keeps from one request to the next.
pub struct Scratch {
    inflate: Inflate,
    pub(super) out: Vec<u8>,
    spare: Vec<u8>,
}

impl Scratch {
    /// Nothing allocated yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inflate: Inflate::new(),
            out: Vec::new(),
            spare: Vec::new(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// Takes in the bytes of one request. Dropped before its end, it leaves nothing.
pub struct Receiver<'s, 'r> {
    session: &'s PullSession<'r>,
    request: Request,
    arrived: u64,
    bytes: Vec<u8>,
    /// What it holds beyond [`SPILL`].
    taken: Option<Taken<'s>>,
    long: Option<Incoming<'s, 'r>>,
}

impl std::fmt::Debug for Receiver<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver")
            .field("request", &self.request)
            .field("arrived", &self.arrived)
            .finish_non_exhaustive()
    }
}

impl<'s, 'r> Receiver<'s, 'r> {
    pub(super) fn new(session: &'s PullSession<'r>, request: Request) -> Self {
        Self {
            session,
            request,
            arrived: 0,
            bytes: Vec::new(),
            taken: None,
            long: None,
        }
    }

    /// What it is for.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// How many bytes have arrived: what to ask for after a cut.
    #[must_use]
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Says how many bytes are to come, so that room is made for them once.
    pub fn expect(&mut self, len: u64, scratch: &mut Scratch) {
        if self.bytes.capacity() == 0 {
            self.bytes = std::mem::take(&mut scratch.spare);
        }
        let whole = self.arrived.saturating_add(len);
        if self.taken.is_none() && (SPILL as u64..=LONG).contains(&whole) {
            self.taken = self.session.room.take(whole);
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.bytes.reserve(len.min(self.most()));
    }

    /// How many bytes it may hold.
    fn most(&self) -> usize {
        let most = self.taken.as_ref().map(Taken::bytes);
        most.and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(SPILL)
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// They cannot be part of what was asked for; the disk's.
    pub fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.arrived += piece.len() as u64;
        if let Some(long) = &mut self.long {
            return long.write(piece);
        }
        if let Some(limit) = self.request.limit()
            && self.arrived > limit
        {
            return Err(self.damaged(Malformed::TooLarge));
        }
        self.bytes.extend_from_slice(piece);
        match self.request.object_name() {
            Some(object) if object.kind == ObjectKind::File && self.bytes.len() > self.most() => {
                self.spill(object)
            }
            _ => Ok(()),
        }
    }

    /// Begins to write a long file, once its header is there.
    fn spill(&mut self, object: ObjectName) -> Result<()> {
        let split = split_header(&self.bytes).map_err(|e| self.damaged(e))?;
        let Some((header, size, end)) = split else {
            return Ok(());
        };
        if header.is_symlink() {
            return Err(self.damaged(Malformed::Cut));
        }
        self.session.check_mode(object, &header)?;
        let (head, rest) = self.bytes.split_at(end);
        let staging = &self.session.staging;
        let mut long = Incoming::begin(staging, object, header, size, head)?;
        long.write(rest)?;
        self.long = Some(long);
        self.bytes = Vec::new();
        self.taken = None;
        Ok(())
    }

    fn damaged(&self, source: Malformed) -> Error {
        match self.request.what {
            What::Object(object) => Error::Damaged { object, source },
            What::Detached(commit) => Error::DamagedDetached {
                object: ObjectName::new(commit, ObjectKind::Commit),
                source,
            },
        }
    }

    /// All has arrived.
    ///
    /// # Errors
    /// It is not what was asked for; the disk's; a commit that is refused. The
    /// request is still under way then.
    pub fn finish(mut self, scratch: &mut Scratch) -> Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        match (self.long.take(), self.request.what) {
            (Some(long), _) => long.finish()?,
            (None, What::Object(object)) if object.kind == ObjectKind::File => {
                self.file(object, &bytes, scratch)?;
            }
            (None, What::Object(object)) => {
                let found = Checksum::of(&bytes);
                if found != object.checksum {
                    return Err(Error::WrongDigest { object, found });
                }
                self.session.take_metadata(&self.request, object, &bytes)?;
            }
            (None, What::Detached(commit)) => {
                let detached = match Metadata::decode(&bytes) {
                    Ok(detached) => Some(detached),
                    // Where no signature is demanded, it is as if there were none.
                    Err(_) if self.session.needs_no_signature(&commit) => None,
                    Err(e) => return Err(self.damaged(e)),
                };
                self.session.commit_with(commit, detached)?;
            }
        }
        if scratch.spare.capacity() < bytes.capacity() {
            scratch.spare = bytes;
            scratch.spare.clear();
        }
        self.session.count(&self.request, self.arrived);
        self.session.settle();
        Ok(())
    }

    /// A file that arrived as a whole.
    fn file(&self, object: ObjectName, bytes: &[u8], scratch: &mut Scratch) -> Result<()> {
        let split = split_header(bytes).map_err(|e| self.damaged(e))?;
        let (header, size, end) = split.ok_or_else(|| self.damaged(Malformed::Cut))?;
        self.session.check_mode(object, &header)?;
        let to_archive = self.session.repo.mode() == RepoMode::Archive;
        if to_archive && self.session.options.unverified_files {
            return self.session.staging.archived_file(object, bytes);
        }
        let deflated = &bytes[end..];
        let (held, most) = (deflated.len() as u64, max_deflated(size));
        if !can_hold(held, size) || (held > most && !header.is_symlink()) {
            return Err(self.damaged(Malformed::TooLarge));
        }
        if size > WHOLE {
            return self.much_of_little(object, header, size, bytes, end);
        }
        let content = self.content(&header, size, deflated, scratch)?;
        let mut hasher = digest_of(&header);
        hasher.update(content);
        let found = hasher.finish();
        if found != object.checksum {
            return Err(Error::WrongDigest { object, found });
        }
        let staging = &self.session.staging;
        if to_archive {
            return staging.archived_file(object, bytes);
        }
        staging.absent_file(object.checksum, &header, content)
    }

    /// The content of a file, inflated in memory.
    fn content<'a>(
        &self,
        header: &FileHeader,
        size: u64,
        deflated: &[u8],
        scratch: &'a mut Scratch,
    ) -> Result<&'a [u8]> {
        if header.is_symlink() {
            return match deflated {
                [] => Ok(&[]),
                _ => Err(self.damaged(Malformed::Cut)),
            };
        }
        let size = usize::try_from(size).map_err(|_| self.damaged(Malformed::TooLarge))?;
        let Scratch { inflate, out, .. } = scratch;
        inflate_whole(inflate, deflated, size, out).map_err(|e| self.damaged(e))?;
        Ok(&out[..size])
    }

    /// A file that is short only while it is deflated.
    fn much_of_little(
        &self,
        object: ObjectName,
        header: FileHeader,
        size: u64,
        bytes: &[u8],
        end: usize,
    ) -> Result<()> {
        let (head, rest) = bytes.split_at(end);
        let staging = &self.session.staging;
        let mut long = Incoming::begin(staging, object, header, size, head)?;
        long.write(rest)?;
        long.finish()
    }
}
