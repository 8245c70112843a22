//! `backstop install`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use durable::{Fs, RealFs};
use image::Source;
use provision::disk::{self, InstallOptions, Target};
use sysroot::Loader;

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;
use crate::progress::Terminal;

/// What `backstop install` takes.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The version: REPOSITORY:REF
    version: Source,
    /// A disk, a new image file, or with --directory a new directory
    target: PathBuf,
    /// Make a sysroot in a directory, without partitions and boot loader
    #[arg(long)]
    directory: bool,
    /// The length of a new image in MiB
    #[arg(long, value_name = "MIB", default_value_t = disk::DEFAULT_IMAGE_SIZE >> 20)]
    size: u64,
    /// Overwrite what is on the disk
    #[arg(long)]
    overwrite: bool,
    /// The stateroot: what its deployments share /var under
    #[arg(long, value_name = "NAME", default_value = "debian")]
    stateroot: String,
    /// What the host's origin file says that it follows [default: the ref]
    #[arg(long, value_name = "REF")]
    origin: Option<String>,
    /// A kernel argument; may be given often
    #[arg(long = "karg", value_name = "ARG")]
    kargs: Vec<String>,
    /// Let the boot loader use a serial console at this speed
    #[arg(long, value_name = "BAUD")]
    serial: Option<u32>,
    /// What boots the disk
    #[arg(long, value_enum, value_name = "LOADER", default_value = "grub")]
    bootloader: Bootloader,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What boots a disk.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bootloader {
    /// GRUB, by BIOS and UEFI: several attempts, and a digest of what it loads
    Grub,
    /// systemd-boot, by UEFI: one attempt
    SystemdBoot,
}

impl From<Bootloader> for Loader {
    fn from(bootloader: Bootloader) -> Self {
        match bootloader {
            Bootloader::Grub => Self::Grub,
            Bootloader::SystemdBoot => Self::SystemdBoot,
        }
    }
}

/// Runs the command.
pub fn run(args: InstallArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let target = if args.directory {
        Target::Directory(args.target)
    } else {
        Target::Disk {
            path: args.target,
            size: args.size << 20,
            overwrite: args.overwrite,
        }
    };
    let options = InstallOptions {
        repo: args.version.repo,
        rev: args.version.rev,
        origin: args.origin,
        stateroot: args.stateroot,
        kargs: args.kargs,
        serial: args.serial,
        loader: args.bootloader.into(),
        target,
    };
    let plan = disk::plan(&*fs, &options)?;
    if args.dry_run {
        out.line(plan.to_string().trim_end())?;
        return Ok(Ended::Done);
    }
    let deployment = plan.apply(&fs, &Terminal::new(global.json))?;
    out.line(&format!("Installed {deployment}."))?;
    out.json(&serde_json::json!({ "deployment": deployment.to_string() }))?;
    Ok(Ended::Done)
}
