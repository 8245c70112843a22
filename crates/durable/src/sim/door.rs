//! [`Fs`] for [`SimFs`].

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::record::{Step, Sync};
use super::tree::{Effect, Ino, Inode, Meta, Node, Place, ROOT, Tree};
use super::{Pending, SimFs, State, line};
use crate::fs::{
    Attributes, DirEntry, FileKind, Fs, FsLock, LockMode, Metadata, NewFile, ReadSeek, Xattr,
};

/// The only device.
const DEVICE: u64 = 0x51;

/// Free space where no limit is set.
const PLENTY: u64 = 1 << 40;

impl State {
    /// Where a new name may be put: its directory exists and can change.
    fn vacancy(&self, path: &Path) -> io::Result<Place> {
        let place = self.tree.walk(path, false)?;
        if place.ino.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.mutable(place.dir)?;
        Ok(place)
    }

    fn mutable(&self, ino: Ino) -> io::Result<()> {
        if self.tree.get(ino)?.meta.immutable {
            return Err(Errno::PERM.into());
        }
        Ok(())
    }

    /// An existing name that may be taken away.
    fn removable(&self, path: &Path) -> io::Result<(Place, Ino)> {
        let place = self.tree.walk(path, false)?;
        let ino = place.ino.ok_or(Errno::NOENT)?;
        self.mutable(place.dir)?;
        self.mutable(ino)?;
        Ok((place, ino))
    }

    /// A file to be written; as the real one, this follows no symlink.
    fn writable(&self, path: &Path) -> io::Result<Ino> {
        let ino = self.tree.find(path, false)?;
        match self.tree.get(ino)?.kind() {
            FileKind::Dir => Err(Errno::ISDIR.into()),
            FileKind::Symlink => Err(Errno::LOOP.into()),
            _ => self.mutable(ino).map(|()| ino),
        }
    }

    /// The effects of giving a new inode a name.
    fn new_inode(&self, place: Place, node: Node, mode: u32) -> (Ino, Vec<Effect>) {
        let ino = self.tree.next_ino();
        let meta = Meta::new(mode, self.now);
        let inode = Inode { node, meta };
        let (dir, name) = (place.dir, place.name);
        let effects = vec![Effect::New { ino, inode }, Effect::Link { dir, name, ino }];
        (ino, effects)
    }

    /// How many of `wanted` more bytes still fit.
    fn room(&self, wanted: u64) -> u64 {
        let free = |capacity: u64| capacity.saturating_sub(self.tree.used());
        self.faults.capacity.map_or(wanted, |c| wanted.min(free(c)))
    }

    /// The attributes that result, or why they cannot be set.
    fn attributed(&self, ino: Ino, attributes: &Attributes) -> io::Result<Effect> {
        self.mutable(ino)?;
        let inode = self.tree.get(ino)?;
        let kind = inode.kind();
        for (name, _) in &attributes.xattrs {
            if self.faults.no_xattrs || !name.contains(&b'.') {
                return Err(Errno::OPNOTSUPP.into());
            }
            if name.starts_with(b"user.") && kind == FileKind::Symlink {
                return Err(Errno::PERM.into());
            }
        }
        let meta = inode.meta.with(attributes, kind);
        Ok(Effect::Meta { ino, meta })
    }
}

/// Writes at `offset` what still fits; answers how much that was.
fn write_at(call: Pending<'_>, ino: Ino, offset: u64, bytes: &[u8]) -> io::Result<usize> {
    let len = call.state.tree.content(ino).map_or(0, |c| c.len() as u64);
    let growth = (offset + bytes.len() as u64).saturating_sub(len);
    let missing = growth - call.state.room(growth);
    let fits = bytes.len()
        - usize::try_from(missing)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
    if fits == 0 && !bytes.is_empty() {
        return Err(Errno::NOSPC.into());
    }
    let bytes = Arc::new(bytes[..fits].to_vec());
    call.done(vec![Effect::Write { ino, offset, bytes }]);
    Ok(fits)
}

/// A directory opened for reading, which only fails when read.
struct OpenDir;

impl Read for OpenDir {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(Errno::ISDIR.into())
    }
}

impl Seek for OpenDir {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Ok(0)
    }
}

/// The bytes a file had when it was opened.
struct OpenFile(Cursor<Vec<u8>>);

