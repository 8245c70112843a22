//! The demonstration in a directory: as any user, without root or network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use durable::{Doing, Fs};
use image::{Directory, DirectoryConfig};
use monitor::Monitor;
use ostree::{Checksum, CommitOptions, Repo, RepoMode};
use sysroot::{BootOrder, Origin, StageKargs, StageRequest, Sysroot};

use crate::narrator::Narrator;
use crate::tree::{self, Behaviour};
use crate::{Error, Result, shop};

/// All versions, each the parent of the next.
const ALL: &str = "shop/all";
/// What the host follows.
const FOLLOWED: &str = "shop/stable";
/// The stateroot.
const STATEROOT: &str = "shop";
/// A version that has not come up by then never does.
const WATCHDOG_MS: u64 = 1500;

/// The versions in order: what each is said to be, and is.
const VERSIONS: [(&str, Behaviour); 5] = [
    ("the first version", Behaviour::Healthy),
    ("a healthy version", Behaviour::Healthy),
    (
        "a version whose service answers wrongly",
        Behaviour::AnswersWrongly,
    ),
    (
        "a version that never finishes booting",
        Behaviour::NeverBoots,
    ),
    ("a healthy version that nobody confirms", Behaviour::Healthy),
];

/// One of the four stories.
struct Story {
    title: &'static str,
    /// Which version comes out, counted from 1.
    version: usize,
    /// What is typed after `backstop upgrade`.
    arguments: &'static [&'static str],
    /// How the command must end.
    code: i32,
    /// Which version must answer afterwards.
    answers: usize,
}

const STORIES: [Story; 4] = [
    Story {
        title: "A healthy version: booted on trial, checked, kept",
        version: 2,
        arguments: &["--boot"],
        code: 0,
        answers: 2,
    },
    Story {
        title: "A service that answers wrongly: rolled back while running",
        version: 3,
        arguments: &["--live"],
        code: 4,
        answers: 2,
    },
    Story {
        title: "A version that never finishes booting: attempts used up, back to the last good",
        version: 4,
        arguments: &["--boot", "--attempts=3"],
        code: 4,
        answers: 2,
    },
    Story {
        title: "A version that nobody confirms in time: rolled back",
        version: 5,
        arguments: &["--live", "--confirm-within=3s"],
        code: 4,
        answers: 2,
    },
];

/// Ends a demonstration: stops the host's processes and removes its directory.
///
/// # Errors
/// It is no demonstration's directory, or can't be removed.
pub fn remove(fs: &dyn Fs, dir: &Path) -> Result<()> {
    if !Directory::is_one(dir) {
        return Err(Error::NotADemo(dir.to_owned()));
    }
    Directory::power_off(dir)?;
    Ok(durable::remove_tree(fs, dir)?)
}

/// A demonstration host in a directory.
#[derive(Debug)]
pub struct DirectoryDemo {
    fs: Arc<dyn Fs>,
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    versions: Vec<Checksum>,
}

impl DirectoryDemo {
    /// Makes the host in `dir`, which must be empty or absent, with `program`
    /// (backstop itself) in its tree.
    ///
    /// # Errors
    /// The directory is taken, or the disk is full.
    pub fn create(
        fs: Arc<dyn Fs>,
        dir: &Path,
        program: &Path,
        narrator: &dyn Narrator,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        durable::create_dir_all(&*fs, dir, 0o755)?;
        if !fs.read_dir(dir).doing("list", dir)?.is_empty() {
            return Err(Error::NotEmpty(dir.to_owned()));
        }
        let mut demo = Self {
            fs,
            program: program.to_owned(),
            dir: dir.to_owned(),
            port: shop::free_port()?,
            versions: Vec::new(),
        };
        narrator.chapter("A host in a directory");
        demo.make_releases(narrator, monitor)?;
        demo.install(monitor)?;
        demo.run(&["power-cycle"], 0, narrator)?;
        demo.expect_answer(1, "the first start", narrator)?;
        Ok(demo)
    }

    /// Tells the four stories.
    ///
    /// # Errors
    /// One of them ends otherwise than it should.
    pub fn tell(&self, narrator: &dyn Narrator) -> Result<()> {
        for story in &STORIES {
            narrator.chapter(story.title);
            let (what, _) = VERSIONS[story.version - 1];
            narrator.say(&format!(
                "{FOLLOWED} is now version {}: {what}.",
                story.version
            ));
            self.releases()?
                .set_ref(FOLLOWED, Some(&self.versions[story.version - 1]))?;
            let mut arguments = vec!["upgrade", "--wait"];
            arguments.extend(story.arguments);
            self.run(&arguments, story.code, narrator)?;
            self.expect_answer(story.answers, story.title, narrator)?;
        }
        narrator.chapter("What the host knows now");
        self.run(&["status"], 0, narrator)?;
        self.run(&["history"], 0, narrator)
    }

    fn releases(&self) -> Result<Repo> {
        Ok(Repo::open(self.fs.clone(), &self.dir.join("releases"))?)
    }

