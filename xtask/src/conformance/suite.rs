//! Where the scripts come from, and where they run.
#![allow(clippy::disallowed_methods, reason = "scratch data of a test run")]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::make_dir;

/// The unpacked tests.
#[derive(Debug)]
pub struct Suite(PathBuf);

/// Where cargo builds.
pub fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from)
}

/// Builds backstop; its path.
pub fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "backstop"]);
    ensure!(
        command.current_dir(root).status()?.success(),
        "the build failed"
    );
    Ok(target(root).join("debug/backstop").canonicalize()?)
}

impl Suite {
    /// The tests of Debian's `ostree-tests`, fetched and unpacked below `target`
    /// unless they are there.
    pub fn unpacked(target: &Path) -> anyhow::Result<Self> {
        let dir = target.join("ostree-tests");
        let tests = dir.join("root/usr/libexec/installed-tests/libostree");
        if tests.is_dir() {
            return Ok(Self(tests.canonicalize()?));
        }
        make_dir(&dir)?;
        println!("fetching Debian's ostree-tests");
        let mut fetch = Command::new("apt-get");
        fetch
            .args(["-q", "download", "ostree-tests"])
            .current_dir(&dir);
        ensure!(
            fetch.status().context("cannot run apt-get")?.success(),
            "the download failed"
        );
        let package = std::fs::read_dir(&dir)?
            .filter_map(Result::ok)
            .map(|e| e.path())
            .find(|p| p.extension().is_some_and(|e| e == "deb"))
            .context("apt-get downloaded nothing")?;
        // Unpacked aside: a directory that is there is complete.
        let partial = dir.join("partial");
        let _ = std::fs::remove_dir_all(&partial);
        let unpack = Command::new("dpkg-deb")
            .arg("-x")
            .args([&package, &partial])
            .status();
        ensure!(
            unpack.context("cannot run dpkg-deb")?.success(),
            "the package cannot be unpacked"
        );
        std::fs::rename(&partial, dir.join("root"))?;
        Ok(Self(tests.canonicalize()?))
    }

    /// The path of a script.
    pub fn script(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The scripts' names: those that are programs of their own, not compiled.
    pub fn scripts(&self) -> anyhow::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let script = name.ends_with(".sh") || name.ends_with(".py");
            if script && name.starts_with("test-") {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// A directory for the scripts' own directories, and the one with `ostree` in it.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    /// Makes both. `program` is called `ostree` there.
    pub fn new(keep: Option<&Path>, program: &Path) -> anyhow::Result<Self> {
        let own = || {
            PathBuf::from(format!(
                "/var/tmp/backstop-conformance-{}",
                std::process::id()
            ))
        };
        let dir = keep.map_or_else(own, Path::to_owned);
        let bin = dir.join("bin");
        make_dir(&bin)?;
        let copy = bin.join("ostree");
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(program, &copy).context("cannot give the program the name ostree")?;
        // Scripts make deltas of the program itself: what is in it for debuggers
        // would only take them time. Without `strip`, they take it.
        let _ = Command::new("strip").arg(&copy).status();
        let dir = dir.canonicalize()?;
        Ok(Self {
            dir,
            keep: keep.is_some(),
        })
    }

    /// The directory that comes first in the search path.
    pub fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    /// A script's own directory, empty.
    pub fn fresh(&self, name: &str) -> anyhow::Result<PathBuf> {
        let dir = self.dir.join(name);
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        make_dir(&dir)?;
        Ok(dir)
    }

    /// Where a script's output goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    /// Removes a script's directory, unless all is kept.
    pub fn done_with(&self, dir: &Path) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
