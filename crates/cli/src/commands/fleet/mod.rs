//! `backstop fleet`: many hosts.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use durable::{Fs, RealFs};
use fleet::config::{Description, Host};
use fleet::deploy::{OnHost, Shared, Unwatched};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;

mod ask;
mod deploy;
mod exec;
mod list;
mod option;
mod password;
mod rollouts;
mod schema;
mod status;

/// What `backstop fleet` takes.
#[derive(Debug, Args)]
pub struct FleetArgs {
    /// The fleet's description; usually fleet.toml here, else the flake here
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "BACKSTOP_FLEET"
    )]
    file: Option<PathBuf>,
    /// Take the hosts from a flake's nixosConfigurations
    #[arg(long, global = true, value_name = "FLAKE", conflicts_with = "file")]
    flake: Option<String>,
    /// Ask for the password that the hosts' sudo wants, once
    #[arg(long, global = true)]
    ask_sudo_password: bool,
    #[command(subcommand)]
    command: FleetCommand,
}

/// What to do with the fleet.
#[derive(Debug, Subcommand)]
enum FleetCommand {
    /// Bring hosts their versions, in waves, each on trial
    Deploy(deploy::DeployArgs),
    /// Show what `deploy` would do, in which order
    Plan(deploy::PlanArgs),
    /// List the hosts
    List(list::ListArgs),
    /// Show what hosts run
    Status(status::StatusArgs),
    /// Run hosts' own health checks
    Check(ask::HostArgs),
    /// Confirm what is on trial on hosts, over new connections
    Confirm(ask::HostArgs),
    /// End hosts' trials, or put them back to the last good version
    Rollback(ask::HostArgs),
    /// Run a command on hosts
    Exec(exec::ExecArgs),
    /// Read an option of a host's NixOS configuration
    Option(option::OptionArgs),
    /// List past rollouts, and which of them can be resumed
    Rollouts,
    /// Print the JSON schema of fleet.toml
    Schema,
}

/// Runs the command.
pub fn run(args: FleetArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let fleet = Fleet {
        file: args.file,
        flake: args.flake,
        ask_password: args.ask_sudo_password,
    };
    match args.command {
        FleetCommand::Deploy(args) => deploy::run(args, &fleet, global, out),
        FleetCommand::Plan(args) => deploy::plan(args, &fleet, out),
        FleetCommand::List(args) => list::run(args, &fleet, out),
        FleetCommand::Status(args) => status::run(args, &fleet, out),
        FleetCommand::Check(args) => ask::run(args, &ask::CHECK, &fleet, out),
        FleetCommand::Confirm(args) => ask::run(args, &ask::CONFIRM, &fleet, out),
        FleetCommand::Rollback(args) => ask::run(args, &ask::ROLLBACK, &fleet, out),
        FleetCommand::Exec(args) => exec::run(args, &fleet, out),
        FleetCommand::Option(args) => option::run(args, &fleet, out),
        FleetCommand::Rollouts => rollouts::run(out),
        FleetCommand::Schema => schema::run(out),
    }
}

/// Where the fleet is described.
#[derive(Debug)]
struct Fleet {
    file: Option<PathBuf>,
    flake: Option<String>,
    ask_password: bool,
}

impl Fleet {
    /// Reads it.
    fn load(&self) -> anyhow::Result<Description> {
        if let Some(flake) = &self.flake {
            return Ok(Description::of_flake(flake)?);
        }
        let usual = Path::new("fleet.toml");
        match &self.file {
            Some(file) => Ok(Description::load(file)?),
            None if usual.exists() => Ok(Description::load(usual)?),
            None if Path::new("flake.nix").exists() => Ok(Description::of_flake(".")?),
            None => bail!(
                "there is neither fleet.toml nor flake.nix here: write one, or name it by --file or --flake"
            ),
        }
    }

    /// The hosts that a selection means.
    fn select(&self, selection: &[String]) -> anyhow::Result<Vec<Host>> {
        let all = self.load()?.hosts;
        let chosen = fleet::select(&all, selection)?;
        Ok(chosen.into_iter().map(|at| all[at].clone()).collect())
    }

    /// What hosts share.
    fn shared(&self) -> anyhow::Result<Shared> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let mut shared = Shared::new(fs, state_dir()?)?;
        if self.ask_password {
            shared.password = Some(password::ask()?);
        }
        Ok(shared)
    }
}

/// A host by itself, with nobody watching.
fn on<'a>(host: &'a Host, number: usize, shared: &'a Shared) -> OnHost<'a> {
    OnHost {
        host,
        number,
        shared,
        watcher: &Unwatched,
    }
}

/// Where the deployer keeps what it must remember.
fn state_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir).join("backstop"));
    }
    let home = std::env::var_os("HOME")
        .context("HOME is not set, so there is no place to remember rollouts")?;
    Ok(PathBuf::from(home).join(".local/state/backstop"))
}

/// Where rollouts are recorded.
fn rollouts_dir() -> anyhow::Result<PathBuf> {
    Ok(state_dir()?.join("rollouts"))
}
