//! All objects that are in a repository.

use std::io;
use std::path::Path;

use durable::Doing;

use crate::{Checksum, ObjectKind, ObjectName, Repo, Result};

impl ObjectName {
    /// The object whose file has this name in the directory `XX`.
    fn from_file(dir: &str, name: &str, repo: &Repo) -> Option<Self> {
        let (rest, extension) = name.split_once('.')?;
        let kind = ObjectKind::from_extension(extension, repo.mode())?;
        let checksum = format!("{dir}{rest}").parse().ok()?;
        Some(Self::new(checksum, kind))
    }
}

impl Repo {
    /// Names all objects, sorted by directory. Files that are no objects that
    /// backstop knows are passed over.
    pub(crate) fn inventory(&self) -> Result<Vec<ObjectName>> {
        let mut found = Vec::new();
        let objects = self.path().join("objects");
        for byte in 0..=u8::MAX {
            let dir = format!("{byte:02x}");
            let path = objects.join(&dir);
            let entries = match self.fs().read_dir(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.doing("list", &path)?,
            };
            let names = entries.iter().filter_map(|e| e.name.to_str());
            found.extend(names.filter_map(|name| ObjectName::from_file(&dir, name, self)));
        }
        Ok(found)
    }

    /// All commits that are in the repository, sorted.
    ///
    /// # Errors
    /// The disk's.
    pub fn commits(&self) -> Result<Vec<Checksum>> {
        let mut commits: Vec<_> = self
            .inventory()?
            .into_iter()
            .filter(|o| o.kind == ObjectKind::Commit)
            .map(|o| o.checksum)
            .collect();
        commits.sort();
        Ok(commits)
    }

    /// The file objects by device and inode.
    pub(crate) fn objects_by_inode(
        &self,
    ) -> Result<std::collections::HashMap<(u64, u64), Checksum>> {
        let mut found = std::collections::HashMap::new();
        for object in self.inventory()? {
            if object.kind == ObjectKind::File {
                let path = self.object_path(&object);
                let stat = self.fs().metadata(&path).doing("look at", &path)?;
                found.insert((stat.dev, stat.ino), object.checksum);
            }
        }
        Ok(found)
    }

    /// Whether `ostree` marked the commit as fetched in part only.
    pub(crate) fn is_partial(&self, commit: &Checksum) -> Result<bool> {
        let path = self.partial_mark(commit);
        match self.fs().metadata(&path) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Ok(Err(e).doing("look at", &path)?),
        }
    }

    /// Notes, durably, that a commit is here without all that it is made of.
    pub(crate) fn mark_partial(&self, commit: &Checksum) -> Result<()> {
        durable::create_dir_all(self.fs(), &self.path().join("state"), 0o755)?;
        let path = self.partial_mark(commit);
        Ok(durable::publish_file(self.fs(), &path, &[], 0o644)?)
    }

    pub(crate) fn partial_mark(&self, commit: &Checksum) -> std::path::PathBuf {
        let name = format!("{commit}.commitpartial");
        self.path().join("state").join(name)
    }

    /// Removes a file of the repository; one that is not there is as good.
    pub(crate) fn remove(&self, path: &Path) -> Result<()> {
        match self.fs().remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Ok(Err(e).doing("remove", path)?),
            _ => Ok(()),
        }
    }
}
