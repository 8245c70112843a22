//! A throw-away container: a system runs in it before anything of the host is touched.
//!
//! It is a transient unit with `systemd-nspawn` in it, so systemd ends it with everything
//! inside even when this process is gone. Its root is a tmpfs that only the unit sees:
//! of the host it has the store, read-only, and what the configuration shows it. It has no
//! network but its own loopback, at most half of the memory, and the host's programs go
//! first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::config::Shown;
use crate::error::{Error, Result, file};
use crate::layout::Layout;
use crate::program::{self, Ended, Ran, ask, run_logged};
use crate::store::StorePath;

/// The unit: only one upgrade is at work.
const UNIT: &str = "backstop-preflight.service";
/// Where systemd puts the units that it is told of while it runs.
const TRANSIENT: &str = "/run/systemd/transient";
/// Directories that a system's first steps take for granted.
const GIVEN: [&str; 3] = ["usr", "nix/var/nix/gcroots", "nix/var/nix/profiles"];
/// Its share of the machine, how it ends, and when at the latest, should nobody be left
/// to end it.
const PROPERTIES: [&str; 10] = [
    "Delegate=yes",
    "KillSignal=SIGKILL",
    "SuccessExitStatus=SIGKILL",
    "TimeoutStopSec=2s",
    "RuntimeMaxSec=1h",
    "OOMScoreAdjust=1000",
    "MemoryMax=50%",
    "MemorySwapMax=0",
    "CPUWeight=20",
    "IOWeight=20",
];
/// What it runs with.
const PROGRAMS: [&str; 4] = ["systemd-nspawn", "systemd-run", "systemctl", "nsenter"];
/// Said to the system inside, as by a kernel's command line: although it finds an empty
/// `/etc`, it is not to ask anybody for a password or a language.
const NOT_THE_FIRST_BOOT: [&str; 2] = ["systemd.condition-first-boot=no", "systemd.firstboot=no"];
/// How long systemd may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long what was killed may take to be gone.
const GONE: Duration = Duration::from_secs(5);
/// By how much systemd's own limit is longer than this process's.
const LONGER: Duration = Duration::from_secs(30);

/// What runs in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Payload {
    /// The activation script, until it ends.
    Activation,
    /// The whole system, until it is up.
    System,
}

/// A system in a container of its own. It is ended when dropped.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    pub layout: &'a Layout,
    pub toplevel: &'a StorePath,
    /// What it sees of the host besides the store.
    pub shows: &'a [Shown],
    /// How long each of its steps may take.
    pub limit: Duration,
    /// An empty directory, over which the unit has its root.
    pub root: PathBuf,
    /// Where what it prints goes.
    pub log: PathBuf,
}

