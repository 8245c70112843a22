//! A commit's content, changed on its way into another.

use std::path::Path;

use crate::commit_options::CommitOptions;
use crate::format::{Commit, DirMeta, DirRef, DirTree, FileRef};
use crate::listing::MAX_DEPTH;
use crate::modify::Modified;
use crate::store::Staging;
use crate::{Checksum, Error, ObjectKind, Repo, Result};

/// What the parts of the work share.
struct Rewrite<'a> {
    repo: &'a Repo,
    staging: &'a Staging<'a>,
    options: &'a CommitOptions,
    modified: &'a Modified<'a>,
}

impl Repo {
    /// Stores a commit's tree anew, with owners, modes and attributes as the options
    /// want them; its tree and attributes.
    pub(crate) fn rewrite(
        &self,
        commit: &Commit,
        staging: &Staging<'_>,
        options: &CommitOptions,
        modified: &Modified<'_>,
    ) -> Result<(Checksum, Checksum)> {
        let rewrite = Rewrite {
            repo: self,
            staging,
            options,
            modified,
        };
        rewrite.dir(Path::new("/"), (&commit.root_tree, &commit.root_meta), 0)
    }
}

impl Rewrite<'_> {
    fn dir(
        &self,
        path: &Path,
        (tree, meta): (&Checksum, &Checksum),
        depth: usize,
    ) -> Result<(Checksum, Checksum)> {
        if depth > MAX_DEPTH {
            let path = path.to_owned();
            return Err(Error::TooDeep { path });
        }
        let tree = self.repo.load_dirtree(tree)?;
        let mut new = DirTree::default();
        for file in tree.files {
            if self.modified.skips(path, file.name.as_ref()) {
                continue;
            }
            let checksum = self.file(&path.join(&file.name), &file.checksum)?;
            let name = file.name;
            new.files.push(FileRef { name, checksum });
        }
        for dir in tree.dirs {
            if self.modified.skips(path, dir.name.as_ref()) {
                continue;
            }
            let below = path.join(&dir.name);
            let (tree, meta) = self.dir(&below, (&dir.tree, &dir.meta), depth + 1)?;
            let name = dir.name;
            new.dirs.push(DirRef { name, tree, meta });
        }
        let meta = self.meta(path, meta)?;
        Ok((
            self.staging.metadata(ObjectKind::DirTree, &new.encode())?,
            meta,
        ))
    }

    fn meta(&self, path: &Path, meta: &Checksum) -> Result<Checksum> {
        let meta = self.repo.load_dirmeta(meta)?;
        let owner = (meta.uid, meta.gid);
        let (uid, gid, mode) =
            self.modified
                .attributes(self.repo, self.options, path, owner, meta.mode);
        let at = (path, meta.mode);
        let xattrs = self.options.xattrs(self.repo, at, || Ok(meta.xattrs))?;
        let new = DirMeta {
            uid,
            gid,
            mode,
            xattrs,
        };
        self.staging.metadata(ObjectKind::DirMeta, &new.encode())
    }

    fn file(&self, path: &Path, checksum: &Checksum) -> Result<Checksum> {
        let file = self.repo.open_file(checksum)?;
        let mut header = file.header.clone();
        let owner = (header.uid, header.gid);
        (header.uid, header.gid, header.mode) =
            self.modified
                .attributes(self.repo, self.options, path, owner, header.mode);
        let at = (path, header.mode);
        header.xattrs = self.options.xattrs(self.repo, at, || Ok(header.xattrs))?;
        if header == file.header {
            return Ok(*checksum);
        }
        self.staging.file_from(&header, *checksum, file, path)
    }
}
