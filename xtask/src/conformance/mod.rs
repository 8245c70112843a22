//! `cargo xtask conformance`: Debian's tests of `ostree`, run unchanged against
//! backstop under the name `ostree`.
//!
//! The package `ostree-tests` is fetched when the task runs and unpacked aside; no
//! part of it is kept in this repository. `xtask/conformance.txt` says of each
//! script what is expected.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail, ensure};

use testbed::packages;

mod expect;
mod script;
mod suite;

use expect::{Expected, Want};
use script::{Outcome, Verdict};

/// What to run, and with what.
#[derive(Debug, clap::Args)]
pub struct Conformance {
    /// Only the scripts whose name contains one of these
    only: Vec<String>,
    /// The program to test, instead of building backstop
    #[arg(long, value_name = "PROGRAM")]
    ostree: Option<PathBuf>,
    /// How many scripts run at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Seconds that a script may take
    #[arg(long, default_value_t = 120)]
    timeout: u64,
    /// Keep each script's directory and output below this one
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Run those too that are expected to fail
    #[arg(long)]
    all: bool,
}

/// Runs the scripts; fails when one that must pass does not.
pub fn run(options: &Conformance) -> anyhow::Result<()> {
    ensure!(options.jobs > 0, "at least one script must run at a time");
    let root = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).canonicalize()?;
    install()?;
    let expected = Expected::load(&root.join("xtask/conformance.txt"))?;
    let suite = suite::Suite::unpacked(&suite::target(&root))?;
    let program = match &options.ostree {
        Some(program) => program.canonicalize()?,
        None => suite::build(&root)?,
    };
    let scratch = suite::Scratch::new(options.keep.as_deref(), &program)?;
    let names = chosen(&suite.scripts()?, options, &expected);
    println!("{} scripts, {} at a time", names.len(), options.jobs);
    let outcomes = run_all(&names, options, &suite, &scratch, &expected);
    summary(&outcomes, &expected)
}

/// Runs those that must pass with the program that the tests were built with, where
/// the machine allows it.
pub fn in_ci() -> anyhow::Result<()> {
    if !packages::is_root() {
        println!("skipped: Debian's tests of ostree, which need root");
        return Ok(());
    }
    run(&Conformance {
        only: Vec::new(),
        ostree: Some(crate::test::program()?.into()),
        jobs: 3,
        timeout: 240,
        keep: None,
        all: false,
    })
}

/// Installs what the scripts need, where that is allowed.
fn install() -> anyhow::Result<()> {
    let missing = packages::missing(&[packages::CONFORMANCE]);
    if missing.is_empty() || !packages::is_root() {
        if !missing.is_empty() {
            println!(
                "not installed: {}; some scripts will fail",
                missing.join(" ")
            );
        }
        return Ok(());
    }
    println!("installing Debian packages: {}", missing.join(" "));
    Ok(packages::install(&missing)?)
}

/// The scripts to run, those that take longest first.
fn chosen(all: &[String], options: &Conformance, expected: &Expected) -> VecDeque<String> {
    let wanted = |name: &&String| {
        let named = options.only.iter().any(|o| name.contains(o.as_str()));
        match expected.of(name) {
            _ if named => true,
            _ if !options.only.is_empty() => false,
            Want::LeftOut(_) => false,
            Want::Fails(_) => options.all,
            Want::Passes => true,
        }
    };
    all.iter().filter(wanted).cloned().collect()
}

fn run_all(
    names: &VecDeque<String>,
    options: &Conformance,
    suite: &suite::Suite,
    scratch: &suite::Scratch,
    expected: &Expected,
) -> Vec<Outcome> {
    let queue = Mutex::new(names.clone());
    let outcomes = Mutex::new(Vec::new());
    let next = || {
        queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop_front()
    };
    let work = || {
        while let Some(name) = next() {
            let limit = Duration::from_secs(options.timeout);
            let outcome = script::run(&name, suite, scratch, limit);
            let mut outcomes = outcomes.lock().unwrap_or_else(PoisonError::into_inner);
            println!("{}", line(&outcome, expected));
            outcomes.push(outcome);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.jobs {
            scope.spawn(work);
        }
    });
    outcomes
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

/// One line for a script: how it ended, what it counted, how long it took, and the
/// last thing it said where it failed.
fn line(outcome: &Outcome, expected: &Expected) -> String {
    let word = match outcome.verdict {
        Verdict::Passed => "pass",
        Verdict::Skipped => "skip",
        Verdict::Failed => "FAIL",
        Verdict::TimedOut => "TIME",
    };
    let mut text = format!(
        "{word}  {:<42} {:>3} ok {:>2} skipped {:>6.1} s",
        outcome.name,
        outcome.ok,
        outcome.skipped,
        outcome.taken.as_secs_f64()
    );
    if let (Verdict::Failed | Verdict::TimedOut, Want::Fails(why)) =
        (outcome.verdict, expected.of(&outcome.name))
    {
        text += &format!("  (expected: {why})");
    }
    if outcome.verdict != Verdict::Passed {
        text += &format!("  {}", outcome.reason);
    }
    text
}

fn summary(outcomes: &[Outcome], expected: &Expected) -> anyhow::Result<()> {
    let count = |v: Verdict| outcomes.iter().filter(|o| o.verdict == v).count();
    println!(
        "\n{} scripts: {} passed, {} skipped themselves, {} failed, {} took too long; {} checks ok",
        outcomes.len(),
        count(Verdict::Passed),
        count(Verdict::Skipped),
        count(Verdict::Failed),
        count(Verdict::TimedOut),
        outcomes.iter().map(|o| o.ok).sum::<usize>(),
    );
    let broken = |o: &&Outcome| {
        matches!(o.verdict, Verdict::Failed | Verdict::TimedOut)
            && expected.of(&o.name) == Want::Passes
    };
    for outcome in outcomes {
        if outcome.verdict == Verdict::Passed
            && matches!(expected.of(&outcome.name), Want::Fails(_))
        {
            println!(
                "{} passes now: say so in xtask/conformance.txt",
                outcome.name
            );
        }
    }
    let broken: Vec<_> = outcomes
        .iter()
        .filter(broken)
        .map(|o| o.name.as_str())
        .collect();
    if !broken.is_empty() {
        bail!("these must pass and do not: {}", broken.join(" "));
    }
    Ok(())
}

/// Makes a directory and those above it.
fn make_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}
