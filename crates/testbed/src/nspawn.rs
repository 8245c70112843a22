//! A host in a container: real systemd on a real deployment, in half a second.
//!
//! There is no kernel and no boot loader: the caller decides what starts, by
//! `Sysroot::simulate_boot`, and starts the next boot when one ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::console::Console;
use crate::error::Doing;
use crate::machine::End;
use crate::{Error, Result, program};

/// The status of `systemd-nspawn` when the container wants to start again.
const WANTS_REBOOT: i32 = 133;
/// How long a killed container may take to be gone.
const GONE: Duration = Duration::from_secs(5);
/// How often a container is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How often a command inside is woken, should it have been stopped.
const AWAKE: Duration = Duration::from_millis(500);
/// What a guest prints when it is up.
pub(crate) const READY: &str = "TESTBED-READY";
/// Where control groups are.
const CGROUP: &str = "/sys/fs/cgroup";
/// Runs as PID 1 first: a container's kernel command line is not its own.
const INIT: &str = "mount --bind /run/host-cmdline /proc/cmdline && : >/run/ostree-booted && exec /usr/lib/systemd/systemd \"$@\"";

/// What to start.
#[derive(Debug, Clone)]
pub struct ContainerBoot {
    /// The physical root.
    pub sysroot: PathBuf,
    /// The deployment's directory.
    pub deployment: PathBuf,
    /// The kernel's command line.
    pub cmdline: String,
    /// Where the console's log goes.
    pub log: PathBuf,
}

/// What `systemd-nspawn` is told, and what it starts.
#[derive(Debug, Clone)]
pub(crate) struct Start<'a> {
    /// Its root directory.
    pub(crate) root: &'a Path,
    /// The kernel's command line.
    pub(crate) cmdline: &'a str,
    /// Further options.
    pub(crate) options: Vec<String>,
    /// What runs as PID 1, and its arguments. The file with the command line is
    /// at `/run/host-cmdline` then.
    pub(crate) init: Vec<String>,
    /// Where the console's log goes.
    pub(crate) log: &'a Path,
}

/// A running container. It is killed when dropped.
#[derive(Debug)]
pub struct Container {
    child: Child,
    console: Console,
    name: String,
    groups: Vec<PathBuf>,
    // Known for sure once its systemd has spoken.
    leader: OnceLock<u32>,
    // Holds the command line's file.
    _dir: tempfile::TempDir,
}

impl Container {
    /// Starts systemd on a deployment, with the mounts it would have on a
    /// machine, and a network of its own that leads nowhere.
    ///
    /// # Errors
    /// `systemd-nspawn` is missing; no root rights.
    pub fn boot(boot: &ContainerBoot) -> Result<Self> {
        Self::start(&Start {
            root: &boot.deployment,
            cmdline: &boot.cmdline,
            options: deployment_options(boot),
            init: deployment_init(boot),
            log: &boot.log,
        })
    }

