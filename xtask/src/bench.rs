//! `cargo xtask bench`: the repository against Debian's `ostree`, side by side.
//!
//! Both do the same work on the same tree in turns, so that whatever else the
//! machine does hits both. What counts is the median of the rounds.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::scratch::Scratch;

use floor::Floors;
use work::{Answers, Into, Kind, Reads, WORKS};

mod deploy;
mod fleet;
mod floor;
mod memory;
mod warm;
mod work;

/// What is measured.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Bench {
    #[command(subcommand)]
    other: Option<Other>,
    /// How often everything is done; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What is committed
    #[arg(default_value = "/usr/share")]
    tree: PathBuf,
}

/// What is measured beside the repository.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Measure the deployer against deploy-rs and colmena, into bench/ (needs root)
    Fleet(fleet::Fleet),
    /// Measure the memory of pulls, and print it
    Memory(memory::Memory),
    /// Measure an upgrade against `ostree admin deploy`, into bench/ (needs root)
    Deploy(deploy::Deploy),
}

impl Bench {
    /// Measures.
    pub fn run(&self) -> anyhow::Result<()> {
        match &self.other {
            None => repository(self.rounds, &self.tree),
            Some(Other::Fleet(options)) => fleet::run(options),
            Some(Other::Memory(options)) => memory::run(options),
            Some(Other::Deploy(options)) => deploy::run(options),
        }
    }
}

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Ostree,
    Backstop,
}

/// How long a piece of work took: on the clock, and of all cores together.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Taken {
    wall: f64,
    cpu: f64,
}

/// Runs `rounds` rounds on `tree`, prints a table and writes it below `bench/`.
fn repository(rounds: usize, tree: &Path) -> anyhow::Result<()> {
    ensure!(rounds > 0, "at least one round is needed");
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let backstop = build(&root)?;
    let found = Command::new("ostree").arg("--version").output();
    let version = String::from_utf8(found.context("Debian's ostree is needed")?.stdout)?;
    let version = version.split('\'').nth(1).unwrap_or("?").to_owned();
    let (files, bytes) = warm::tree(tree)?;
    let mut taken = vec![[Vec::new(), Vec::new()]; WORKS.len()];
    let mut floors = Floors::default();
    let mut kind = "";
    for round in 0..rounds {
        println!("round {} of {rounds}", round + 1);
        let scratch = Scratch::new(bytes)?;
        kind = scratch.kind();
        warm::tree(tree)?;
        warm::memory(&scratch.dir(), bytes)?;
        floors.measure(tree, &scratch.dir())?;
        one_round(&scratch, &backstop, (tree, bytes), round, &mut taken)?;
    }
    let mut report = String::new();
    writeln!(
        report,
        "# backstop {} and ostree {version}\n",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(
        report,
        "`cargo xtask bench --rounds {rounds} {}`\n",
        tree.display()
    )?;
    writeln!(report, "{}\n", machine(files, bytes, kind)?)?;
    table(&mut report, &taken, &floors)?;
    floors.table(&mut report)?;
    memory::table(&mut report, &backstop, tree)?;
    crate::bench_delta::run(rounds, &backstop, &mut report)?;
    println!("\n{report}");
    save("", &report)
}

/// Builds what is measured.
fn build(root: &Path) -> anyhow::Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "-p", "backstop"]);
    ensure!(
        command.current_dir(root).status()?.success(),
        "the build failed"
    );
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    Ok(target.join("release/backstop").canonicalize()?)
}