impl Container<'_> {
    /// Why this host cannot start one, if it cannot.
    pub fn why_not() -> Option<String> {
        let missing = PROGRAMS.iter().find(|name| program::find(name).is_none());
        missing.map(|name| format!("`{name}` is not here"))
    }

    /// Runs the activation script to its end.
    pub fn activate(&self) -> Result<Ran> {
        self.run(Payload::Activation)
    }

    /// Starts the system and waits until it is up: it stays until this is dropped.
    pub fn boot(&self) -> Result<Ran> {
        self.run(Payload::System)
    }

    fn run(&self, payload: Payload) -> Result<Ran> {
        self.end();
        let doing = "start a container";
        let command = self.command(payload);
        let ran = run_logged(command, &self.log, self.limit, |_| Ok(()))?;
        if !matches!(ran.ended, Ended::Status(1..)) {
            return Ok(ran);
        }
        let Ran { ended, output } = ran;
        // It was `systemd-run` that ended.
        match self.ending()? {
            Some(ended) => Ok(Ran { ended, output }),
            None => Err(Error::Program {
                doing: doing.to_owned(),
                program: "systemd-run".to_owned(),
                ended,
                output,
            }),
        }
    }

    fn command(&self, payload: Payload) -> Command {
        let mut command = program::command(self.layout, "systemd-run");
        command.args(["--quiet", "--unit", UNIT]);
        command.arg("--description=A version in a container, before it is activated");
        command.arg(match payload {
            Payload::Activation => "--service-type=oneshot",
            Payload::System => "--service-type=notify",
        });
        let last = (self.limit + LONGER).as_secs();
        let log = self.log.display();
        let mut properties = PROPERTIES.map(str::to_owned).to_vec();
        // A program that ends by itself has no limit but that of its start.
        properties.retain(|p| payload == Payload::System || !p.starts_with("RuntimeMaxSec"));
        properties.extend([
            format!("TimeoutStartSec={last}s"),
            format!("StandardOutput=append:{log}"),
            format!("StandardError=append:{log}"),
        ]);
        properties.extend(self.mounts());
        for property in properties {
            command.args(["--property", &property]);
        }
        command.arg("--").args(self.nspawn(payload));
        command
    }

    /// The root, and what is seen in it.
    fn mounts(&self) -> Vec<String> {
        let root = self.root.display();
        let mut mounts = vec![format!("TemporaryFileSystem={root}:mode=0755,size=25%")];
        let shown = |dir: &str| {
            let dir = Path::new("/").join(dir);
            self.shows.iter().any(|shown| shown.path() == dir)
        };
        for dir in GIVEN.iter().filter(|dir| !shown(dir)) {
            mounts.push(format!("TemporaryFileSystem={root}/{dir}:mode=0755"));
        }
        let store = self.layout.store();
        let shows = self.shows.iter().map(Shown::path);
        for path in std::iter::once(store.as_path()).chain(shows) {
            let path = path.display();
            mounts.push(format!("BindReadOnlyPaths={path}:{root}{path}"));
        }
        mounts
    }

    fn nspawn(&self, payload: Payload) -> Vec<String> {
        let toplevel = self.toplevel.path();
        let root = format!("--directory={}", self.root.display());
        let common = [
            "systemd-nspawn",
            "--quiet",
            "--keep-unit",
            "--register=no",
            "--settings=no",
            "--machine=backstop-preflight",
            "--private-network",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            root.as_str(),
        ];
        let mut words: Vec<String> = common.map(str::to_owned).to_vec();
        let own = match payload {
            Payload::Activation => vec!["--console=pipe", "--as-pid2", "--"],
            Payload::System => vec!["--console=read-only", "--notify-ready=yes", "--"],
        };
        words.extend(own.into_iter().map(str::to_owned));
        let word = |path: &Path| path.to_string_lossy().into_owned();
        match payload {
            Payload::Activation => words.extend([word(&toplevel.join("activate")), word(toplevel)]),
            Payload::System => {
                words.push(word(&first_program(toplevel)));
                words.extend(NOT_THE_FIRST_BOOT.map(str::to_owned));
            }
        }
        words
    }

    /// How the unit's program ended, if it was started.
    fn ending(&self) -> Result<Option<Ended>> {
        let number = |name| Ok::<_, Error>(self.show(name)?.parse().unwrap_or_default());
        // As `waitid` has them.
        Ok(match number("ExecMainCode")? {
            1 => Some(Ended::Status(number("ExecMainStatus")?)),
            2 | 3 => Some(Ended::Signal(number("ExecMainStatus")?)),
            _ => None,
        })
    }

    /// A property of the unit.
    fn show(&self, property: &str) -> Result<String> {
        let mut command = program::command(self.layout, "systemctl");
        command.args(["show", "--value", "--property", property, UNIT]);
        let value = ask("look at the container", command, PATIENCE)?;
        Ok(value.trim().to_owned())
    }

    /// Where commands run inside the system that is up.
    pub fn inside(&self) -> Result<Inside> {
        let leader = self.leader()?.ok_or_else(|| Error::Garbled {
            program: "systemctl",
            why: format!("{UNIT} runs no system"),
        })?;
        let dirs = [
            self.toplevel.path().join("sw/bin").display().to_string(),
            program::PROGRAMS.to_owned(),
        ];
        Ok(Inside {
            leader,
            nsenter: program::find("nsenter").unwrap_or_else(|| "nsenter".into()),
            path: dirs.join(":"),
        })
    }

    /// The first process inside: the only child of the unit's own.
    fn leader(&self) -> Result<Option<u32>> {
        let main = self.show("MainPID")?.parse().ok();
        Ok(main.filter(|pid| *pid > 1).and_then(child_of))
    }

    /// Ends it with everything inside; it may not be there.
    fn end(&self) {
        if !Path::new(TRANSIENT).join(UNIT).exists() {
            return;
        }
        // With the first process go all the others, and then the unit's own.
        if let Ok(Some(leader)) = self.leader() {
            kill(leader);
        }
        for action in ["stop", "reset-failed"] {
            let mut command = program::command(self.layout, "systemctl");
            command.args([action, UNIT]);
            // What is left of it is ended at the unit's own limit.
            let _ = ask("end the container", command, PATIENCE);
        }
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a container's first process is: as in NixOS's own containers, the script that
/// activates the system and becomes systemd. Where the initrd has a systemd, `init` is
/// that systemd alone.
fn first_program(toplevel: &Path) -> PathBuf {
    let prepare = toplevel.join("prepare-root");
    match prepare.exists() {
        true => prepare,
        false => toplevel.join("init"),
    }
}

/// Kills the first process of a container, and waits for it: it goes last.
fn kill(leader: u32) {
    let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) else {
        return;
    };
    // It may just have ended by itself.
    let _ = kill_process(pid, Signal::KILL);
    let until = Instant::now() + GONE;
    let process = PathBuf::from(format!("/proc/{leader}"));
    while process.exists() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The only child of a process.
fn child_of(parent: u32) -> Option<u32> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let mut pids = entries.filter_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything; the parent is the second word after it.
        let after = stat.rsplit_once(')').map(|(_, after)| after);
        let of = after.and_then(|after| after.split_whitespace().nth(1));
        of.and_then(|of| of.parse().ok()) == Some(parent)
    })
}

