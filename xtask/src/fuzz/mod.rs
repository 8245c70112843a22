//! `cargo xtask fuzz`: each parser of what comes from outside, fed with made-up bytes
//! for a bounded time, led by what of the code they reach.
//!
//! The fuzzer is libFuzzer; the coverage is the stable compiler's own, without
//! sanitizers: they would not see into the C of libdeflate, which is built as always.

mod seeds;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use clap::Args;

/// What makes a build tell what of it ran.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=4";
/// Seconds for each parser in CI.
const IN_CI: u64 = 4;

/// The parsers, as `fuzz/src/main.rs` names them.
const PARSERS: [&str; 20] = [
    "metadata",
    "value-text",
    "objects",
    "summary",
    "delta-superblock",
    "delta-part",
    "delta-patch",
    "arriving",
    "tar",
    "config",
    "sector",
    "boot-entry",
    "journal",
    "bundle",
    "wire",
    "check",
    "metalink",
    "file-contexts",
    "many-answer",
    "many-query",
];

/// What `cargo xtask fuzz` takes.
#[derive(Debug, Args)]
pub struct Fuzz {
    /// Seconds for each parser
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Where chance begins; anew each time when not given
    #[arg(long, default_value_t = 0)]
    seed: u32,
    /// Only these parsers
    parsers: Vec<String>,
}

/// What came of one parser.
struct Ran {
    name: String,
    runs: String,
    reached: String,
    /// The end of what was printed, if it failed.
    failure: Option<String>,
}

/// A few seconds for each, and the same each time.
pub fn in_ci() -> anyhow::Result<()> {
    run(&Fuzz {
        seconds: IN_CI,
        seed: 1,
        parsers: Vec::new(),
    })
}

/// Builds the program and runs the parsers, as many at once as there are cores.
pub fn run(options: &Fuzz) -> anyhow::Result<()> {
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let dir = root.canonicalize()?.join("target/fuzz");
    let program = build(&root, &dir)?;
    let names = match options.parsers.is_empty() {
        true => PARSERS.map(str::to_owned).to_vec(),
        false => options.parsers.clone(),
    };
    seeds::plant(&dir, &crate::test::program()?)?;
    println!(
        "== fuzz: {} parsers, {} s each",
        names.len(),
        options.seconds
    );
    let waiting = Mutex::new(names.into_iter());
    let failed = Mutex::new(Vec::new());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || -> anyhow::Result<()> {
        loop {
            let next = waiting.lock().unwrap_or_else(|e| e.into_inner()).next();
            let Some(name) = next else { return Ok(()) };
            let ran = one(&program, &dir, &name, options)?;
            println!(
                "{:<17} {:>9} runs, {:>5} places",
                ran.name, ran.runs, ran.reached
            );
            if let Some(failure) = ran.failure {
                println!("{failure}");
                failed.lock().unwrap_or_else(|e| e.into_inner()).push(name);
            }
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .try_for_each(|t| t.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    let failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    ensure!(
        failed.is_empty(),
        "these parsers failed: {}",
        failed.join(", ")
    );
    Ok(())
}

/// Builds for the machine's own target by name, so that build scripts stay as they are.
fn build(root: &Path, dir: &Path) -> anyhow::Result<PathBuf> {
    let out = Command::new("rustc").arg("-vV").output()?;
    let said = String::from_utf8(out.stdout)?;
    let target = said.lines().find_map(|l| l.strip_prefix("host: "));
    let target = target.context("rustc does not say what it builds for")?;
    let started = Instant::now();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--target", target])
        .arg("--manifest-path")
        .arg(root.join("fuzz/Cargo.toml"))
        .arg("--target-dir")
        .arg(dir)
        .env("RUSTFLAGS", COVERAGE)
        .status()?;
    ensure!(status.success(), "the fuzzers cannot be built");
    println!("== fuzz: built in {:.0} s", started.elapsed().as_secs_f64());
    Ok(dir.join(target).join("release/backstop-fuzz"))
}

/// Runs one parser. What it finds is added to its corpus, what breaks it is kept.
fn one(program: &Path, dir: &Path, name: &str, options: &Fuzz) -> anyhow::Result<Ran> {
    let (corpus, crashes) = (
        dir.join("corpus").join(name),
        dir.join("crashes").join(name),
    );
    for dir in [&corpus, &crashes] {
        make(dir)?;
    }
    let mut command = Command::new(program);
    command
        .env("BACKSTOP_FUZZ", name)
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-seed={}", options.seed))
        .args(["-rss_limit_mb=1024", "-timeout=20", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", crashes.display()))
        .arg(&corpus)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let out = command.spawn()?.wait_with_output()?;
    let said = String::from_utf8_lossy(&out.stderr);
    let stat = |key: &str| {
        let found = said.lines().find_map(|l| l.strip_prefix(key));
        found.unwrap_or("?").trim().to_owned()
    };
    let reached = said.lines().rev().find_map(|l| {
        let after = l.split_once(" cov: ")?.1;
        after.split_whitespace().next()
    });
    let failure = || {
        let lines: Vec<&str> = said.lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        format!(
            "{tail}\nagain: BACKSTOP_FUZZ={name} {} {}/FILE",
            program.display(),
            crashes.display()
        )
    };
    if said.contains("BACKSTOP_FUZZ must be") {
        bail!("fuzz/src/main.rs does not know {name}");
    }
    Ok(Ran {
        name: name.to_owned(),
        runs: stat("stat::number_of_executed_units:"),
        reached: reached.unwrap_or("?").to_owned(),
        failure: (!out.status.success()).then(failure),
    })
}

fn make(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}