    /// Commits all versions to the repository that the host follows.
    fn make_releases(&mut self, narrator: &dyn Narrator, monitor: &dyn Monitor) -> Result<()> {
        let fs = self.fs.clone();
        let scratch = self.dir.join("tree");
        let taken = tree::take(&*fs, &scratch, monitor)?;
        self.add_program(&scratch)?;
        self.add_policy(&scratch)?;
        narrator.say(&format!(
            "Its tree: {} files, {} MiB, from {} (at most {} MiB).",
            taken.files,
            taken.bytes >> 20,
            tree::TAKEN.join(", "),
            tree::TREE_LIMIT >> 20
        ));
        let repo = Repo::create(fs.clone(), &self.dir.join("releases"), RepoMode::BareUser)?;
        for (number, (what, behaviour)) in (1..).zip(VERSIONS) {
            tree::set_version(&*fs, &scratch, number, behaviour, self.port)?;
            let options = CommitOptions {
                branch: Some(ALL.to_owned()),
                subject: format!("version {number}: {what}"),
                canonical_permissions: true,
                ..CommitOptions::default()
            };
            let commit = repo.commit_dir(&scratch, &options, monitor)?;
            self.versions.push(commit.checksum);
        }
        repo.set_ref(FOLLOWED, self.versions.first())?;
        Ok(durable::remove_tree(&*fs, &scratch)?)
    }

    /// Puts backstop itself into the tree: its service is run from there.
    fn add_program(&self, tree: &Path) -> Result<()> {
        let to = tree.join("usr/bin/backstop");
        let mut from = self.fs.open(&self.program).doing("open", &self.program)?;
        let mut file = self.fs.create(&to, 0o755).doing("create", &to)?;
        std::io::copy(&mut from, &mut file).doing("copy backstop to", &to)?;
        Ok(())
    }

    fn add_policy(&self, tree: &Path) -> Result<()> {
        let path = tree.join("usr/etc/backstop/backstop.toml");
        let releases = self.dir.join("releases");
        let text = format!(
            "[upgrade]\nsource = {:?}\nref = {FOLLOWED:?}\nboot_deadline = \"20s\"\ncheck_deadline = \"20s\"\n",
            releases.display().to_string()
        );
        durable::create_dir_all(&*self.fs, &tree.join("usr/etc/backstop"), 0o755)?;
        Ok(durable::publish_file(
            &*self.fs,
            &path,
            text.as_bytes(),
            0o644,
        )?)
    }

    /// Deploys the first version and makes the directory a machine.
    fn install(&self, monitor: &dyn Monitor) -> Result<()> {
        let sysroot = Sysroot::create(self.fs.clone(), &self.dir, RepoMode::BareUser)?;
        sysroot.add_stateroot(STATEROOT)?;
        let first = self.versions[0];
        let what = [first.to_string()];
        sysroot.repo().pull_local(
            &self.releases()?,
            &what,
            &ostree::PullOptions::default(),
            monitor,
        )?;
        sysroot.set_boot_settings(&sysroot::BootSettings::default())?;
        let request = StageRequest {
            stateroot: STATEROOT.to_owned(),
            commit: first,
            merge_from: None,
            origin: Origin::following(FOLLOWED),
            kargs: StageKargs::default(),
        };
        let staged = sysroot.stage(&request, monitor)?;
        let order = BootOrder {
            good: vec![staged.deployment],
            ..BootOrder::default()
        };
        sysroot.publish(&order, monitor)?;
        let port = ("PORT".to_owned(), self.port.to_string());
        let config = DirectoryConfig {
            init: PathBuf::from(tree::INIT),
            watchdog_ms: WATCHDOG_MS,
            environment: BTreeMap::from([port]),
        };
        Directory::create(self.fs.clone(), &self.dir, config)?;
        Ok(())
    }

    /// Runs a command of backstop on this host, as a person would.
    fn run(&self, arguments: &[&str], expected: i32, narrator: &dyn Narrator) -> Result<()> {
        let typed = format!(
            "backstop --sysroot {} {}",
            self.dir.display(),
            arguments.join(" ")
        );
        narrator.command(&typed);
        let failed = |source| Error::Command {
            command: typed.clone(),
            source,
        };
        let mut child = Command::new(&self.program)
            .arg("--sysroot")
            .arg(&self.dir)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                narrator.output(&line.map_err(failed)?);
            }
        }
        let status = child.wait().map_err(failed)?;
        if status.code() == Some(expected) {
            return Ok(());
        }
        Err(Error::Ending {
            command: typed,
            code: status.code(),
            expected,
        })
    }

    /// Asks the service which version answers.
    fn expect_answer(&self, version: usize, after: &str, narrator: &dyn Narrator) -> Result<()> {
        let expected = format!("shop, version {version}");
        let found = self.ask().unwrap_or_else(|e| e.to_string());
        if !found.contains(&expected) {
            return Err(Error::Answer {
                after: after.to_owned(),
                expected,
                found,
            });
        }
        narrator.say(&format!(
            "http://127.0.0.1:{}/ answers: {expected}.",
            self.port
        ));
        Ok(())
    }

    fn ask(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(64 * 1024).read_to_string(&mut answer)?;
        Ok(answer)
    }
}
