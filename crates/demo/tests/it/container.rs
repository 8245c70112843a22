//! A host in a container, followed over its reboots.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::{Container, End, Fixture};

const LIMIT: Duration = Duration::from_secs(180);

/// A host in a container.
pub struct Host<'a> {
    fixture: &'a Fixture,
    sysroot: PathBuf,
    log: PathBuf,
    container: Container,
    /// How often it was started.
    pub boots: usize,
}

impl<'a> Host<'a> {
    /// Installs version 1 and boots it.
    pub fn new(fixture: &'a Fixture, name: &str) -> Self {
        let branch = testbed::fixture::BRANCH;
        let sysroot = fixture.sysroot(branch, name, &monitor::Silent).unwrap();
        // The releases, as the container sees them at /sysroot/releases.
        std::fs::create_dir(sysroot.join("releases")).unwrap();
        let log = sysroot.with_extension("log");
        let container = fixture.boot_container(&sysroot, &log).unwrap();
        container.wait_ready(LIMIT).unwrap();
        let releases = ostree::Repo::create(
            std::sync::Arc::new(durable::RealFs),
            &sysroot.join("releases"),
            ostree::RepoMode::Bare,
        )
        .unwrap();
        let refs: Vec<String> = fixture.repo().refs(None).unwrap().into_keys().collect();
        let options = ostree::PullOptions::default();
        releases
            .pull_local(fixture.repo(), &refs, &options, &monitor::Silent)
            .unwrap();
        Self {
            fixture,
            sysroot,
            log,
            container,
            boots: 1,
        }
    }

    /// Runs a script inside; its end doesn't matter. Nothing is printed by a
    /// container that is just going down.
    pub fn run(&self, script: &str) -> String {
        let Ok(output) = self.container.output(script) else {
            return String::new();
        };
        let both = [output.stdout, output.stderr].concat();
        if both.is_empty() && output.status.code().is_none() {
            return format!("({script}: {})", output.status);
        }
        String::from_utf8_lossy(&both).into_owned()
    }

    /// What is printed as JSON by a command inside.
    fn json(&self, command: &str) -> Option<Value> {
        let output = self.container.output(command).ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }

    pub fn status(&self) -> Value {
        self.json("backstop --json status").unwrap_or_default()
    }

    /// The version of the running tree.
    pub fn version(&self) -> String {
        self.run("cat /usr/lib/testbed-version").trim().to_owned()
    }

    /// Starts it again after its power was cut.
    pub fn power_cut(&mut self) {
        self.start();
    }

    fn start(&mut self) {
        self.boots += 1;
        // The old one is killed when the new one takes its place, so its files
        // are let go of first.
        self.container.kill();
        self.container = self
            .fixture
            .boot_container(&self.sysroot, &self.log)
            .unwrap();
    }

    /// Follows it over its reboots until `reached` is true.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, mut reached: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + LIMIT;
        while !reached(self) {
            let tail = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < until, "waited for: {what}\n{}", tail());
            match self.container.ended().unwrap() {
                Some(End::Reboot | End::Killed) => self.start(),
                Some(End::PowerOff) => panic!("it switched itself off\n{}", tail()),
                None => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Waits for the end of upgrade `n`, counted from 1; answers with its end and
    /// reason.
    #[track_caller]
    pub fn wait_for_end(&mut self, n: usize) -> (String, String) {
        let mut found = (String::new(), String::new());
        self.wait_until("the upgrade's end", |host| {
            let text = host.run("backstop --json history");
            let Some(one) = text.lines().nth(n - 1) else {
                return false;
            };
            let one: Value = serde_json::from_str(one).unwrap_or_default();
            let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            found = (
                word(&one["outcome"]["end"]),
                word(&one["outcome"]["reason"]["why"]),
            );
            !found.0.is_empty()
        });
        found
    }
}
