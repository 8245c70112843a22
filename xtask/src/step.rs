//! Running one step of a task, with its name and time.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, bail};

/// Runs `cargo` with these arguments and environment.
pub fn cargo(name: &str, arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    println!("== {name}: cargo {}", arguments.join(" "));
    let started = Instant::now();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).envs(environment.iter().copied());
    let status = command
        .status()
        .with_context(|| format!("cannot run cargo for the step {name}"))?;
    if !status.success() {
        bail!("the step {name} failed: {status}");
    }
    println!("== {name}: {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}
