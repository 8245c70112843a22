//! What a host boots: the boot loader's part, played.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Doing;
use crate::{Error, Result};

/// What is started next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    /// The init program, as the host sees it.
    pub(super) init: String,
    /// The kernel's command line.
    pub(super) cmdline: String,
}

/// The firmware's variable with the entry to boot once, below the directory that
/// the host sees as `/sys/firmware`.
const ONCE: &str = "efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// What a start of the machine boots. An entry to boot once comes first, and is
/// forgotten.
pub(super) fn next(root: &Path) -> Result<Start> {
    match take(&root.join("firmware").join(ONCE))? {
        Some(entry) => read(root, &entry),
        None => default(root),
    }
}

/// What `loader.conf` names.
pub(super) fn default(root: &Path) -> Result<Start> {
    let config = root.join("boot/loader/loader.conf");
    let text = fs::read_to_string(&config).doing("read", &config)?;
    let name = text.lines().find_map(|l| l.strip_prefix("default "));
    read(root, name.ok_or_else(|| nothing(&config))?.trim())
}

fn read(root: &Path, entry: &str) -> Result<Start> {
    let loader = root.join("boot/loader");
    let path = loader.join("entries").join(entry);
    let text = fs::read_to_string(&path).doing("read", &path)?;
    let options = text.lines().find_map(|l| l.strip_prefix("options "));
    let options = options.ok_or_else(|| nothing(&path))?;
    let init = options
        .split_whitespace()
        .find_map(|word| word.strip_prefix("init="));
    Ok(Start {
        init: init.ok_or_else(|| nothing(&path))?.to_owned(),
        cmdline: options.to_owned(),
    })
}

fn take(variable: &Path) -> Result<Option<String>> {
    match fs::read_to_string(variable) {
        Ok(text) => {
            fs::remove_file(variable).doing("remove", variable)?;
            Ok(Some(text.trim().to_owned()))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e).doing("read", variable),
    }
}

fn nothing(path: &Path) -> Error {
    Error::Io {
        doing: "find what to boot in",
        path: PathBuf::from(path),
        source: std::io::ErrorKind::InvalidData.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_boots_and_a_oneshot_boots_once() {
        let tmp = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = tmp.path().join("boot/loader").join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("loader.conf", "timeout 5\ndefault a.conf\n");
        put("entries/a.conf", "title x\noptions init=/a/init quiet\n");
        put("entries/b.conf", "title x\noptions init=/b/init\n");
        let init = || next(tmp.path()).unwrap().init;
        assert_eq!(init(), "/a/init");
        let variable = tmp.path().join("firmware").join(ONCE);
        fs::create_dir_all(variable.parent().unwrap()).unwrap();
        fs::write(variable, "b.conf").unwrap();
        assert_eq!(init(), "/b/init");
        assert_eq!(init(), "/a/init");
        put("loader.conf", "timeout 5\n");
        assert!(next(tmp.path()).is_err());
    }
}
