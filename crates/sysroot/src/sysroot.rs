//! A sysroot: opening it and listing what is deployed.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use boot::KernelArgs;
use durable::{Attributes, Doing, FileKind, Fs, FsLock, LockMode};
use ostree::{Repo, RepoMode};

use crate::deployment::{Deployment, DeploymentId, Standing, is_stateroot_name};
use crate::entries::ListedEntry;
use crate::layout::Layout;
use crate::origin::Origin;
use crate::{Error, Result};

/// The deployments of a host, with their repository and boot order.
#[derive(Debug, Clone)]
pub struct Sysroot {
    fs: Arc<dyn Fs>,
    layout: Layout,
    repo: Repo,
}

impl Sysroot {
    /// Makes the directories of a sysroot, or completes them.
    ///
    /// # Errors
    /// The disk's, or that there is a repository of another mode.
    pub fn create(fs: Arc<dyn Fs>, path: &Path, mode: RepoMode) -> Result<Self> {
        let layout = Layout::new(path);
        for dir in [layout.boot(), layout.memory(), layout.stateroots()] {
            durable::create_dir_all(&*fs, &dir, 0o755)?;
        }
        Repo::create(Arc::clone(&fs), &layout.repo(), mode)?;
        Self::open(fs, path)
    }

    /// Opens a sysroot, whoever made it.
    ///
    /// # Errors
    /// That there is none, or the repository's.
    pub fn open(fs: Arc<dyn Fs>, path: &Path) -> Result<Self> {
        let layout = Layout::new(path);
        if fs.metadata(&layout.stateroots()).is_err() {
            let path = path.to_owned();
            return Err(Error::NotASysroot { path });
        }
        let repo = Repo::open(Arc::clone(&fs), &layout.repo())?;
        Ok(Self { fs, layout, repo })
    }

