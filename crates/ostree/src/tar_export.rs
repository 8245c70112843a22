//! From a commit to a tar archive.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use durable::Doing;
use tar::{Builder, EntryType, Header};

use crate::format::{DirMeta, FileHeader, Xattrs};
use crate::listing::{Found, MAX_DEPTH};
use crate::{Checksum, Error, Repo, Result};

/// How an archive is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Leaves extended attributes out.
    pub no_xattrs: bool,
    /// Writes this directory of the commit only.
    pub subpath: Option<PathBuf>,
    /// What all names start with.
    pub prefix: String,
}

struct Export<'a, 'w> {
    repo: &'a Repo,
    options: &'a ExportOptions,
    time: u64,
    tar: Builder<&'w mut dyn Write>,
}

fn sink_error(source: io::Error) -> Error {
    let path = PathBuf::from("the archive");
    Error::Archive { path, source }
}

impl Repo {
    /// Writes a commit as a tar archive to `sink`. All times are the commit's, so
    /// the same commit gives the same bytes.
    ///
    /// # Errors
    /// Missing or damaged objects; the sink's.
    pub fn export(
        &self,
        commit: &Checksum,
        sink: &mut dyn Write,
        options: &ExportOptions,
    ) -> Result<()> {
        let subpath = options.subpath.as_deref().unwrap_or(Path::new("/"));
        let wanted = "a directory";
        let Found::Dir { tree, meta } = self.find(commit, subpath)? else {
            let path = subpath.to_owned();
            return Err(Error::WrongKind { path, wanted });
        };
        let mut export = Export {
            repo: self,
            options,
            time: self.load_commit(commit)?.timestamp,
            tar: Builder::new(sink),
        };
        let name = match options.prefix.as_str() {
            "" => ".".to_owned(),
            prefix => prefix.trim_end_matches('/').to_owned(),
        };
        export.dir(&name, &tree, &meta, 0)?;
        export.tar.finish().map_err(sink_error)
    }

    /// Writes a commit as a tar archive to a file.
    ///
    /// # Errors
    /// Missing or damaged objects; the disk's.
    pub fn export_to(&self, commit: &Checksum, path: &Path, options: &ExportOptions) -> Result<()> {
        self.remove(path)?;
        let file = self.fs().create(path, 0o644).doing("create", path)?;
        let mut file = io::BufWriter::with_capacity(256 << 10, file);
        self.export(commit, &mut file, options)?;
        Ok(file.flush().doing("write", path)?)
    }
}

impl Export<'_, '_> {
    fn dir(&mut self, name: &str, tree: &Checksum, meta: &Checksum, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            let path = PathBuf::from(name);
            return Err(Error::TooDeep { path });
        }
        let meta: DirMeta = self.repo.load_dirmeta(meta)?;
        let mut header = self.header((meta.uid, meta.gid, meta.mode), EntryType::Directory);
        self.xattrs(&meta.xattrs)?;
        let result = self
            .tar
            .append_data(&mut header, format!("{name}/"), io::empty());
        result.map_err(sink_error)?;
        let tree = self.repo.load_dirtree(tree)?;
        for file in &tree.files {
            self.file(&format!("{name}/{}", file.name), &file.checksum)?;
        }
        for dir in &tree.dirs {
            self.dir(
                &format!("{name}/{}", dir.name),
                &dir.tree,
                &dir.meta,
                depth + 1,
            )?;
        }
        Ok(())
    }

    fn file(&mut self, name: &str, checksum: &Checksum) -> Result<()> {
        let file = self.repo.open_file(checksum)?;
        let FileHeader { uid, gid, mode, .. } = file.header;
        self.xattrs(&file.header.xattrs)?;
        if file.header.is_symlink() {
            let mut header = self.header((uid, gid, mode), EntryType::Symlink);
            let target = &file.header.target;
            return self
                .tar
                .append_link(&mut header, name, target)
                .map_err(sink_error);
        }
        let mut header = self.header((uid, gid, mode), EntryType::Regular);
        header.set_size(file.size);
        let verified = file.verified(*checksum);
        self.tar
            .append_data(&mut header, name, verified)
            .map_err(sink_error)
    }

    fn header(&self, (uid, gid, mode): (u32, u32, u32), kind: EntryType) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mode(mode & 0o7777);
        header.set_mtime(self.time);
        header.set_size(0);
        header
    }

    fn xattrs(&mut self, xattrs: &Xattrs) -> Result<()> {
        if self.options.no_xattrs || xattrs.as_slice().is_empty() {
            return Ok(());
        }
        let named: Vec<(String, &[u8])> = xattrs
            .as_slice()
            .iter()
            .map(|(name, value)| {
                let name = String::from_utf8_lossy(name);
                (format!("SCHILY.xattr.{name}"), value.as_slice())
            })
            .collect();
        let extensions = named.iter().map(|(name, value)| (name.as_str(), *value));
        self.tar
            .append_pax_extensions(extensions)
            .map_err(sink_error)
    }
}
