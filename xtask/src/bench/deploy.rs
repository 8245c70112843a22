//! `cargo xtask bench deploy`: an upgrade of a host that `ostree admin` made, by that and
//! by backstop: time before the reboot, time at shutdown, bytes written.
//!
//! Each way gets a new ext4 with the same sysroot on it, so that the device's own counter
//! says what was written.

#![expect(clippy::disallowed_methods, reason = "hosts that are thrown away")]

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, bail, ensure};

use super::{load, middle, processor, save};
use crate::scratch::Scratch;

const BOOTED: &str = include_str!("booted.sh");
/// Bytes of a kernel and its initramfs, which each version has anew.
const KERNEL: usize = 40 << 20;
/// No upgrade takes longer.
const LIMIT: Duration = Duration::from_secs(300);
const SECTOR: u64 = 512;
/// One file in so many is another one in the second version.
const CHANGED: usize = 20;

/// What is measured, and with what.
#[derive(Debug, clap::Args)]
pub struct Deploy {
    /// How often everything is done; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The backstop to measure; else a release build
    #[arg(long)]
    program: Option<PathBuf>,
    /// What a version holds, besides a kernel and this machine's /etc
    #[arg(default_value = "/usr/share/doc")]
    tree: PathBuf,
}

/// A way to upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// `ostree admin deploy`: all before the reboot.
    Deploy,
    /// `ostree admin deploy --stage`, and its end at shutdown.
    Stage,
    /// backstop, called as `ostree`: the first way.
    AsOstree,
    /// `backstop switch --boot`: staged, checked, journalled, on trial.
    Trial,
}

const WAYS: [Way; 4] = [Way::Deploy, Way::Stage, Way::AsOstree, Way::Trial];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Deploy => "`ostree admin deploy`",
            Self::Stage => "`ostree admin deploy --stage`, `finalize-staged`",
            Self::AsOstree => "backstop, as `ostree admin deploy`",
            Self::Trial => "`backstop switch --boot`, with its checks and journal",
        }
    }
}

/// What an upgrade took: seconds, and bytes that reached the disk.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    before: f64,
    shutdown: f64,
    written: u64,
    written_at_shutdown: u64,
}

/// Measures, prints a table and writes it below `bench/`.
pub fn run(options: &Deploy) -> anyhow::Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "only root can mount");
    ensure!(options.rounds > 0, "at least one round is needed");
    let program = match &options.program {
        Some(program) => program.canonicalize()?,
        None => super::build(&PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")))?,
    };
    let began = load();
    let (files, bytes) = super::warm::tree(&options.tree)?;
    let mut taken = vec![Vec::new(); WAYS.len()];
    for round in 0..options.rounds {
        println!("round {} of {}", round + 1, options.rounds);
        for step in 0..WAYS.len() {
            let at = (step + round) % WAYS.len();
            let host = Host::new(&program, &options.tree, bytes + 2 * KERNEL as u64)?;
            let found = host.upgrade(WAYS[at]);
            taken[at].push(found.with_context(|| WAYS[at].name())?);
        }
    }
    let mut report = String::from("# An upgrade, by `ostree admin deploy` and by backstop\n\n");
    writeln!(
        report,
        "`cargo xtask bench deploy --rounds {} {}`\n\n{files} files, {} MB, a kernel of {} MB, and \
         this machine's /etc, some of it changed on the host; the new version has another kernel \
         and one file in {CHANGED} anew. {}; load {began} at the start and {} at the end. Medians; \
         each upgrade on a new ext4 in a file, pulled from a repository beside it. Written is what \
         the block device counted, after a sync. For `--stage` a deployment looks booted in \
         namespaces; backstop's host is a machine in a directory, whose next boot ends the time.\n",
        options.rounds,
        options.tree.display(),
        bytes >> 20,
        KERNEL >> 20,
        processor()?,
        load(),
    )?;
    table(&mut report, &taken)?;
    println!("\n{report}");
    save("deploy", &report)
}

