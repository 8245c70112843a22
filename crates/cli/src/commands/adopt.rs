//! `backstop adopt`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use durable::{Fs, RealFs};
use provision::adopt::{self, AdoptOptions};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::progress::Terminal;

/// What `backstop adopt` takes.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// Hand the host back: GRUB goes by the configuration from before
    #[arg(long, conflicts_with = "dry_run")]
    undo: bool,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The file that GRUB goes by, below /boot [default: the only grub.cfg there]
    #[arg(long, value_name = "FILE")]
    grub_config: Option<PathBuf>,
    /// The UUID of the filesystem that /boot will be on, where the sysroot is a directory
    #[arg(long, value_name = "UUID")]
    boot_uuid: Option<String>,
    /// Let the boot loader use a serial console at this speed
    #[arg(long, value_name = "BAUD")]
    serial: Option<u32>,
}

/// Runs the command.
pub fn run(args: AdoptArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let monitor = Terminal::new(global.json);
    let options = AdoptOptions {
        sysroot: global.sysroot.clone(),
        grub_config: args.grub_config,
        boot_uuid: args.boot_uuid,
        serial: args.serial,
    };
    if args.undo {
        adopt::undo(&fs, &options, &monitor)?;
        out.line("Handed back: GRUB goes by its configuration from before.")?;
        out.json(&serde_json::json!({ "adopted": false }))?;
        return Ok(Ended::Done);
    }
    let plan = adopt::plan(&fs, &options)?;
    out.line(plan.to_string().trim_end())?;
    if !args.dry_run && !plan.steps.is_empty() {
        plan.apply(&monitor)?;
        out.line("Taken over.")?;
    }
    let steps: Vec<_> = plan.steps.iter().map(|step| step.name()).collect();
    let adopted = !args.dry_run || steps.is_empty();
    out.json(&serde_json::json!({ "adopted": adopted, "steps": steps }))?;
    Ok(Ended::Done)
}
