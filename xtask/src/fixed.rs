//! `cargo xtask static`: the backstop that deployers bring along.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::step::cargo;

/// Builds it and says where it is.
pub fn run() -> anyhow::Result<()> {
    println!("{}", build()?.display());
    Ok(())
}

/// Builds it, linked statically so that it runs on any host, and puts it beside
/// the release build, where `backstop fleet` looks for it.
pub fn build() -> anyhow::Result<PathBuf> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    // With a target named, build scripts and macros are built as usual.
    let build = [
        "build",
        "--release",
        "--package",
        "backstop",
        "--target",
        &target,
    ];
    let flags = (
        "RUSTFLAGS",
        "-C target-feature=+crt-static -C strip=symbols",
    );
    cargo("static build", &build, &[flags])?;
    let all = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let built = all.join(&target).join("release/backstop");
    let beside = all.join("release/backstop-static");
    let copied = Command::new("install")
        .args(["-D", "-m", "755"])
        .args([&built, &beside])
        .status()
        .context("cannot run install")?;
    if !copied.success() {
        bail!("cannot put {} into its place", beside.display());
    }
    Ok(beside.canonicalize()?)
}
