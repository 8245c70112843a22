//! `cargo xtask test`: every test that this machine can run.

use std::path::{Path, PathBuf};

use anyhow::Context;
use testbed::packages;

use crate::step::cargo;

/// Warnings are errors here, so that they are none in daily work.
const STRICT: &str = "-D warnings";

/// What tests need beyond `cargo`.
const NEEDS: &[&[packages::Need]] = &[
    packages::ROOT,
    packages::DISK,
    packages::MACHINE,
    packages::DAMAGE,
    packages::CONTAINER,
    packages::ORACLE,
    packages::NIX,
];

/// Format, lints and documentation.
pub fn lint() -> anyhow::Result<()> {
    cargo("format", &["fmt", "--all", "--check"], &[])?;
    let fuzz = ["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"];
    cargo("format of the fuzzers", &fuzz, &[])?;
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    cargo("lints", &clippy, &[])?;
    let doc = [
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ];
    cargo("documentation", &doc, &[("RUSTDOCFLAGS", STRICT)])
}

/// Installs what is missing where that is allowed, then runs all tests.
pub fn run(install: bool, all_releases: bool) -> anyhow::Result<()> {
    let missing = packages::missing(NEEDS);
    if install && packages::is_root() && !missing.is_empty() {
        println!("== installing Debian packages: {}", missing.join(" "));
        packages::install(&missing)?;
    }
    let missing = packages::missing(NEEDS);
    let complete = missing.is_empty() && packages::is_root();
    // Where everything is there, a test that skips itself is a failure.
    let mut environment = Vec::new();
    if complete {
        environment.push(("BACKSTOP_REQUIRE_ALL", "1"));
    }
    if all_releases {
        environment.push(("BACKSTOP_RELEASES", "all"));
    }
    // The tests that put the program on a machine take the one that is built with
    // them, rather than have it built once more.
    cargo("build", &["test", "--workspace", "--no-run"], &[])?;
    let program = program()?;
    environment.push(("BACKSTOP_BIN", &program));
    let mut tests = vec!["test", "--workspace", "--no-fail-fast"];
    if !complete {
        // What was skipped is in the output of tests that passed.
        tests.extend(["--", "--show-output"]);
    }
    cargo("tests", &tests, &environment)?;
    report(&missing);
    Ok(())
}

/// All boot states, of which the tests try a sample, before this machine's GRUB or that
/// of a release of Debian.
pub fn loader_vs_model(release: Option<&str>, sample: bool) -> anyhow::Result<()> {
    let test = ["test", "-p", "backstop-boot", "--test", "it", "--"];
    let what = ["loader_states", "--nocapture"];
    let mut environment = vec![("BACKSTOP_REQUIRE_ALL", "1")];
    if !sample {
        environment.push(("BACKSTOP_LOADER", "all"));
    }
    environment.extend(release.map(|release| ("BACKSTOP_GRUB", release)));
    cargo("boot states", &[&test[..], &what].concat(), &environment)
}

/// All rows of the table on real machines, of which the tests run some.
pub fn nix_machines() -> anyhow::Result<()> {
    cargo("build", &["build", "-p", "backstop"], &[])?;
    let program = program()?;
    let test = ["test", "-p", "backstop-proof", "--test", "it", "--"];
    let what = ["machine", "--nocapture"];
    let environment = [
        ("BACKSTOP_ROWS", "all"),
        ("BACKSTOP_REQUIRE_ALL", "1"),
        ("BACKSTOP_BIN", &program),
    ];
    cargo(
        "all rows on real machines",
        &[&test[..], &what].concat(),
        &environment,
    )
}

/// Hosts of `ostree` that are taken over on machines, of which the tests try one.
pub fn adopt_machines(rows: &[String]) -> anyhow::Result<()> {
    packages::require(&[packages::SIGNED, packages::STAGED])?;
    cargo("build", &["build", "-p", "backstop"], &[])?;
    let program = program()?;
    let rows = match rows {
        [] => "all".to_owned(),
        rows => rows.join(" "),
    };
    let test = ["test", "-p", "backstop-faults", "--test", "it", "--"];
    let what = ["adopted", "--nocapture"];
    let environment = [
        ("BACKSTOP_ADOPT", rows.as_str()),
        ("BACKSTOP_REQUIRE_ALL", "1"),
        ("BACKSTOP_BIN", &program),
    ];
    cargo(
        "hosts that are taken over",
        &[&test[..], &what].concat(),
        &environment,
    )
}

/// More points of the replay, of which the tests try some.
pub fn crash_replay(points: usize) -> anyhow::Result<()> {
    cargo("build", &["build", "-p", "backstop"], &[])?;
    let (program, points) = (program()?, points.to_string());
    let test = ["test", "-p", "backstop-demo", "--test", "it", "--"];
    let what = ["replay", "--nocapture"];
    let environment = [
        ("BACKSTOP_REPLAY", points.as_str()),
        ("BACKSTOP_REQUIRE_ALL", "1"),
        ("BACKSTOP_BIN", &program),
    ];
    cargo("crash replay", &[&test[..], &what].concat(), &environment)
}

/// The program as built for the tests.
pub fn program() -> anyhow::Result<String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let program = target.join("debug/backstop");
    let program = program
        .canonicalize()
        .with_context(|| format!("{} was not built", program.display()))?;
    let program = program.into_os_string().into_string();
    program.map_err(|path| anyhow::anyhow!("the path {path:?} is not UTF-8"))
}

/// Says what could not be tested here.
fn report(missing: &[&str]) {
    if !packages::is_root() {
        println!("skipped: all that needs root (boots, containers, owners, full disks)");
    }
    if !missing.is_empty() {
        println!(
            "skipped: all that needs the Debian packages {}",
            missing.join(" ")
        );
    }
    if missing.is_empty() && packages::is_root() {
        println!("nothing was skipped");
    }
}
