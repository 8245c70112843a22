//! A commit in the making.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Counts;
use super::intake::Intake;
use crate::commit_options::{CommitOptions, Source};
use crate::format::{Commit, DirMeta, DirTree, Xattrs};
use crate::gvariant::Value;
use crate::layers::Layers;
use crate::store::Staging;
use crate::{Checksum, Error, ObjectKind, Result};

/// A tree and its attributes.
type Root = (Checksum, Checksum);

/// A commit whose objects are being staged.
pub(super) struct Draft<'a> {
    pub(super) intake: Intake<'a>,
    /// What was met so far.
    pub(super) counts: Counts,
}

impl<'a> Draft<'a> {
    pub(super) fn new(intake: Intake<'a>) -> Self {
        Self {
            intake,
            counts: Counts::default(),
        }
    }

    /// Takes trees in, each laid over those before it.
    pub(super) fn take_in(&mut self, sources: &[Source]) -> Result<Root> {
        let staging = self.intake.staging;
        let mut layers = Layers::new(staging);
        for source in sources {
            self.lay(source, &mut layers)?;
        }
        self.intake.modified.check_all_used()?;
        let (tree, meta) = layers.finish()?.ok_or(Error::NothingToCommit)?;
        if sources.len() > 1 {
            staging.keep_only(&tree, &meta)?;
        }
        Ok((tree, meta))
    }

    fn lay(&mut self, source: &Source, layers: &mut Layers<'_>) -> Result<()> {
        let Intake { repo, staging, .. } = self.intake;
        let (options, modified) = (self.intake.options, &self.intake.modified);
        let (tree, meta) = match source {
            Source::Dir(dir) => self.intake.walk(dir, &mut self.counts)?,
            Source::Commit(commit) => {
                let commit = repo.load_commit(commit)?;
                match modified.concern_trees(options) {
                    true => repo.rewrite(&commit, staging, options, modified)?,
                    false => (commit.root_tree, commit.root_meta),
                }
            }
            Source::Base(commit) => {
                let commit = repo.load_commit(commit)?;
                (commit.root_tree, commit.root_meta)
            }
            Source::Empty => empty(staging)?,
            Source::Tar(archive) => {
                return crate::tar_import::import(archive, staging, options, modified, layers);
            }
        };
        layers.add(tree, meta)
    }

    /// Stages the commit object.
    pub(super) fn write(&self, parent: Option<Checksum>, root: Root) -> Result<Checksum> {
        let (staging, options) = (self.intake.staging, self.intake.options);
        let mut commit = commit_for(options, parent, root);
        if !options.no_bindings {
            self.intake.repo.bind_to_collection(&mut commit)?;
        }
        if options.bootable {
            let kernel = crate::bootable::kernel_version(staging, &root.0)?;
            let kernel = Value::from(kernel.as_str());
            commit.metadata.set("ostree.linux", kernel);
            commit.metadata.set("ostree.bootable", Value::Bool(true));
        }
        if options.sizes {
            let sizes = crate::sizes::of_tree(staging, &root.0, &root.1)?;
            commit.metadata.set(crate::sizes::KEY, sizes);
        }
        staging.metadata(ObjectKind::Commit, &commit.encode())
    }
}

/// A directory with nothing in it.
fn empty(staging: &Staging<'_>) -> Result<Root> {
    let meta = DirMeta {
        uid: 0,
        gid: 0,
        mode: 0o40755,
        xattrs: Xattrs::default(),
    };
    let tree = staging.metadata(ObjectKind::DirTree, &DirTree::default().encode())?;
    let meta = staging.metadata(ObjectKind::DirMeta, &meta.encode())?;
    Ok((tree, meta))
}

/// The commit object, with the names under which it may be found, sorted.
fn commit_for(
    options: &CommitOptions,
    parent: Option<Checksum>,
    (root_tree, root_meta): Root,
) -> Commit {
    let mut metadata = options.metadata.clone();
    if !options.no_bindings {
        let mut refs: Vec<_> = options
            .branch
            .iter()
            .chain(&options.bind_refs)
            .cloned()
            .collect();
        refs.sort();
        metadata.set("ostree.ref-binding", Value::texts(refs));
    }
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_secs())
    };
    Commit {
        metadata,
        parent,
        related: Vec::new(),
        subject: options.subject.clone(),
        body: options.body.clone(),
        timestamp: options.timestamp.unwrap_or_else(now),
        root_tree,
        root_meta,
    }
}