impl Read for OpenFile {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

impl Seek for OpenFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// A file being written.
struct SimNewFile {
    fs: SimFs,
    path: PathBuf,
    ino: Ino,
    offset: u64,
}

impl Write for SimNewFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let more = format!(" at {}: {} bytes", self.offset, buf.len());
        let call = self.fs.begin(line("write", &self.path, &more))?;
        let written = write_at(call, self.ino, self.offset, buf)?;
        self.offset += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for SimNewFile {
    fn set(&mut self, attributes: &Attributes) -> io::Result<()> {
        let call = self.fs.begin(line("set", &self.path, &shown(attributes)))?;
        let effect = call.state.attributed(self.ino, attributes)?;
        call.done(vec![effect]);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.fs.sync("sync file", &self.path, Sync::File(self.ino))
    }
}

/// Attributes, for the record.
fn shown(attributes: &Attributes) -> String {
    let mut text = String::new();
    if let Some((uid, gid)) = attributes.owner {
        text += &format!(" owner {uid}:{gid}");
    }
    if let Some(mode) = attributes.mode {
        text += &format!(" mode {mode:o}");
    }
    for (name, value) in &attributes.xattrs {
        let name = String::from_utf8_lossy(name);
        text += &format!(" {name} ({} bytes)", value.len());
    }
    text
}

impl SimFs {
    fn sync(&self, verb: &str, path: &Path, sync: Sync) -> io::Result<()> {
        match self.begin(line(verb, path, "")) {
            Ok(call) => {
                call.synced(sync);
                Ok(())
            }
            Err(e) => {
                let mut state = self.state();
                let dead = state.faults.dead;
                if let (Sync::File(ino), false, Some(last)) = (sync, dead, state.calls.last_mut()) {
                    last.step = Step::Sync(Sync::Failed(ino));
                }
                Err(e)
            }
        }
    }

