//! Bringing an image's commit to a host.
//!
//! The host says which files it lacks; only they, and the small objects that name
//! them, are sent. They are read from an archive repository: the source itself, or
//! a copy of the commit that all hosts of the rollout share.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use durable::Fs;
use monitor::Silent;
use ostree::{Checksum, ObjectKind, ObjectName, PullOptions, Repo, RepoMode};

use super::objects::Stream;
use crate::config::ImageRef;
use crate::ssh::Connection;
use crate::wire::Request;
use crate::{Error, Result};

/// Where a host takes objects in, below its sysroot.
const INCOMING: &str = "ostree/backstop/incoming";

/// A commit that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub commit: Checksum,
    repo: Arc<Repo>,
    files: Arc<Vec<Checksum>>,
    named: Arc<Vec<ObjectName>>,
}

/// The commits made ready in this process, so that each is only once.
#[derive(Debug, Default)]
pub(crate) struct Outgoings {
    ready: Mutex<Vec<(PathBuf, Checksum, Outgoing)>>,
    scratch: Mutex<Option<Scratch>>,
}

/// A directory that goes with this process.
#[derive(Debug)]
struct Scratch {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left over, it is only in the way of nobody.
        let _ = durable::remove_tree(&*self.fs, &self.dir);
    }
}

/// The commit that a source names now.
pub(crate) fn resolve(fs: &Arc<dyn Fs>, image: &ImageRef) -> Result<Checksum> {
    let failed = |source| Error::Repository {
        path: image.repository.clone(),
        source,
    };
    let repo = Repo::open(fs.clone(), &image.repository).map_err(failed)?;
    repo.resolve(&image.rev).map_err(failed)
}

impl Outgoings {
    /// Makes a commit ready.
    pub(crate) fn prepare(
        &self,
        fs: &Arc<dyn Fs>,
        state: &Path,
        image: &ImageRef,
        commit: Checksum,
    ) -> Result<Outgoing> {
        // Held throughout: of several hosts with one version, one does the work.
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |(path, c, _): &&(PathBuf, Checksum, Outgoing)| {
            *path == image.repository && *c == commit
        };
        if let Some((.., outgoing)) = ready.iter().find(same) {
            return Ok(outgoing.clone());
        }
        let outgoing = self.make(fs, state, image, commit)?;
        ready.push((image.repository.clone(), commit, outgoing.clone()));
        Ok(outgoing)
    }

    fn make(
        &self,
        fs: &Arc<dyn Fs>,
        state: &Path,
        image: &ImageRef,
        commit: Checksum,
    ) -> Result<Outgoing> {
        let failed = |source| Error::Repository {
            path: image.repository.clone(),
            source,
        };
        let mut repo = Repo::open(fs.clone(), &image.repository).map_err(failed)?;
        if repo.mode() != RepoMode::Archive {
            let archive = self.archive(fs, state)?;
            let options = PullOptions {
                depth: Some(0),
                ..PullOptions::default()
            };
            let what = [commit.to_string()];
            archive
                .pull_local(&repo, &what, &options, &Silent)
                .map_err(failed)?;
            repo = archive;
        }
        let (files, named) = walk(&repo, commit).map_err(failed)?;
        Ok(Outgoing {
            commit,
            repo: Arc::new(repo),
            files: Arc::new(files),
            named: Arc::new(named),
        })
    }

    /// The archive repository of this process.
    fn archive(&self, fs: &Arc<dyn Fs>, state: &Path) -> Result<Repo> {
        let mut scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = state.join(format!("outgoing-{}", std::process::id()));
        let path = dir.join("repo");
        let failed = |source| Error::Repository {
            path: path.clone(),
            source,
        };
        if scratch.is_some() {
            return Repo::open(fs.clone(), &path).map_err(failed);
        }
        durable::remove_tree(&**fs, &dir)?;
        durable::create_dir_all(&**fs, &dir, 0o700)?;
        *scratch = Some(Scratch {
            fs: fs.clone(),
            dir,
        });
        Repo::create(fs.clone(), &path, RepoMode::Archive).map_err(failed)
    }
}

/// All that a commit is made of: its files, and the objects that name them.
fn walk(repo: &Repo, commit: Checksum) -> ostree::Result<(Vec<Checksum>, Vec<ObjectName>)> {
    let (mut files, mut named) = (HashSet::new(), HashSet::new());
    let root = repo.load_commit(&commit)?;
    named.insert(ObjectName::new(commit, ObjectKind::Commit));
    let mut todo = vec![(root.root_tree, root.root_meta)];
    while let Some((tree, meta)) = todo.pop() {
        named.insert(ObjectName::new(meta, ObjectKind::DirMeta));
        if !named.insert(ObjectName::new(tree, ObjectKind::DirTree)) {
            continue;
        }
        let tree = repo.load_dirtree(&tree)?;
        files.extend(tree.files.iter().map(|file| file.checksum));
        todo.extend(tree.dirs.iter().map(|dir| (dir.tree, dir.meta)));
    }
    Ok((files.into_iter().collect(), named.into_iter().collect()))
}

/// Sends what the host lacks of a commit, and gives what the host is to switch
/// to. `tell` hears how much is sent.
pub(crate) fn send(
    connection: &mut Connection,
    outgoing: &Outgoing,
    sysroot: &Path,
    limit: Duration,
    tell: impl FnMut(u64),
) -> Result<String> {
    let names: Vec<u8> = outgoing.files.iter().flat_map(|f| *f.as_bytes()).collect();
    let question = Request::LacksFiles {
        sysroot: sysroot.to_owned(),
    };
    let doing = "say which files it lacks";
    let lacks = connection.request(doing, &question, &mut names.as_slice(), limit)?;
    let lacking = outgoing
        .files
        .iter()
        .zip(lacks)
        .filter(|(_, lacks)| *lacks != 0);
    let files = lacking.map(|(file, _)| ObjectName::new(*file, ObjectKind::File));
    let objects = outgoing.named.iter().copied().chain(files);
    let objects: Vec<_> = objects
        .map(|object| (object, outgoing.repo.object_path(&object)))
        .collect();
    let incoming = sysroot.join(INCOMING);
    let take = Request::TakeObjects {
        repository: incoming.clone(),
    };
    let mut stream = Stream::new(objects, tell);
    connection.request("take the version in", &take, &mut stream, limit)?;
    Ok(format!("{}:{}", incoming.display(), outgoing.commit))
}