fn table(report: &mut String, taken: &[Vec<Taken>]) -> std::fmt::Result {
    let of = |rows: &[Taken], what: fn(&Taken) -> f64| middle(rows.iter().map(what).collect());
    let mib = |bytes: f64| bytes / f64::from(1 << 20);
    let base = taken.first().map_or(1.0, |rows| of(rows, |t| t.before));
    writeln!(
        report,
        "| way | before the reboot, s | as a ratio | at shutdown, s | written before, MB | at shutdown, MB |"
    )?;
    writeln!(report, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
    for (way, rows) in WAYS.iter().zip(taken) {
        let before = of(rows, |t| t.before);
        writeln!(
            report,
            "| {} | {before:.2} | {:.2} | {:.2} | {:.1} | {:.1} |",
            way.name(),
            before / base,
            of(rows, |t| t.shutdown),
            mib(of(rows, |t| t.written as f64)),
            mib(of(rows, |t| t.written_at_shutdown as f64)),
        )?;
    }
    Ok(())
}

/// A host with version 1 deployed, and version 2 in a repository beside it.
struct Host {
    scratch: Scratch,
    program: PathBuf,
}

impl Host {
    fn new(program: &Path, tree: &Path, bytes: u64) -> anyhow::Result<Self> {
        let host = Self {
            scratch: Scratch::new(bytes)?,
            program: program.to_owned(),
        };
        make_tree(tree, &host.at("tree"))?;
        host.ostree("ostree", &["init", "--repo=releases", "--mode=bare"])?;
        let commit = ["commit", "--repo=releases", "-b", "main", "--tree=dir=tree"];
        host.ostree("ostree", &commit)?;
        std::fs::create_dir(host.at("host"))?;
        for args in [
            &["admin", "init-fs", "host"][..],
            &["admin", "os-init", "--sysroot=host", "debian"],
            &[
                "config",
                "--repo=host/ostree/repo",
                "set",
                "sysroot.bootloader",
                "none",
            ],
            &["pull-local", "--repo=host/ostree/repo", "releases", "main"],
            &[
                "admin",
                "deploy",
                "--sysroot=host",
                "--os=debian",
                "--karg=ro",
                "main",
            ],
        ] {
            host.ostree("ostree", args)?;
        }
        edit(&host.deployment()?.join("etc"))?;
        change(&host.at("tree"))?;
        host.ostree("ostree", &commit)?;
        Ok(host)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.scratch.dir().join(path)
    }

    /// The only deployment.
    fn deployment(&self) -> anyhow::Result<PathBuf> {
        let dir = self.at("host/ostree/deploy/debian/deploy");
        let dirs = std::fs::read_dir(dir)?.flatten().map(|e| e.path());
        let mut dirs = dirs.filter(|path| path.is_dir());
        dirs.next().context("nothing is deployed")
    }

    fn ostree(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> anyhow::Result<()> {
        let mut ostree = Command::new(program);
        done(ostree.args(args).current_dir(self.scratch.dir()))
    }

    /// Bytes that reached the device, after a sync.
    fn written(&self) -> anyhow::Result<u64> {
        let dir = std::fs::File::open(self.scratch.dir())?;
        rustix::fs::syncfs(&dir)?;
        let dev = dir.metadata()?.dev();
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"))?;
        let sectors = stat.split_whitespace().nth(6).context("no counter")?;
        Ok(sectors.parse::<u64>()? * SECTOR)
    }

    /// Runs one way once.
    fn upgrade(&self, way: Way) -> anyhow::Result<Taken> {
        if way == Way::Trial {
            self.make_machine()?;
        }
        std::fs::create_dir(self.at("bin"))?;
        symlink(&self.program, self.at("bin/ostree"))?;
        rustix::fs::sync();
        let start = self.written()?;
        let (before, shutdown, middle) = match way {
            Way::Deploy => (self.deploy(Path::new("ostree"))?, 0.0, None),
            Way::AsOstree => (self.deploy(&self.at("bin/ostree"))?, 0.0, None),
            Way::Trial => (self.trial()?, 0.0, None),
            Way::Stage => self.stage()?,
        };
        let end = self.written()?;
        let middle = middle.unwrap_or(end);
        Ok(Taken {
            before,
            shutdown,
            written: middle - start,
            written_at_shutdown: end - middle,
        })
    }

    fn pull(&self, program: &Path) -> anyhow::Result<()> {
        let args = ["pull-local", "--repo=host/ostree/repo", "releases", "main"];
        self.ostree(program, &args)
    }

    fn deploy(&self, program: &Path) -> anyhow::Result<f64> {
        let start = Instant::now();
        self.pull(program)?;
        let args = ["admin", "deploy", "--sysroot=host", "--os=debian", "main"];
        self.ostree(program, &args)?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// In one set of namespaces: what is staged is noted below `/run`.
    fn stage(&self) -> anyhow::Result<(f64, f64, Option<u64>)> {
        let start = Instant::now();
        self.pull(Path::new("ostree"))?;
        let pulled = start.elapsed().as_secs_f64();
        let script = "set -eu; stamp() { date +%s.%N; }; count() { sync -f /sysroot; cat \"$1\"; }
            a=$(stamp); ostree admin deploy --stage --os=debian main >&2; b=$(stamp)
            count \"$1\"; c=$(stamp); ostree admin finalize-staged >&2; d=$(stamp)
            echo $a $b $c $d";
        let dev = std::fs::metadata(self.scratch.dir())?.dev();
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        let stat = format!("/sys/dev/block/{major}:{minor}/stat");
        std::fs::write(self.at("booted.sh"), BOOTED)?;
        let output = Command::new("unshare")
            .args(["-m", "-p", "--fork", "sh"])
            .arg(self.at("booted.sh"))
            .args([self.at("host"), self.deployment()?])
            .args(["sh", "-c", script, "sh", &stat])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        let lines: Vec<_> = text.lines().collect();
        let [stat, times] = lines[..] else {
            bail!("odd output: {text}");
        };
        let sectors: u64 = stat
            .split_whitespace()
            .nth(6)
            .context("no counter")?
            .parse()?;
        let times: Vec<f64> = times.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [a, b, c, d] = times[..] else {
            bail!("odd times: {text}");
        };
        Ok((pulled + b - a, d - c, Some(sectors * SECTOR)))
    }

    /// Makes the host backstop's, and boots it as a machine in a directory.
    fn make_machine(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(self.at("host/boot/grub"))?;
        std::fs::write(self.at("host/boot/grub/grub.cfg"), "blscfg\n")?;
        self.backstop(&["adopt", "--boot-uuid", "0f"])?;
        std::fs::create_dir(self.at("host/machine"))?;
        let config = "init = \"usr/lib/init\"\nwatchdog_ms = 60000\n";
        std::fs::write(self.at("host/machine/machine.toml"), config)?;
        self.backstop(&["power-cycle"])
    }

    fn backstop(&self, args: &[&str]) -> anyhow::Result<()> {
        let mut backstop = Command::new(&self.program);
        backstop.arg("--sysroot").arg(self.at("host")).args(args);
        done(&mut backstop)
    }

    /// From the command to the moment at which the machine boots again.
    fn trial(&self) -> anyhow::Result<f64> {
        let booted = self.at("host/machine/booted");
        let last = std::fs::metadata(&booted)?.modified()?;
        let start = SystemTime::now();
        let source = format!("{}:main", self.at("releases").display());
        self.backstop(&["switch", &source, "--boot", "--detach"])?;
        let clock = Instant::now();
        while clock.elapsed() < LIMIT {
            let now = std::fs::metadata(&booted)?.modified()?;
            if now > last {
                let took = now.duration_since(start)?.as_secs_f64();
                self.settle()?;
                return Ok(took);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("the machine did not reboot");
    }

    /// Waits for the end, so that nobody writes when the next one is measured.
    fn settle(&self) -> anyhow::Result<()> {
        let clock = Instant::now();
        while clock.elapsed() < LIMIT {
            let mut history = Command::new(&self.program);
            history.arg("--sysroot").arg(self.at("host"));
            let text = history
                .args(["--json", "history", "-n", "1"])
                .output()?
                .stdout;
            if String::from_utf8_lossy(&text).contains("\"end\":\"kept\"") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("the trial did not end");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = Command::new("chattr")
            .args(["-R", "-f", "-i"])
            .arg(self.at("host"))
            .output();
    }
}

/// A tree that can be deployed, and looks booted with this machine's `/usr` over it.
fn make_tree(from: &Path, to: &Path) -> anyhow::Result<()> {
    for dir in [
        "usr/lib/modules/6.1",
        "boot",
        "dev",
        "proc",
        "run",
        "sys",
        "sysroot",
        "var",
    ] {
        std::fs::create_dir_all(to.join(dir))?;
    }
    symlink("sysroot/ostree", to.join("ostree"))?;
    for link in ["bin", "lib", "lib64", "sbin"] {
        symlink(format!("usr/{link}"), to.join(link))?;
    }
    let mut cp = Command::new("cp");
    done(cp.args(["-a", "--"]).arg(from).arg(to.join("usr/content")))?;
    let mut cp = Command::new("cp");
    done(cp.args(["-a", "--", "/etc"]).arg(to.join("usr/etc")))?;
    let _ = std::fs::remove_file(to.join("usr/etc/.pwd.lock"));
    std::fs::write(
        to.join("usr/lib/os-release"),
        "ID=debian\nPRETTY_NAME=Debian\n",
    )?;
    let init = to.join("usr/lib/init");
    std::fs::write(&init, "#!/bin/sh\nexit 0\n")?;
    done(Command::new("chmod").arg("+x").arg(&init))?;
    kernel(to)
}

/// A kernel and an initramfs that no other version has.
fn kernel(tree: &Path) -> anyhow::Result<()> {
    let dir = tree.join("usr/lib/modules/6.1");
    for (name, size) in [("vmlinuz", KERNEL / 4), ("initramfs.img", KERNEL * 3 / 4)] {
        let mut bytes = vec![0; size];
        std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
        std::fs::write(dir.join(name), bytes)?;
    }
    Ok(())
}

/// What somebody changed on the host.
fn edit(etc: &Path) -> anyhow::Result<()> {
    std::fs::write(etc.join("hostname"), "measured\n")?;
    std::fs::write(etc.join("of-this-host.conf"), "local\n")?;
    Ok(())
}

/// Makes the second version of the first.
fn change(tree: &Path) -> anyhow::Result<()> {
    kernel(tree)?;
    let (mut stack, mut seen) = (vec![tree.join("usr/content")], 0_usize);
    while let Some(dir) = stack.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&dir)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                stack.push(entry.path());
            } else if kind.is_file() {
                seen += 1;
                if seen.is_multiple_of(CHANGED) {
                    let mut bytes = std::fs::read(entry.path())?;
                    bytes.extend_from_slice(b"\nthe second version\n");
                    std::fs::remove_file(entry.path())?;
                    std::fs::write(entry.path(), bytes)?;
                }
            }
        }
    }
    Ok(())
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {errors}");
    Ok(())
}