    /// Its root directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.layout.root()
    }

    /// Where things are in it.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its repository.
    #[must_use]
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    pub(crate) fn fs(&self) -> &dyn Fs {
        &*self.fs
    }

    /// One change at a time, across processes.
    pub(crate) fn lock(&self) -> Result<Box<dyn FsLock>> {
        let path = self.layout.ostree().join("lock");
        let lock = self.fs.lock(&path, LockMode::Exclusive);
        Ok(lock.doing("lock", &path)?)
    }

    /// Makes a stateroot, with the `/var` that its deployments share; one that is
    /// there is left as it is.
    ///
    /// # Errors
    /// A name that cannot be, or the disk's.
    pub fn add_stateroot(&self, name: &str) -> Result<()> {
        if !is_stateroot_name(name) {
            return Err(Error::StaterootName(name.to_owned()));
        }
        let fs = self.fs();
        let var = self.layout.stateroot(name).join("var");
        durable::create_dir_all(fs, &self.layout.deployments(name), 0o755)?;
        for dir in ["lib", "log", "tmp"] {
            durable::create_dir_all(fs, &var.join(dir), 0o755)?;
        }
        let tmp = var.join("tmp");
        let sticky = Attributes {
            mode: Some(0o1777),
            ..Attributes::default()
        };
        fs.set_attributes(&tmp, &sticky)
            .doing("set the attributes of", &tmp)?;
        for (link, target) in [("run", "../run"), ("lock", "../run/lock")] {
            let link = var.join(link);
            if fs.metadata(&link).is_err() {
                durable::publish_symlink(fs, Path::new(target), &link)?;
            }
        }
        Ok(())
    }

    /// The stateroots, sorted.
    ///
    /// # Errors
    /// The disk's.
    pub fn stateroots(&self) -> Result<Vec<String>> {
        Ok(subdirectories(self.fs(), &self.layout.stateroots())?
            .into_iter()
            .filter(|name| is_stateroot_name(name))
            .collect())
    }

    /// Every deployment that has its directory: those with a boot entry in their
    /// order, then the others.
    ///
    /// # Errors
    /// The disk's, or a boot entry that cannot be made sense of.
    pub fn deployments(&self) -> Result<Vec<Deployment>> {
        let published = self.published()?;
        let mut entries = self.entries()?;
        entries.retain(|e| {
            let tree = self.layout.deployment(&e.deployment);
            self.fs.metadata(&tree).is_ok()
        });
        let mut all = Vec::new();
        for entry in &entries {
            let standing = published.standing(&entry.deployment);
            all.push(self.listed(entry, standing)?);
        }
        let listed: BTreeSet<_> = entries.into_iter().map(|e| e.deployment).collect();
        for id in self.on_disk()? {
            if !listed.contains(&id) {
                all.push(self.unlisted(id)?);
            }
        }
        Ok(all)
    }

    /// One deployment.
    ///
    /// # Errors
    /// That it is not there, or the disk's.
    pub fn deployment(&self, id: &DeploymentId) -> Result<Deployment> {
        let found = self.deployments()?.into_iter().find(|d| d.id == *id);
        found.ok_or_else(|| Error::NoDeployment(id.clone()))
    }

    /// Every deployment that has a directory, sorted.
    pub(crate) fn on_disk(&self) -> Result<Vec<DeploymentId>> {
        let mut found = Vec::new();
        for stateroot in self.stateroots()? {
            let dir = self.layout.deployments(&stateroot);
            let names = subdirectories(self.fs(), &dir)?;
            let ids = names
                .iter()
                .filter_map(|name| DeploymentId::from_dir_name(&stateroot, name));
            found.extend(ids);
        }
        found.sort();
        Ok(found)
    }

    fn listed(&self, entry: &ListedEntry, standing: Standing) -> Result<Deployment> {
        Ok(Deployment {
            id: entry.deployment.clone(),
            standing,
            kargs: entry.kargs.clone(),
            origin: self.origin(&entry.deployment)?,
        })
    }

    fn unlisted(&self, id: DeploymentId) -> Result<Deployment> {
        let origin = self.origin(&id)?;
        let kargs = match origin.kargs() {
            Some(line) => self.parse_kargs(&id, line)?,
            None => KernelArgs::new(),
        };
        Ok(Deployment {
            id,
            standing: Standing::Unlisted,
            kargs,
            origin,
        })
    }

    pub(crate) fn parse_kargs(&self, id: &DeploymentId, line: &str) -> Result<KernelArgs> {
        line.parse().map_err(|source| Error::Kargs {
            of: id.to_string(),
            source,
        })
    }

    /// The origin of a deployment; without a file it is empty.
    pub(crate) fn origin(&self, id: &DeploymentId) -> Result<Origin> {
        let path = self.layout.origin(id);
        match self.fs.metadata(&path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Origin::default()),
            Err(e) => return Err(e).doing("look at", &path).map_err(Error::from),
        }
        let text = durable::read_to_string(self.fs(), &path)?;
        Origin::parse(&text).map_err(|why| Error::Invalid { path, why })
    }

    pub(crate) fn write_origin(&self, id: &DeploymentId, origin: &Origin) -> Result<()> {
        let path = self.layout.origin(id);
        let text = origin.text();
        Ok(durable::publish_file(
            self.fs(),
            &path,
            text.as_bytes(),
            0o644,
        )?)
    }

    /// Pins a deployment, so that no cleaning up removes it, or unpins it.
    ///
    /// # Errors
    /// That it is not there, or the disk's.
    pub fn set_pinned(&self, id: &DeploymentId, pinned: bool) -> Result<()> {
        let _lock = self.lock()?;
        let mut origin = self.deployment(id)?.origin;
        origin.set_pinned(pinned);
        self.write_origin(id, &origin)
    }

    /// Says where a deployment comes from.
    ///
    /// # Errors
    /// That it is not there, or the disk's.
    pub fn set_origin(&self, id: &DeploymentId, origin: &Origin) -> Result<()> {
        let _lock = self.lock()?;
        self.deployment(id)?;
        self.write_origin(id, origin)
    }

    /// The deployment whose directory is this root, the same inode. For the
    /// running system `root` is `/`.
    ///
    /// # Errors
    /// The disk's.
    pub fn booted_at(&self, root: &Path) -> Result<Option<DeploymentId>> {
        let at = self.fs.metadata(root).doing("look at", root)?;
        for id in self.on_disk()? {
            let dir = self.layout.deployment(&id);
            let meta = self.fs.metadata(&dir).doing("look at", &dir)?;
            if (meta.dev, meta.ino) == (at.dev, at.ino) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// The deployment that a kernel command line with `ostree=` leads to. The
    /// links of a boot version are made anew two publications later, so this is
    /// for early boot, and [`booted_at`](Self::booted_at) for later.
    ///
    /// # Errors
    /// A command line that cannot be, or leads nowhere.
    pub fn booted_by(&self, cmdline: &str) -> Result<Option<DeploymentId>> {
        let args: KernelArgs = cmdline.trim().parse().map_err(|source| Error::Kargs {
            of: "the running kernel".to_owned(),
            source,
        })?;
        let Some(link) = args.get("ostree") else {
            return Ok(None);
        };
        self.follow_link(&link).map(Some)
    }
}

/// The names of the directories in a directory; none when it is not there.
pub(crate) fn subdirectories(fs: &dyn Fs, dir: &Path) -> Result<Vec<String>> {
    let entries = match fs.read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).doing("list", dir).map_err(Error::from),
    };
    let dirs = entries.into_iter().filter(|e| e.kind == FileKind::Dir);
    Ok(dirs.filter_map(|e| e.name.into_string().ok()).collect())
}

/// Where a symlink leads; `None` when there is none.
pub(crate) fn link_target(fs: &dyn Fs, link: &Path) -> Result<Option<PathBuf>> {
    match fs.read_link(link) {
        Ok(target) => Ok(Some(target)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing("read the symlink", link).map_err(Error::from),
    }
}
