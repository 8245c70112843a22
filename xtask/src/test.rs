//! `cargo xtask test`: every test that this machine can run.

use testbed::packages;

use crate::step::cargo;

/// Warnings are errors here, so that they are none in daily work.
const STRICT: &str = "-D warnings";

/// What tests need beyond `cargo`.
const NEEDS: &[&[packages::Need]] = &[
    packages::ROOT,
    packages::DISK,
    packages::MACHINE,
    packages::CONTAINER,
    packages::ORACLE,
    packages::NIX,
];

/// Format, lints and documentation.
pub fn lint() -> anyhow::Result<()> {
    cargo("format", &["fmt", "--all", "--check"], &[])?;
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
pub fn run(install: bool) -> anyhow::Result<()> {
    let missing = packages::missing(NEEDS);
    if install && packages::is_root() && !missing.is_empty() {
        println!("== installing Debian packages: {}", missing.join(" "));
        packages::install(&missing)?;
    }
    let missing = packages::missing(NEEDS);
    let complete = missing.is_empty() && packages::is_root();
    // Where everything is there, a test that skips itself is a failure.
    let environment: &[(&str, &str)] = if complete {
        &[("BACKSTOP_REQUIRE_ALL", "1")]
    } else {
        &[]
    };
    // With the output of tests that passed: the stories' timelines, and what was
    // skipped.
    let tests = ["test", "--workspace", "--", "--show-output"];
    cargo("tests", &tests, environment)?;
    report(&missing);
    Ok(())
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
