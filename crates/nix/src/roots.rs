//! Protecting versions from garbage collection.

use std::path::PathBuf;

use durable::{Doing, Fs};

use crate::error::Result;
use crate::layout::Layout;
use crate::store::StorePath;

/// The roots that backstop holds: links named after what they protect.
#[derive(Debug)]
pub(crate) struct Roots<'a> {
    fs: &'a dyn Fs,
    dir: PathBuf,
}

impl<'a> Roots<'a> {
    pub fn new(fs: &'a dyn Fs, layout: &Layout) -> Self {
        let dir = layout.roots();
        Self { fs, dir }
    }

    fn link(&self, path: &StorePath) -> PathBuf {
        self.dir.join(path.name())
    }

    /// Protects a version, durably.
    pub fn add(&self, path: &StorePath) -> Result<()> {
        let link = self.link(path);
        durable::create_dir_all(self.fs, &self.dir, 0o755)?;
        if self.fs.read_link(&link).is_ok_and(|to| to == path.path()) {
            // Another process may have made it, and not synced it.
            return Ok(self.fs.sync_dir(&self.dir).doing("sync", &self.dir)?);
        }
        Ok(durable::publish_symlink(self.fs, path.path(), &link)?)
    }

    /// Gives up all protections but these.
    pub fn keep_only(&self, kept: &[&StorePath]) -> Result<()> {
        let names: Vec<String> = kept.iter().map(|path| path.name()).collect();
        for path in self.links()? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !names.iter().any(|kept| *kept == name) {
                self.fs.remove_file(&path).doing("remove", &path)?;
            }
        }
        Ok(self.fs.sync_dir(&self.dir).doing("sync", &self.dir)?)
    }

    fn links(&self) -> Result<Vec<PathBuf>> {
        durable::create_dir_all(self.fs, &self.dir, 0o755)?;
        let entries = self.fs.read_dir(&self.dir).doing("list", &self.dir)?;
        Ok(entries.into_iter().map(|e| self.dir.join(e.name)).collect())
    }

    /// The link that a build may make, to protect what it built.
    pub fn built(layout: &Layout) -> PathBuf {
        layout.roots().join("built")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;

    #[test]
    fn roots_are_links_named_after_what_they_protect() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let path = |name: &str| {
            let hash = "0".repeat(32);
            let path = layout.store().join(format!("{hash}-{name}"));
            StorePath::parse(&layout, &path.to_string_lossy()).unwrap()
        };
        let roots = Roots::new(&RealFs, &layout);
        let (a, b) = (path("a"), path("b"));
        for one in [&a, &b, &a] {
            roots.add(one).unwrap();
        }
        assert_eq!(std::fs::read_link(roots.link(&a)).unwrap(), a.path());
        roots.keep_only(&[&b]).unwrap();
        assert_eq!(roots.links().unwrap(), [roots.link(&b)]);
        roots.keep_only(&[]).unwrap();
        assert!(roots.links().unwrap().is_empty());
    }
}