/// Both programs do all pieces of work on a tree of so many bytes, in turns; who is
/// first changes.
fn one_round(
    scratch: &Scratch,
    backstop: &Path,
    (tree, bytes): (&Path, u64),
    round: usize,
    taken: &mut [[Vec<Taken>; 2]],
) -> anyhow::Result<()> {
    let mut programs = [Program::Ostree, Program::Backstop];
    programs.rotate_left(round % 2);
    let dir = |program| scratch.dir().join(format!("{program:?}"));
    for program in programs {
        std::fs::create_dir(dir(program))?;
        let repo = Into {
            name: "repo",
            kind: Kind::Bare,
        };
        make(program, backstop, &dir(program), repo)?;
    }
    archive(&scratch.dir(), backstop, tree)?;
    let many = Served::start(&scratch.dir(), backstop, Answers::Many)?;
    let one = Served::start(&scratch.dir(), backstop, Answers::One)?;
    for (work, taken) in WORKS.iter().zip(taken) {
        for program in programs {
            if let Some(into) = work.into {
                make(program, backstop, &dir(program), into)?;
                if let Kind::Following(answers) = into.kind {
                    let served = match answers {
                        Answers::Many => &many,
                        Answers::One => &one,
                    };
                    follow(program, backstop, &dir(program), into, served)?;
                }
            }
            let args = match program {
                Program::Ostree => work.ostree,
                Program::Backstop => work.backstop,
            };
            let args = args.iter().map(|arg| match *arg {
                "tree" => tree.as_os_str(),
                other => OsStr::new(other),
            });
            rustix::fs::sync();
            warm::tree(&match work.reads {
                Reads::Tree => tree.to_owned(),
                Reads::Repo => dir(program).join("repo/objects"),
                Reads::Served => scratch.dir().join("served/objects"),
            })?;
            warm::memory(&scratch.dir(), bytes)?;
            let time = measure(program, backstop, &dir(program), args)
                .with_context(|| format!("{program:?} cannot {}", work.name))?;
            println!("{}: {program:?}, {:.2} s", work.name, time.wall);
            taken[program as usize].push(time);
        }
    }
    Ok(())
}

/// Makes an archive of the tree.
fn archive(dir: &Path, backstop: &Path, tree: &Path) -> anyhow::Result<()> {
    let run = |args: &[&OsStr]| {
        measure(Program::Backstop, backstop, dir, args.iter().copied()).map(|_| ())
    };
    let repo = OsStr::new("--repo=served");
    run(&["init".as_ref(), repo, "--mode=archive".as_ref()])?;
    let to_main = ["commit".as_ref(), repo, "-b".as_ref(), "main".as_ref()];
    run(&[&to_main[..], &[tree.as_os_str()]].concat())?;
    run(&["summary".as_ref(), repo, "-u".as_ref()])
}

/// The archive behind our own server, for both programs; the server's time counts in
/// neither's.
struct Served {
    url: String,
    server: Child,
}

impl Served {
    fn start(dir: &Path, backstop: &Path, answers: Answers) -> anyhow::Result<Self> {
        let mut command = Command::new(backstop);
        command.args(["repo", "serve", "--repo=served", "--port=0"]);
        if answers == Answers::One {
            command.arg("--many=1");
        }
        let mut server = command
            .args(["--address=127.0.0.1"])
            .current_dir(dir)
            .stdout(Stdio::piped())
            .spawn()?;
        let out = server.stdout.take().context("no output")?;
        let mut line = String::new();
        std::io::BufReader::new(out).read_line(&mut line)?;
        let url = line.split_whitespace().last().unwrap_or_default();
        let url = url.to_owned();
        Ok(Self { url, server })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Makes a repository; bare ones are bare-user without root.
fn make(program: Program, backstop: &Path, dir: &Path, what: Into) -> anyhow::Result<()> {
    let mode = match what.kind {
        Kind::Archive => "archive",
        _ if rustix::process::geteuid().is_root() => "bare",
        _ => "bare-user",
    };
    let (repo, mode) = (format!("--repo={}", what.name), format!("--mode={mode}"));
    measure(
        program,
        backstop,
        dir,
        ["init", &repo, &mode].map(OsStr::new),
    )?;
    Ok(())
}

/// Makes the served repository the remote of another.
fn follow(
    program: Program,
    backstop: &Path,
    dir: &Path,
    what: Into,
    served: &Served,
) -> anyhow::Result<()> {
    let repo = format!("--repo={}", what.name);
    let add = ["remote", "add", &repo, "--no-gpg-verify", "origin"];
    let args = add.into_iter().chain([served.url.as_str()]);
    measure(program, backstop, dir, args.map(OsStr::new))?;
    Ok(())
}

/// A command line for a program, in its directory.
fn command<'a>(
    program: Program,
    backstop: &Path,
    dir: &Path,
    args: impl IntoIterator<Item = &'a OsStr>,
) -> Command {
    let mut command = match program {
        Program::Ostree => Command::new("ostree"),
        Program::Backstop => {
            let mut command = Command::new(backstop);
            command.arg("repo");
            command
        }
    };
    command.args(args).current_dir(dir).stdout(Stdio::null());
    command
}

fn measure<'a>(
    program: Program,
    backstop: &Path,
    dir: &Path,
    args: impl IntoIterator<Item = &'a OsStr>,
) -> anyhow::Result<Taken> {
    let mut command = command(program, backstop, dir, args);
    command.stderr(Stdio::piped());
    let (cpu, start) = (children_cpu()?, Instant::now());
    let out = command.output()?;
    let wall = start.elapsed();
    if !out.status.success() {
        bail!("{}", String::from_utf8_lossy(&out.stderr));
    }
    Ok(Taken {
        wall: wall.as_secs_f64(),
        cpu: (children_cpu()? - cpu).as_secs_f64(),
    })
}