/// The inside of a container whose system is up.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    leader: u32,
    nsenter: PathBuf,
    path: String,
}

impl Inside {
    /// What must stand before a command.
    pub fn launcher(&self) -> Vec<String> {
        let nsenter = self.nsenter.to_string_lossy().into_owned();
        let target = self.leader.to_string();
        let mut words = vec![nsenter, "--target".to_owned(), target];
        let rest = "--mount --uts --ipc --net --pid --root --wd --";
        words.extend(rest.split(' ').map(str::to_owned));
        words
    }

    /// Where commands look for programs.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Puts the thread that calls, and what it starts, into the container's network.
    pub fn join_network(&self) -> Result<()> {
        let path = PathBuf::from(format!("/proc/{}/ns/net", self.leader));
        let enter = || {
            let namespace = std::fs::File::open(&path)?;
            let kind = Some(LinkNameSpaceType::Network);
            let fd = std::os::fd::AsFd::as_fd(&namespace);
            std::io::Result::Ok(move_into_link_name_space(fd, kind)?)
        };
        enter().map_err(file("enter", &path))
    }

    fn systemctl(&self, layout: &Layout, arguments: &[&str]) -> Result<String> {
        let words = self.launcher();
        let mut command = program::command(layout, &words[0]);
        command.args(&words[1..]).arg("systemctl").args(arguments);
        command.args(["--no-pager", "--no-legend", "--full"]);
        command.env("PATH", &self.path);
        ask("look into the container", command, PATIENCE)
    }

    /// The units that failed, or fail again and again.
    pub fn failed_units(&self, layout: &Layout) -> Result<BTreeSet<String>> {
        let ask = ["list-units", "--all", "--plain"];
        let states = ["--state=failed,auto-restart"];
        let list = self.systemctl(layout, &[&ask[..], &states[..]].concat())?;
        Ok(words(&list, 0, |_| true))
    }

    /// The units that are still being started.
    pub fn starting_units(&self, layout: &Layout) -> Result<BTreeSet<String>> {
        let list = self.systemctl(layout, &["list-jobs"])?;
        Ok(words(&list, 1, |line| line.last() == Some(&"running")))
    }
}

/// A column of a table, of those lines.
fn words(table: &str, column: usize, which: impl Fn(&[&str]) -> bool) -> BTreeSet<String> {
    let lines = table.lines().map(|l| l.split_whitespace().collect());
    let lines = lines.filter(|line: &Vec<&str>| which(line));
    let word = |line: Vec<&str>| line.get(column).map(|word| (*word).to_owned());
    lines.filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_lists_is_read() {
        let jobs = " 61 multi-user.target start waiting\n 93 stuck.service start running\n\n";
        let running = words(jobs, 1, |line| line.last() == Some(&"running"));
        assert_eq!(running, ["stuck.service".to_owned()].into());
        let units =
            "a.service loaded failed failed An a\nb.service loaded activating auto-restart B\n";
        let both = ["a.service", "b.service"].map(str::to_owned);
        assert_eq!(words(units, 0, |_| true), both.into());
    }

    /// On a host with cgroups of version 2 it waited for a person at a console that
    /// nobody sees, until its time was over.
    #[test]
    fn the_system_inside_asks_nobody() {
        let layout = Layout::new(Path::new("/"));
        let name = format!("/nix/store/{}-nixos", "0".repeat(32));
        let container = Container {
            layout: &layout,
            toplevel: &StorePath::parse(&layout, &name).unwrap(),
            shows: &[],
            limit: Duration::from_secs(1),
            root: "/r".into(),
            log: "/log".into(),
        };
        let words = container.nspawn(Payload::System);
        let (before, told) = words.split_at(words.len() - NOT_THE_FIRST_BOOT.len());
        assert_eq!(told, NOT_THE_FIRST_BOOT);
        assert!(before.last().is_some_and(|first| first.ends_with("/init")));
    }

    #[test]
    fn what_the_host_shows_is_all_it_sees() {
        let layout = Layout::new(Path::new("/"));
        let name = format!("/nix/store/{}-nixos", "0".repeat(32));
        let toplevel = StorePath::parse(&layout, &name).unwrap();
        let mounts = |shows: &[Shown]| {
            let container = Container {
                layout: &layout,
                toplevel: &toplevel,
                shows,
                limit: Duration::from_secs(1),
                root: "/r".into(),
                log: "/log".into(),
            };
            container.mounts()
        };
        let alone = mounts(&[]);
        assert!(alone.contains(&"TemporaryFileSystem=/r/usr:mode=0755".to_owned()));
        let binds = |all: &[String]| all.iter().filter(|m| m.starts_with("Bind")).count();
        assert_eq!(binds(&alone), 1);
        let shows = [Shown::try_from("/usr".to_owned()).unwrap()];
        let with = mounts(&shows);
        assert!(with.contains(&"BindReadOnlyPaths=/usr:/r/usr".to_owned()));
        assert!(!with.iter().any(|m| m.contains("/r/usr:mode")));
        assert_eq!(binds(&with), 2);
    }
}