    pub(crate) fn start(start: &Start<'_>) -> Result<Self> {
        if !crate::packages::is_root() {
            return Err(Error::NeedsRoot("start a container"));
        }
        let tmp = Path::new("/tmp");
        let dir = tempfile::Builder::new().prefix("bs-ct").tempdir_in(tmp);
        let dir = dir.doing("make a directory in", tmp)?;
        let name = dir.path().file_name().unwrap_or_default();
        // A host name has no dots or underscores.
        let name: String = name.to_string_lossy().replace(['.', '_'], "-");
        let cmdline = dir.path().join("cmdline");
        fs::write(&cmdline, format!("{}\n", start.cmdline)).doing("write", &cmdline)?;
        let groups = own_groups(&name)?;
        let mut command = command_line(start, &name, &cmdline, &groups);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Start {
                program: "systemd-nspawn".into(),
                source,
            })?;
        let out = child.stdout.take();
        let out: Box<dyn Read + Send> = match out {
            Some(pipe) => Box::new(pipe),
            None => Box::new(std::io::empty()),
        };
        Ok(Self {
            console: Console::follow(out, start.log, Instant::now())?,
            child,
            name,
            groups,
            leader: OnceLock::new(),
            _dir: dir,
        })
    }

    /// What it prints.
    #[must_use]
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// The name of its machine.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub fn ended(&mut self) -> Result<Option<End>> {
        let status = self.child.try_wait();
        let status = status.doing("wait for", Path::new("systemd-nspawn"))?;
        Ok(status.map(|s| match s.code() {
            Some(WANTS_REBOOT) => End::Reboot,
            Some(0) => End::PowerOff,
            _ => End::Killed,
        }))
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_end(&mut self, within: Duration) -> Result<End> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(end) = self.ended()? {
                return Ok(end);
            }
            if Instant::now() > deadline {
                return Err(self.timeout("the end of this boot", within));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Waits until `multi-user.target` is reached.
    ///
    /// # Errors
    /// [`Error::Timeout`], [`Error::Stopped`].
    pub fn wait_ready(&self, within: Duration) -> Result<()> {
        self.console.wait_for(READY, within).map(drop)
    }

    /// Runs a script inside and gives its end.
    ///
    /// # Errors
    /// The container has no PID 1, or `nsenter` cannot be started.
    pub fn output(&self, script: &str) -> Result<Output> {
        output_of(&mut self.command(script)?)
    }

    /// Runs a script inside and gives what it printed.
    ///
    /// # Errors
    /// As [`output`](Self::output), and when the script fails.
    pub fn run(&self, script: &str) -> Result<String> {
        let output = self.output(script)?;
        if !output.status.success() {
            return Err(program::failed(&self.command(script)?, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, script: &str) -> Result<Command> {
        let mut command = self.enter()?;
        command
            .args(["/usr/bin/env", "-i"])
            .arg("PATH=/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["/bin/sh", "-c", script]);
        Ok(command)
    }

    /// What runs the program in its further arguments inside.
    pub(crate) fn enter(&self) -> Result<Command> {
        let pid = self.leader().ok_or_else(|| Error::Stopped {
            waiting_for: "the container's PID 1".into(),
            tail: self.console.tail(),
        })?;
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &pid.to_string()])
            .args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"])
            .args(["--root", "--wd", "--"]);
        Ok(command)
    }

    /// The process that is PID 1 inside: `systemd-nspawn`'s child.
    pub(crate) fn leader(&self) -> Option<u32> {
        if let Some(pid) = self.leader.get() {
            return Some(*pid);
        }
        let spoken = self.console.find(READY).is_some();
        let pid = self.find_leader()?;
        if spoken {
            // Before that, it may be a process that only makes the container.
            let _ = self.leader.set(pid);
        }
        Some(pid)
    }

    fn find_leader(&self) -> Option<u32> {
        let parent = self.child.id();
        let is_child = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name may hold blanks; the parent is the second word after it.
            let after = stat.rsplit_once(')')?.1;
            Some(after.split_whitespace().nth(1)? == parent.to_string())
        };
        processes().find(|pid| is_child(pid) == Some(true))
    }

    /// Ends it at once, without a word to what runs inside.
    pub fn kill(&mut self) {
        // Its PID 1 first: with it goes everything inside.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), self.leader()) {
            stop_all(pid);
            signal(pid, Signal::KILL);
            // The kernel lets it go last of all that is inside.
            until(|| ended(pid));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn timeout(&self, what: &str, within: Duration) -> Error {
        Error::Timeout {
            what: what.into(),
            within,
            tail: self.console.tail(),
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.kill();
        until(|| {
            self.groups.iter().for_each(|g| remove_group(g));
            !self.groups.iter().any(|g| g.exists())
        });
    }
}

/// Runs what [`Container::enter`] prepared to its end.
pub(crate) fn output_of(command: &mut Command) -> Result<Output> {
    let start = |source| Error::Start {
        program: "nsenter".into(),
        source,
    };
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let pid = rustix::process::Pid::from_child(&child);
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || done.send(child.wait_with_output()));
        loop {
            match ended.recv_timeout(AWAKE) {
                Ok(output) => return output.map_err(start),
                // systemd stops everything for a moment while it shuts down,
                // `nsenter` stops with what it runs, and nobody wakes it.
                Err(_) => drop(rustix::process::kill_process(pid, Signal::CONT)),
            }
        }
    })
}

