//! `backstop tree`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use durable::RealFs;
use provision::tree::{Initramfs, PrepareOptions, plan};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::progress::Terminal;

/// What `backstop tree` does.
#[derive(Debug, Subcommand)]
pub enum TreeCommand {
    /// Turn a plain Debian root filesystem into one that can be deployed
    Prepare(PrepareArgs),
}

/// What `backstop tree prepare` takes.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// The root filesystem, as mmdebstrap makes it
    tree: PathBuf,
    /// Leave it as it is, and put the prepared one here
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Use this initramfs; without it, the tree's own tool makes one
    #[arg(long, value_name = "FILE")]
    initramfs: Option<PathBuf>,
    /// The backstop to put into the tree [default: this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// The kernel version to boot, where the tree has several
    #[arg(long, value_name = "VERSION")]
    kernel: Option<String>,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
pub fn run(command: TreeCommand, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    match command {
        TreeCommand::Prepare(args) => prepare(args, global, out),
    }
}

fn prepare(args: PrepareArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let binary = match args.binary {
        Some(binary) => binary,
        None => std::env::current_exe()?,
    };
    let options = PrepareOptions {
        tree: args.tree,
        into: args.into,
        binary,
        kernel: args.kernel,
        initramfs: args.initramfs.map_or(Initramfs::Build, Initramfs::Given),
    };
    let plan = plan(&RealFs, &options)?;
    for warning in &plan.warnings {
        out.warn(warning);
    }
    if plan.steps.is_empty() {
        out.line("It is prepared already.")?;
        return Ok(Ended::Done);
    }
    if args.dry_run {
        out.line(plan.to_string().trim_end())?;
        return Ok(Ended::Done);
    }
    plan.apply(&RealFs, &Terminal::new(global.json))?;
    out.line(&format!("{} can be deployed.", plan.target().display()))?;
    Ok(Ended::Done)
}
