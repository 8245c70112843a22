//! A host in a directory, driven by the real program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The program under test.
pub const BACKSTOP: &str = env!("CARGO_BIN_EXE_backstop");

/// A demonstration host, ended when dropped.
pub struct DemoHost {
    dir: PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl DemoHost {
    /// A host that runs the first of its five versions.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut host = Self::new_in(scratch.path());
        host._scratch = Some(scratch);
        host
    }

    /// The same, in a directory that outlives it.
    pub fn new_in(scratch: &Path) -> Self {
        let dir = scratch.join("host");
        let output = Command::new(BACKSTOP)
            .args(["demo", "--no-stories", "--dir"])
            .arg(&dir)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        Self {
            dir,
            _scratch: None,
        }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command of backstop on this host.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BACKSTOP);
        command.arg("--sysroot").arg(&self.dir).args(arguments);
        command
    }

    /// Runs a command and expects this exit code; answers with what it printed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str], code: i32) -> String {
        let output = self.command(arguments).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
        text
    }

    /// Makes the followed ref that of version `number`, counted from 1.
    pub fn release(&self, number: usize) -> String {
        let releases = self.dir.join("releases");
        let log = Command::new(BACKSTOP)
            .args(["repo", "--repo"])
            .arg(&releases)
            .args(["log", "--json", "shop/all"])
            .output()
            .unwrap();
        assert!(log.status.success(), "{}", text(&log));
        let text = String::from_utf8(log.stdout).unwrap();
        let mut versions: Vec<String> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|commit| commit["checksum"].as_str().unwrap().to_owned())
            .collect();
        versions.reverse();
        let wanted = versions[number - 1].clone();
        let set = Command::new(BACKSTOP)
            .args(["repo", "--repo"])
            .arg(&releases)
            .args(["refs", "--create=shop/stable", "--force", &wanted])
            .output()
            .unwrap();
        assert!(set.status.success(), "{}", self::text(&set));
        wanted
    }

    /// What `status --json` says.
    pub fn status(&self) -> Value {
        serde_json::from_str(&self.run(&["--json", "status"], 0)).unwrap()
    }

    /// The past upgrades.
    pub fn history(&self) -> Vec<Value> {
        let text = self.run(&["--json", "history"], 0);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until no upgrade is under way.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        self.wait_until("no upgrade is under way", |status| {
            status["under_way"].is_null()
        });
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, reached: impl Fn(&Value) -> bool) {
        let until = Instant::now() + Duration::from_secs(60);
        while !reached(&self.status()) {
            let console = std::fs::read_to_string(self.dir.join("machine/console.log"));
            assert!(
                Instant::now() < until,
                "waited for: {what}\n{}",
                console.unwrap()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for DemoHost {
    fn drop(&mut self) {
        let _ = Command::new(BACKSTOP)
            .args(["demo", "--remove"])
            .arg(&self.dir)
            .output();
    }
}

/// All that a command printed.
pub fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8_lossy(&both).into_owned()
}
