//! Where things that take long to build are kept between runs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::Doing;
use crate::{Result, packages};

/// A directory outside the checkout, safe to delete at any time.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The directory named by `BACKSTOP_CACHE`; else `/var/cache/backstop` for
    /// root and `~/.cache/backstop` for others.
    #[must_use]
    pub fn from_env() -> Self {
        let home = std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into());
        let dir = match std::env::var_os("BACKSTOP_CACHE") {
            Some(dir) if !dir.is_empty() => dir.into(),
            _ if packages::is_root() => PathBuf::from("/var/cache/backstop"),
            _ => Path::new(&home).join(".cache/backstop"),
        };
        Self { dir }
    }

    /// A cache in a directory of one's own.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self {
            dir: dir.to_owned(),
        }
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory for `NAME-KEY`, built by `build` if it is not there. Other
    /// processes that want it wait meanwhile.
    ///
    /// # Errors
    /// What `build` said; nothing is kept then.
    pub fn dir_for(
        &self,
        name: &str,
        key: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let done = self.dir.join(format!("{name}-{key}"));
        let _lock = self.lock(name)?;
        if done.is_dir() {
            return Ok(done);
        }
        let partial = self.dir.join(format!("{name}-partial"));
        remove(&partial)?;
        fs::create_dir_all(&partial).doing("create", &partial)?;
        build(&partial)?;
        fs::rename(&partial, &done).doing("keep", &done)?;
        Ok(done)
    }

    /// Holds everybody else off the things called `name`.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn lock(&self, name: &str) -> Result<File> {
        fs::create_dir_all(&self.dir).doing("create", &self.dir)?;
        let path = self.dir.join(format!("{name}.lock"));
        let file = File::create(&path).doing("create", &path)?;
        file.lock().doing("lock", &path)?;
        Ok(file)
    }
}

/// Removes a tree that may not be there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).doing("remove", path),
        _ => Ok(()),
    }
}

/// A key for what is made from these inputs.
#[must_use]
pub fn key(inputs: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for input in inputs {
        // The length keeps ("ab","c") apart from ("a","bc").
        hash.update((input.len() as u64).to_le_bytes());
        hash.update(input);
    }
    hash.finalize()[..8].iter().fold(String::new(), |mut s, b| {
        let _ = write!(s, "{b:02x}");
        s
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn builds_once_and_keeps_no_failure() {
        let tmp = tempfile::tempdir().unwrap();
        let cache = Cache::at(tmp.path());
        let fail = cache.dir_for("x", "1", |_| Err(Error::NeedsRoot("try")));
        assert!(fail.is_err());
        let dir = cache.dir_for("x", "1", |d| fs::write(d.join("f"), "1").doing("write", d));
        let dir = dir.unwrap();
        assert!(dir.join("f").exists());
        let again = cache.dir_for("x", "1", |_| panic!("it is there"));
        assert_eq!(again.unwrap(), dir);
    }

    #[test]
    fn key_tells_inputs_apart() {
        assert_ne!(key(&[b"ab", b"c"]), key(&[b"a", b"bc"]));
        assert_eq!(key(&[b"a"]).len(), 16);
    }
}
