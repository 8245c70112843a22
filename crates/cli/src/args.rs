//! The command line as typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, ValueEnum};

use crate::commands::Command;

/// Upgrade this host, and put it back by itself when the upgrade goes wrong.
///
/// A new version is staged beside the running one, tried, checked, and kept only
/// when it is healthy and confirmed; otherwise the host returns to the last good
/// version. Start with `backstop demo` to see it all happen in a directory.
#[derive(Debug, Parser)]
#[command(name = "backstop", version, max_term_width = 100)]
pub struct Args {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, ClapArgs)]
pub struct Global {
    /// The host to work on: the directory that holds its `ostree` and `boot`, or its
    /// `nix` and `run`
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        default_value = "/",
        env = "BACKSTOP_SYSROOT"
    )]
    pub sysroot: PathBuf,
    /// The kind of host, if what is there does not tell it
    #[arg(long, value_enum, value_name = "KIND", global = true)]
    pub host: Option<HostKind>,
    /// Print JSON, one value a line, for programs to read
    #[arg(long, global = true)]
    pub json: bool,
}

/// A kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HostKind {
    /// Images from an OSTree-format repository
    Image,
    /// Closures from a Nix store: NixOS
    Nix,
}