    fn lock_file(&self, path: &Path) -> io::Result<Ino> {
        {
            let state = self.state();
            let place = state.tree.walk(path, true)?;
            if let Some(ino) = place.ino {
                let is_dir = state.tree.get(ino)?.kind() == FileKind::Dir;
                return if is_dir {
                    Err(Errno::ISDIR.into())
                } else {
                    Ok(ino)
                };
            }
        }
        let call = self.begin(line("create", path, " (lock)"))?;
        let place = call.state.tree.walk(path, true)?;
        call.state.mutable(place.dir)?;
        let node = Node::File(Arc::default());
        let (ino, effects) = call.state.new_inode(place, node, 0o600);
        call.done(effects);
        Ok(ino)
    }
}

/// What `rename` refuses, in the kernel's order.
fn rename_allowed(tree: &Tree, from: Ino, from_dir: Ino, to: &Place) -> io::Result<()> {
    let from_is_dir = tree.get(from)?.kind() == FileKind::Dir;
    if from_is_dir && tree.is_below(to.dir, from) {
        return Err(Errno::INVAL.into());
    }
    let Some(target) = to.ino else { return Ok(()) };
    match (from_is_dir, tree.entries(target)) {
        (_, Ok(_)) if tree.is_below(from_dir, target) => Err(Errno::NOTEMPTY.into()),
        (true, Ok(entries)) if !entries.is_empty() && from != target => Err(Errno::NOTEMPTY.into()),
        (true, Err(e)) => Err(e),
        (false, Ok(_)) => Err(Errno::ISDIR.into()),
        _ => Ok(()),
    }
}

/// Two names that can change places, in the order in which the kernel refuses.
fn exchangeable(tree: &Tree, one: &Path, other: &Path) -> io::Result<((Place, Ino), (Place, Ino))> {
    let (a, b) = (tree.walk(one, false)?, tree.walk(other, false)?);
    if a.name.is_empty() || b.name.is_empty() {
        return Err(Errno::BUSY.into());
    }
    let (first, second) = (a.ino.ok_or(Errno::NOENT)?, b.ino.ok_or(Errno::NOENT)?);
    // Neither may end up below itself.
    if tree.is_below(b.dir, first) || tree.is_below(a.dir, second) {
        return Err(Errno::INVAL.into());
    }
    Ok(((a, first), (b, second)))
}

impl Fs for SimFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        let state = self.state();
        let ino = state.tree.find(path, true)?;
        Ok(match state.tree.content(ino) {
            Some(bytes) => Box::new(OpenFile(Cursor::new(bytes.to_vec()))),
            None => Box::new(OpenDir),
        })
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let state = self.state();
        let ino = state.tree.find(path, false)?;
        let inode = state.tree.get(ino)?;
        let (file_type, size) = match &inode.node {
            Node::File(bytes) => (0o100_000, bytes.len() as u64),
            Node::Dir(_) => (0o040_000, 4096),
            Node::Symlink(target) => (0o120_000, target.as_os_str().len() as u64),
        };
        Ok(Metadata {
            kind: inode.kind(),
            mode: file_type | inode.meta.mode,
            uid: inode.meta.uid,
            gid: inode.meta.gid,
            size,
            mtime: inode.meta.mtime,
            dev: DEVICE,
            ino,
            nlink: state.tree.links(ino),
        })
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.state();
        let dir = state.tree.find(path, true)?;
        let entry = |(name, ino): (&std::ffi::OsString, &Ino)| {
            let kind = state.tree.get(*ino)?.kind();
            let name = name.clone();
            Ok(DirEntry { name, kind })
        };
        state.tree.entries(dir)?.iter().map(entry).collect()
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        let state = self.state();
        match &state.tree.get(state.tree.find(path, false)?)?.node {
            Node::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn xattrs(&self, path: &Path) -> io::Result<Vec<Xattr>> {
        let state = self.state();
        let ino = state.tree.find(path, false)?;
        if state.faults.no_xattrs {
            return Ok(Vec::new());
        }
        let xattrs = &state.tree.get(ino)?.meta.xattrs;
        Ok(xattrs.iter().map(|(n, v)| (n.clone(), v.clone())).collect())
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn NewFile>> {
        let call = self.begin(line("create", path, ""))?;
        let place = call.state.vacancy(path)?;
        let node = Node::File(Arc::default());
        let (ino, effects) = call.state.new_inode(place, node, mode);
        call.done(effects);
        Ok(Box::new(SimNewFile {
            fs: self.clone(),
            path: path.to_owned(),
            ino,
            offset: 0,
        }))
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        let call = self.begin(line("create dir", path, ""))?;
        let place = call.state.vacancy(path)?;
        let node = Node::Dir(std::collections::BTreeMap::new());
        let (_, effects) = call.state.new_inode(place, node, mode);
        call.done(effects);
        Ok(())
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let call = self.begin(line("symlink", path, &format!(" -> {}", target.display())))?;
        if target.as_os_str().is_empty() {
            return Err(Errno::NOENT.into());
        }
        let place = call.state.vacancy(path)?;
        let node = Node::Symlink(target.to_owned());
        let (_, effects) = call.state.new_inode(place, node, 0o777);
        call.done(effects);
        Ok(())
    }

    fn hard_link(&self, original: &Path, path: &Path) -> io::Result<()> {
        let call = self.begin(line("link", original, &format!(" as {}", path.display())))?;
        let ino = call.state.tree.find(original, false)?;
        let place = call.state.vacancy(path)?;
        if call.state.tree.get(ino)?.kind() == FileKind::Dir {
            return Err(Errno::PERM.into());
        }
        call.state.mutable(ino)?;
        let (dir, name) = (place.dir, place.name);
        call.done(vec![Effect::Link { dir, name, ino }]);
        Ok(())
    }

    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let call = self.begin(line("set", path, &shown(attributes)))?;
        let ino = call.state.tree.find(path, false)?;
        let effect = call.state.attributed(ino, attributes)?;
        call.done(vec![effect]);
        Ok(())
    }

    fn overwrite(&self, path: &Path, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let more = format!(" at {offset}: {} bytes", bytes.len());
        let call = self.begin(line("overwrite", path, &more))?;
        let ino = call.state.writable(path)?;
        let len = call.state.tree.content(ino).map_or(0, |c| c.len() as u64);
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > len) {
            let why = "the write would grow the file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        write_at(call, ino, offset, bytes).map(|_| ())
    }

    fn append(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let new = self.state().tree.find(path, false);
        let ino = match new {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let call = self.begin(line("create", path, " (append)"))?;
                let place = call.state.vacancy(path)?;
                let node = Node::File(Arc::default());
                let (ino, effects) = call.state.new_inode(place, node, 0o644);
                call.done(effects);
                ino
            }
            Err(e) => return Err(e),
            Ok(_) => self.state().writable(path)?,
        };
        let mut left = bytes;
        while !left.is_empty() {
            let more = format!(": {} bytes", left.len());
            let call = self.begin(line("append", path, &more))?;
            let end = call.state.tree.content(ino).map_or(0, |c| c.len() as u64);
            left = &left[write_at(call, ino, end, left)?..];
        }
        Ok(())
    }