/// Processor time of all children waited for, from `/proc`.
fn children_cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("odd /proc/self/stat")?;
    // The 16th and 17th field of all; the name was the second.
    let ticks = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>()?;
    Ok(Duration::from_millis(
        ticks * 1000 / rustix::param::clock_ticks_per_second(),
    ))
}

fn median(values: &[Taken], of: impl Fn(&Taken) -> f64) -> f64 {
    middle(values.iter().map(of).collect())
}

/// The median.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let mid = values.len() / 2;
    if values.len() % 2 == 1 {
        return values[mid];
    }
    (values[mid - 1] + values[mid]) / 2.0
}

fn table(report: &mut String, taken: &[[Vec<Taken>; 2]], floors: &Floors) -> std::fmt::Result {
    writeln!(
        report,
        "| work | ostree s | backstop s | times as fast | ostree CPU s | backstop CPU s | floor s |"
    )?;
    writeln!(report, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    for (work, [ostree, backstop]) in WORKS.iter().zip(taken) {
        let wall = |t: &[Taken]| median(t, |t| t.wall);
        let cpu = |t: &[Taken]| median(t, |t| t.cpu);
        let (theirs, ours) = (wall(ostree), wall(backstop));
        writeln!(
            report,
            "| {} | {theirs:.2} | {ours:.2} | {:.1} | {:.2} | {:.2} | {:.2} |",
            work.name,
            theirs / ours,
            cpu(ostree),
            cpu(backstop),
            floors.of(work.floor)
        )?;
    }
    Ok(())
}

/// What was measured on, and how busy it was.
fn machine(files: u64, bytes: u64, kind: &str) -> anyhow::Result<String> {
    let (processor, load) = (processor()?, load());
    Ok(format!(
        "{files} files, {} MB, in memory; {processor}; load at the end {load}. \
         Medians; each round on {kind}, both programs in turns; before each measurement \
         all is synced, what is read is read once, and free memory is written to once; and each program \
         syncs what it always syncs.",
        bytes >> 20
    ))
}

/// How many cores of what.
fn processor() -> anyhow::Result<String> {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|l| l.strip_prefix("model name")?.split_once(':'));
    let model = model.map_or("unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores of {model}"))
}

/// How busy the machine has been in the last minute.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().unwrap_or("?").to_owned()
}

/// Keeps a report under today's date and a word.
#[expect(clippy::disallowed_methods, reason = "a report, which may be lost")]
fn save(word: &str, report: &str) -> anyhow::Result<()> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let date = Command::new("date").arg("+%Y-%m-%d").output()?.stdout;
    let date = String::from_utf8(date)?;
    let dash = if word.is_empty() { "" } else { "-" };
    let name = format!("bench/results-{}{dash}{word}.md", date.trim());
    let path = root.join(&name);
    std::fs::create_dir_all(root.join("bench"))?;
    std::fs::write(&path, report)?;
    println!("written to {name}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let of = |walls: &[f64]| {
            let taken: Vec<_> = walls
                .iter()
                .map(|wall| Taken {
                    wall: *wall,
                    cpu: 0.0,
                })
                .collect();
            median(&taken, |t| t.wall)
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(of(&[4.0, 1.0]), 2.5);
    }

    #[test]
    fn children_are_counted() {
        let before = children_cpu().unwrap();
        let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        Command::new("sh").args(["-c", busy]).status().unwrap();
        assert!(children_cpu().unwrap() > before);
    }
}
