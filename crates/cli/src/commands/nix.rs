//! `backstop nix`: the actions of `nixos-rebuild`, under their names.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use engine::TrialKind;
use nix::NixHost;

use super::trial::TrialArgs;
use super::wanted::{self, WantedArgs};
use super::{plan, switch};
use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::Output;
use crate::session::Session;

/// How long `test` stays without a word.
const TEST: Duration = Duration::from_secs(3600);

/// The actions of `nixos-rebuild`.
#[derive(Debug, Subcommand)]
pub enum NixCommand {
    /// Activate a version now; keep it when it is healthy and confirmed
    Switch(ActionArgs),
    /// Let the next reboot try a version; keep it when that boot is healthy
    Boot(ActionArgs),
    /// Activate a version for an hour; `backstop confirm` keeps it
    Test(ActionArgs),
    /// Show what activating a version would do
    #[command(alias = "plan")]
    DryActivate(WantedArgs),
    /// Build a flake's version, and link to it as `result`
    Build(BuildArgs),
}

/// A version and how to try it.
#[derive(Debug, Args)]
pub struct ActionArgs {
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    trial: TrialArgs,
}

/// What `backstop nix build` takes.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The flake, and the host in it
    #[arg(long, value_name = "FLAKE[#HOST]", default_value = ".")]
    flake: String,
    /// Where the link goes
    #[arg(long, value_name = "LINK", default_value = "result")]
    out_link: PathBuf,
    /// Pass this on to `nix build`
    #[arg(
        long = "build-option",
        value_name = "OPTION",
        allow_hyphen_values = true
    )]
    flags: Vec<String>,
}

/// Runs the command.
pub fn run(command: NixCommand, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let (args, live) = match command {
        NixCommand::DryActivate(wanted) => {
            nix_host(&session)?;
            let wanted = wanted.find(&session, &session.policy()?, global)?;
            return plan::show(&wanted, None, &mut session, global, out);
        }
        NixCommand::Build(args) => return build(args, nix_host(&session)?, global, out),
        NixCommand::Switch(args) => (args, true),
        NixCommand::Test(mut args) => {
            args.trial = args.trial.kept_only_by_word(TEST);
            (args, true)
        }
        NixCommand::Boot(mut args) => {
            args.trial = args.trial.without_reboot();
            (args, false)
        }
    };
    nix_host(&session)?;
    let kind = if live {
        TrialKind::Live
    } else {
        TrialKind::Boot
    };
    let trial = args.trial.of_kind(kind);
    switch::begin(args.wanted, trial, &mut session, global, out)
}

fn nix_host(session: &Session) -> anyhow::Result<&NixHost> {
    match &session.host {
        AnyHost::Nix(host) => Ok(host),
        AnyHost::Image(_) => bail!("this is an image host, not a Nix host"),
    }
}

fn build(
    args: BuildArgs,
    host: &NixHost,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let here = std::env::current_dir().context("cannot tell where the link should go")?;
    let link = here.join(args.out_link);
    let built = wanted::built(host, &args.flake, args.flags, Some(link), global)?;
    out.line(built.version.as_str())?;
    out.json(&serde_json::json!({
        "version": built.version,
        "source": built.source,
        "provenance": built.provenance,
    }))?;
    Ok(Ended::Done)
}