    fn truncate(&self, path: &Path, len: u64) -> io::Result<()> {
        let call = self.begin(line("truncate", path, &format!(" to {len}")))?;
        let ino = call.state.writable(path)?;
        call.done(vec![Effect::Truncate { ino, len }]);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let call = self.begin(line("rename", from, &format!(" -> {}", to.display())))?;
        let source = call.state.tree.walk(from, false)?;
        let target = call.state.tree.walk(to, false)?;
        if source.name.is_empty() || target.name.is_empty() {
            return Err(Errno::BUSY.into());
        }
        let (source, ino) = call.state.removable(from)?;
        call.state.mutable(target.dir)?;
        rename_allowed(&call.state.tree, ino, source.dir, &target)?;
        if target.ino == Some(ino) {
            // POSIX: two names of one file, and nothing happens.
            return Ok(());
        }
        target.ino.map_or(Ok(()), |old| call.state.mutable(old))?;
        let from = (source.dir, source.name);
        let to = (target.dir, target.name);
        call.done(vec![Effect::Rename { from, to, ino }]);
        Ok(())
    }

    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()> {
        let call = self.begin(line("exchange", one, &format!(" and {}", other.display())))?;
        let (a, b) = exchangeable(&call.state.tree, one, other)?;
        if call.state.faults.no_exchange {
            return Err(Errno::INVAL.into());
        }
        if a.1 == b.1 {
            return Ok(());
        }
        for ino in [a.0.dir, a.1, b.0.dir, b.1] {
            call.state.mutable(ino)?;
        }
        let names = [(a.0.dir, a.0.name), (b.0.dir, b.0.name)];
        let inos = [a.1, b.1];
        call.done(vec![Effect::Exchange { names, inos }]);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let call = self.begin(line("remove", path, ""))?;
        let (Place { dir, name, .. }, ino) = call.state.removable(path)?;
        if call.state.tree.get(ino)?.kind() == FileKind::Dir || name.is_empty() {
            return Err(Errno::ISDIR.into());
        }
        call.done(vec![Effect::Unlink { dir, name }]);
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let call = self.begin(line("remove dir", path, ""))?;
        let (Place { dir, name, .. }, ino) = call.state.removable(path)?;
        if ino == ROOT || !call.state.tree.entries(ino)?.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        call.done(vec![Effect::Unlink { dir, name }]);
        Ok(())
    }

    fn set_immutable(&self, path: &Path, immutable: bool) -> io::Result<()> {
        let ino = {
            let state = self.state();
            let ino = state.tree.find(path, false)?;
            let inode = state.tree.get(ino)?;
            if inode.kind() == FileKind::Symlink {
                return Err(Errno::LOOP.into());
            }
            if inode.meta.immutable == immutable {
                return Ok(());
            }
            ino
        };
        let word = if immutable { " on" } else { " off" };
        let call = self.begin(line("immutable", path, word))?;
        let mut meta = call.state.tree.get(ino)?.meta.clone();
        meta.immutable = immutable;
        call.done(vec![Effect::Meta { ino, meta }]);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        let ino = self.state().tree.find(path, true)?;
        self.sync("sync file", path, Sync::File(ino))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let ino = self.state().tree.find(path, true)?;
        self.sync("sync dir", path, Sync::Dir(ino))
    }

    fn sync_filesystem(&self, path: &Path) -> io::Result<()> {
        self.state().tree.find(path, true)?;
        self.sync("sync filesystem", path, Sync::Filesystem)
    }

    fn checkpoint(&self, path: &Path) -> io::Result<()> {
        self.state().tree.find(path, true)?;
        self.sync("checkpoint", path, Sync::Checkpoint)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let state = self.state();
        state.tree.find(path, true)?;
        Ok(state.room(PLENTY))
    }

    fn lock(&self, path: &Path, mode: LockMode) -> io::Result<Box<dyn FsLock>> {
        let ino = self.lock_file(path)?;
        let lock = self.locks.take(ino, mode, true);
        Ok(Box::new(lock.ok_or(Errno::AGAIN)?))
    }

    fn try_lock(&self, path: &Path, mode: LockMode) -> io::Result<Option<Box<dyn FsLock>>> {
        let ino = self.lock_file(path)?;
        let lock = self.locks.take(ino, mode, false);
        Ok(lock.map(|l| Box::new(l) as Box<dyn FsLock>))
    }
}
