//! What a command runs with: its arguments, where it prints, what it works on.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durable::{Fs, RealFs};
use monitor::Silent;
use ostree::Repo;

use crate::fail;
use crate::options::Given;

/// A running command.
pub struct Cx<'a> {
    /// Its arguments.
    pub given: Given,
    /// Standard output.
    pub out: &'a mut dyn Write,
    /// Standard error.
    pub err: &'a mut dyn Write,
}

impl std::fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx")
            .field("given", &self.given)
            .finish_non_exhaustive()
    }
}

/// The repository of the host that runs.
const HOST_REPO: &str = "/sysroot/ostree/repo";

/// Whether a directory looks like a repository.
fn is_repo(path: &Path) -> bool {
    path.join("config").is_file() && path.join("objects").is_dir()
}

impl Cx<'_> {
    /// The disk.
    #[must_use]
    pub fn fs(&self) -> Arc<dyn Fs> {
        Arc::new(RealFs)
    }

    /// Who hears of progress: nobody.
    #[must_use]
    pub fn monitor(&self) -> Silent {
        Silent
    }

    /// Where the repository is: the option, the environment, the working directory
    /// where that is one, the host's.
    ///
    /// # Errors
    /// That nothing names one.
    pub fn repo_path(&self) -> anyhow::Result<PathBuf> {
        if let Some(path) = self.given.value("repo") {
            return Ok(PathBuf::from(path));
        }
        if is_repo(Path::new(".")) {
            return Ok(PathBuf::from("."));
        }
        if let Some(path) = std::env::var_os("OSTREE_REPO") {
            return Ok(PathBuf::from(path));
        }
        if let Some(root) = std::env::var_os("OSTREE_SYSROOT") {
            return Ok(PathBuf::from(root).join("ostree/repo"));
        }
        if is_repo(Path::new(HOST_REPO)) {
            return Ok(PathBuf::from(HOST_REPO));
        }
        fail("Command requires a --repo argument")
    }

    /// Opens the repository.
    ///
    /// # Errors
    /// That there is none.
    pub fn repo(&self) -> anyhow::Result<Repo> {
        self.open(&self.repo_path()?)
    }

    /// Opens the repository, or that of the host which `--sysroot` names.
    ///
    /// # Errors
    /// That there is none.
    pub fn repo_or_host(&self) -> anyhow::Result<Repo> {
        match self.given.value("sysroot") {
            Some(root) => {
                let root = Path::new(root);
                Ok(self.open(&root.join("ostree/repo"))?.of_system(root))
            }
            None => self.repo(),
        }
    }

    /// Opens a repository at a path, and makes what it needs and lacks.
    ///
    /// # Errors
    /// That there is none.
    pub fn open(&self, path: &Path) -> anyhow::Result<Repo> {
        if !path.exists() {
            return fail(format!(
                "opening repo: opendir({}): No such file or directory",
                path.display()
            ));
        }
        let repo = Repo::open(self.fs(), path)?;
        if std::fs::metadata(path.join("tmp")).is_err() {
            // One that may only be read is as good.
            let _ = durable::create_dir_all(&*self.fs(), &path.join("tmp/cache"), 0o755);
        }
        Ok(repo)
    }

    /// Refuses options that cannot be honoured.
    ///
    /// # Errors
    /// That one of them was given.
    pub fn refuse(&self, options: &[&str]) -> anyhow::Result<()> {
        match options.iter().find(|o| self.given.has(o)) {
            Some(option) => fail(format!("--{option} is not supported yet")),
            None => Ok(()),
        }
    }

    /// The word at a place, or an error that says what it should have been.
    ///
    /// # Errors
    /// That it is not there.
    pub fn word(&self, at: usize, missing: &str) -> anyhow::Result<String> {
        match self.given.rest.get(at) {
            Some(word) => Ok(word.clone()),
            None => fail(missing),
        }
    }
}
