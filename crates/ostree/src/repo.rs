//! A repository: where it is and how it is set up.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Doing, Fs, FsLock, LockMode};
use monitor::Monitor;

use crate::config::{BadConfig, Config, RepoMode};
use crate::keyfile::KeyFile;
use crate::{Error, ObjectName, Result};

/// A repository that was found in order.
#[derive(Debug, Clone)]
pub struct Repo {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    config: Config,
    parent: Option<Arc<Repo>>,
    system: Option<PathBuf>,
}

/// How many repositories may stand behind one another.
const MAX_PARENTS: usize = 8;

/// The directories of a new repository.
const DIRECTORIES: [&str; 7] = [
    "objects",
    "tmp/cache",
    "extensions",
    "state",
    "refs/heads",
    "refs/mirrors",
    "refs/remotes",
];

impl Repo {
    /// Makes a repository; one that is there with the same mode is opened.
    ///
    /// # Errors
    /// The disk's, or that there is a repository of another mode.
    pub fn create(fs: Arc<dyn Fs>, path: &Path, mode: RepoMode) -> Result<Self> {
        match Self::open(Arc::clone(&fs), path) {
            Ok(repo) if repo.mode() == mode => {
                repo.complete()?;
                return Ok(repo);
            }
            Ok(repo) => {
                return Err(Error::OtherMode {
                    path: path.to_owned(),
                    found: repo.mode(),
                    wanted: mode,
                });
            }
            Err(Error::NotARepo { .. }) => {}
            Err(other) => return Err(other),
        }
        durable::create_dir_all(&*fs, path, 0o755)?;
        for dir in DIRECTORIES {
            durable::create_dir_all(&*fs, &path.join(dir), 0o755)?;
        }
        // The config comes last: without it this is no repository.
        let text = Config::text_for(mode);
        durable::publish_file(&*fs, &path.join("config"), text.as_bytes(), 0o644)?;
        Self::open(fs, path)
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// That there is none, or that it is of a version or mode unknown here.
    pub fn open(fs: Arc<dyn Fs>, path: &Path) -> Result<Self> {
        Self::open_at(fs, path, 0)
    }

    fn open_at(fs: Arc<dyn Fs>, path: &Path, depth: usize) -> Result<Self> {
        let config = path.join("config");
        match fs.metadata(&config) {
            Ok(_) => {}
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                let path = path.to_owned();
                return Err(Error::NotARepo { path });
            }
            Err(e) => return Err(e).doing("look at", &config).map_err(Error::from),
        }
        let text = durable::read_to_string(&*fs, &config)?;
        let config = Config::parse(&text).map_err(|source| Error::Config {
            path: path.to_owned(),
            source,
        })?;
        Self::with_parent(fs, path, config, depth)
    }

    /// Opens the repository that stands behind this one, too, where there is one.
    fn with_parent(fs: Arc<dyn Fs>, path: &Path, config: Config, depth: usize) -> Result<Self> {
        let fs: Arc<dyn Fs> = match config.fsync {
            true => fs,
            false => Arc::new(durable::Unsynced::new(fs)),
        };
        let parent = match &config.parent {
            Some(parent) if depth < MAX_PARENTS => {
                let parent = Self::open_at(Arc::clone(&fs), Path::new(parent), depth + 1)?;
                Some(Arc::new(parent))
            }
            _ => None,
        };
        Ok(Self {
            fs,
            path: path.to_owned(),
            config,
            parent,
            system: None,
        })
    }

    /// The repository whose objects and refs are seen as if they were here.
    pub(crate) fn parent(&self) -> Option<&Repo> {
        self.parent.as_deref()
    }

    /// The same repository, as the own one of the system whose root this is: what is in
    /// its `/etc` counts.
    #[must_use]
    pub fn of_system(self, root: &Path) -> Self {
        let system = Some(root.to_owned());
        Self { system, ..self }
    }

    /// The root of the system that it was said to belong to.
    pub(crate) fn system(&self) -> Option<&Path> {
        self.system.as_deref()
    }

