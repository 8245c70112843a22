//! `backstop power-cycle`: the power supply of a directory machine.

use std::sync::Arc;

use clap::Args;
use durable::RealFs;
use image::Directory;

use crate::args::Global;
use crate::exit::Ended;

/// What `backstop power-cycle` takes.
#[derive(Debug, Args)]
pub struct PowerCycleArgs {
    /// Cut the power, without asking the processes to end
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(args: PowerCycleArgs, global: &Global) -> anyhow::Result<Ended> {
    machine::processes::begin_job();
    let mut machine = Directory::open(Arc::new(RealFs), &global.sysroot)?;
    machine.power_cycle(args.force)?;
    Ok(Ended::Done)
}