/// All processes of this machine.
fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// Sends a process a signal; it may be gone already.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Lets nothing inside go on. A PID 1 that is killed loses its sockets before all others
/// are killed: nobody may see that, and write down what no power cut lets anybody see.
fn stop_all(leader: u32) {
    let inside = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = inside(std::process::id());
    let Some(namespace) = inside(leader).filter(|it| Some(it) != own.as_ref()) else {
        return;
    };
    let mut stopped = BTreeSet::new();
    loop {
        let new: Vec<u32> = processes()
            .filter(|pid| !stopped.contains(pid) && inside(*pid).as_ref() == Some(&namespace))
            .collect();
        if new.is_empty() {
            return;
        }
        new.iter().for_each(|pid| signal(*pid, Signal::STOP));
        stopped.extend(new);
    }
}

/// Whether a process is no more, or only waits for its parent to notice.
fn ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Waits for something that soon comes by itself; not for ever.
fn until(done: impl Fn() -> bool) {
    let deadline = Instant::now() + GONE;
    while !done() && Instant::now() < deadline {
        std::thread::sleep(POLL);
    }
}

fn command_line(start: &Start<'_>, name: &str, cmdline: &Path, groups: &[PathBuf]) -> Command {
    // bin/sh joins the groups, so that no thread of this process has to.
    let mut script = String::new();
    for group in groups {
        script.push_str(&format!("echo $$ >'{}/cgroup.procs'; ", group.display()));
    }
    script.push_str("exec systemd-nspawn \"$@\" 2>&1");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", &script, "sh", "-q", "-M", name, "-D"])
        .arg(start.root)
        .args(["--register=no", "--keep-unit", "--console=read-only"])
        .args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"])
        .args(&start.options)
        .arg(bind("bind-ro", cmdline, "/run/host-cmdline"))
        .args(&start.init);
    command
}

/// An option that shows a path to a container.
pub(crate) fn bind(kind: &str, from: &Path, to: &str) -> String {
    format!("--{kind}={}:{to}", from.display())
}

/// The mounts that a deployment has on a machine.
fn deployment_options(boot: &ContainerBoot) -> Vec<String> {
    let stateroot = boot.deployment.parent().and_then(Path::parent);
    let var = stateroot.unwrap_or(Path::new("/")).join("var");
    vec![
        "--private-network".to_owned(),
        bind("bind", &boot.sysroot, "/sysroot"),
        bind("bind", &var, "/var"),
        bind("bind", &boot.sysroot.join("boot"), "/boot"),
        bind("bind-ro", &boot.deployment.join("usr"), "/usr"),
    ]
}

fn deployment_init(boot: &ContainerBoot) -> Vec<String> {
    let mut init: Vec<String> = ["/bin/sh", "-c", INIT, "init"].map(str::to_owned).to_vec();
    // systemd in a container reads its own arguments as the kernel's.
    let words = boot.cmdline.split_whitespace();
    init.extend(words.filter(|w| !w.starts_with('-')).map(str::to_owned));
    init
}

/// Control groups of its own, so that its systemd does not meet another.
fn own_groups(name: &str) -> Result<Vec<PathBuf>> {
    let root = Path::new(CGROUP);
    let mut groups = Vec::new();
    for hierarchy in ["systemd", "unified", "."] {
        let parent = root.join(hierarchy);
        if parent.join("cgroup.procs").exists() {
            let group = parent.join(name);
            fs::create_dir_all(&group).doing("create", &group)?;
            groups.push(group);
        }
    }
    Ok(groups)
}

/// Removes a control group with those that systemd made in it.
fn remove_group(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_group(&entry.path());
        }
    }
    // One that still holds a dying process stays for now.
    let _ = fs::remove_dir(group);
}