    /// The same repository, written to without any sync. What is written may be lost
    /// or damaged when the machine goes down soon after.
    #[must_use]
    pub fn unsynced(self) -> Self {
        let fs = Arc::new(durable::Unsynced::new(self.fs));
        Self { fs, ..self }
    }

    /// Makes the directories that are not there.
    fn complete(&self) -> Result<()> {
        for dir in DIRECTORIES {
            durable::create_dir_all(&*self.fs, &self.path.join(dir), 0o755)?;
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How it keeps content.
    #[must_use]
    pub fn mode(&self) -> RepoMode {
        self.config.mode
    }

    /// The door to the disk that it lies on.
    #[must_use]
    pub fn fs(&self) -> &dyn Fs {
        &*self.fs
    }

    /// The same door, for a thread of its own.
    pub(crate) fn fs_handle(&self) -> Arc<dyn Fs> {
        Arc::clone(&self.fs)
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// A value of the `config` file as it is now.
    ///
    /// # Errors
    /// The disk's, or a file that cannot be understood.
    pub fn config_value(&self, group: &str, key: &str) -> Result<Option<String>> {
        let text = durable::read_to_string(&*self.fs, &self.path.join("config"))?;
        let file = KeyFile::parse(&text).map_err(|line| Error::Config {
            path: self.path.clone(),
            source: BadConfig::Syntax(line),
        })?;
        Ok(file.get(group, key).map(str::to_owned))
    }

    /// Sets a key of the `config` file, durably; `None` removes it. This `Repo` goes on
    /// as it was opened.
    ///
    /// # Errors
    /// The disk's, or a setting with which the repository could not be opened.
    pub fn set_config(&self, group: &str, key: &str, value: Option<&str>) -> Result<()> {
        let path = self.path.join("config");
        let text = durable::read_to_string(&*self.fs, &path)?;
        let text = crate::keyfile::with_key(&text, group, key, value);
        Config::parse(&text).map_err(|source| Error::Config {
            path: self.path.clone(),
            source,
        })?;
        Ok(durable::publish_file(
            &*self.fs,
            &path,
            text.as_bytes(),
            0o644,
        )?)
    }

    /// Whether the `config` file has a group of this name.
    ///
    /// # Errors
    /// The disk's, or a file that cannot be understood.
    pub fn has_config_group(&self, group: &str) -> Result<bool> {
        let text = durable::read_to_string(&*self.fs, &self.path.join("config"))?;
        let file = KeyFile::parse(&text).map_err(|line| Error::Config {
            path: self.path.clone(),
            source: BadConfig::Syntax(line),
        })?;
        Ok(file.groups().contains(&group))
    }

    /// The path of an object, whether it is there or not.
    #[must_use]
    pub fn object_path(&self, object: &ObjectName) -> PathBuf {
        let mut path = self.path.join("objects");
        path.push(object.relative_path(self.mode()));
        path
    }

    /// Whether an object is there; its content is not looked at.
    ///
    /// # Errors
    /// The disk's.
    pub fn has(&self, object: &ObjectName) -> Result<bool> {
        let path = self.object_path(object);
        match self.fs.metadata(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).doing("look at", &path).map_err(Error::from),
        }
    }

    /// Whether an object is in a repository that stands behind this one.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn parents_have(&self, object: &ObjectName) -> Result<bool> {
        match self.parent() {
            Some(parent) => Ok(parent.has(object)? || parent.parents_have(object)?),
            None => Ok(false),
        }
    }

    /// Keeps others from removing objects (`Shared`), or from doing anything
    /// (`Exclusive`), until it is dropped. Waits for them, and says so.
    pub(crate) fn lock(&self, mode: LockMode, monitor: &dyn Monitor) -> Result<Box<dyn FsLock>> {
        let path = self.path.join(".lock");
        if let Some(lock) = self.fs.try_lock(&path, mode).doing("lock", &path)? {
            return Ok(lock);
        }
        monitor.note(&format!(
            "waiting for another process that works on {}",
            self.path.display()
        ));
        Ok(self.fs.lock(&path, mode).doing("lock", &path)?)
    }
}
