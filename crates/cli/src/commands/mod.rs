//! One file per command.

use clap::Subcommand;

use crate::args::Args;
use crate::exit::Ended;
use crate::output::Output;

mod adopt;
mod bundle;
mod check;
mod confirm;
mod deadman;
mod demo;
mod fleet;
mod follow;
mod forgive;
mod going_down;
mod health;
mod history;
mod install;
mod kargs;
mod nix;
mod pin;
mod plan;
mod power_cycle;
mod repo;
mod republish;
mod rollback;
mod settle;
mod status;
mod supervise;
mod switch;
mod target;
mod tree;
mod trial;
mod upgrade;
mod wanted;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what runs, what boots next, and what an upgrade waits for
    Status(status::StatusArgs),
    /// Try the newest version of what this host follows; keep it or put the host back
    Upgrade(upgrade::UpgradeArgs),
    /// Try a version by name; keep it or put the host back
    Switch(switch::SwitchArgs),
    /// Show what an upgrade would change, and whether it takes a reboot
    Plan(plan::PlanArgs),
    /// Say that the version on trial is good, over a connection opened after the change
    Confirm(confirm::ConfirmArgs),
    /// End a trial, or go back to the last good version
    Rollback(rollback::RollbackArgs),
    /// Run the health checks now
    Check(check::CheckArgs),
    /// Show past upgrades, how they ended and why
    History(history::HistoryArgs),
    /// Let a version that failed be tried again
    Forgive(forgive::ForgiveArgs),
    /// Keep a version over every cleaning up
    Pin(pin::PinArgs),
    /// Let cleaning up remove a version again
    Unpin(pin::PinArgs),
    /// Show and change kernel arguments: the image's and this host's
    Kargs(kargs::KargsArgs),
    /// The actions of `nixos-rebuild`, under their names, as trials
    #[command(subcommand)]
    Nix(nix::NixCommand),
    /// Put the first version on a disk, an image file or a directory
    Install(install::InstallArgs),
    /// Take over a host that `ostree admin` made and GRUB boots, or hand it back
    Adopt(adopt::AdoptArgs),
    /// Upgrade many hosts over SSH, in waves, each on trial
    Fleet(fleet::FleetArgs),
    /// Put a version into one signed file, for hosts that no network reaches
    #[command(subcommand)]
    Bundle(bundle::BundleCommand),
    /// Make plain root filesystems deployable
    #[command(subcommand)]
    Tree(tree::TreeCommand),
    /// Work on a repository of system versions
    Repo(repo::RepoArgs),
    /// See four upgrades happen, in a directory or in a virtual machine
    Demo(demo::DemoArgs),
    /// Run by the unit that sees an open upgrade through
    #[command(hide = true)]
    Supervise,
    /// Run early at boot: find out what an upgrade under way came to
    #[command(hide = true)]
    Settle,
    /// Run at the end of boot: check the version on trial
    #[command(hide = true)]
    Health,
    /// Run when the host shuts down: what a version that boots next is owed
    #[command(hide = true)]
    GoingDown,
    /// Run by a timer when a time is over
    #[command(hide = true)]
    Deadman(deadman::DeadmanArgs),
    /// Read an upgrade's journal aloud until it ends
    #[command(hide = true)]
    Follow(follow::FollowArgs),
    /// The host's end of a deployer's connection
    #[command(hide = true)]
    Target,
    /// Run when `ostree` changed the boot entries: publish them for the boot loader
    #[command(hide = true)]
    Republish,
    /// Cut a directory machine's power and start it again
    #[command(hide = true)]
    PowerCycle(power_cycle::PowerCycleArgs),
}

/// Runs the command.
pub fn run(args: Args, out: &mut Output) -> anyhow::Result<Ended> {
    let global = &args.global;
    match args.command {
        Command::Status(args) => status::run(args, global, out),
        Command::Upgrade(args) => upgrade::run(args, global, out),
        Command::Switch(args) => switch::run(args, global, out),
        Command::Plan(args) => plan::run(args, global, out),
        Command::Confirm(args) => confirm::run(args, global, out),
        Command::Rollback(args) => rollback::run(args, global, out),
        Command::Check(args) => check::run(args, global, out),
        Command::History(args) => history::run(args, global, out),
        Command::Forgive(args) => forgive::run(args, global, out),
        Command::Republish => republish::run(global, out),
        Command::Pin(args) => pin::run(args, true, global, out),
        Command::Unpin(args) => pin::run(args, false, global, out),
        Command::Kargs(args) => kargs::run(args, global, out),
        Command::Nix(command) => nix::run(command, global, out),
        Command::Install(args) => install::run(args, global, out),
        Command::Adopt(args) => adopt::run(args, global, out),
        Command::Fleet(args) => fleet::run(args, global, out),
        Command::Bundle(command) => bundle::run(command, global, out),
        Command::Tree(command) => tree::run(command, global, out),
        Command::Repo(args) => repo::run(args, global, out),
        Command::Demo(args) => demo::run(args, global, out),
        Command::Supervise => supervise::run(global),
        Command::Settle => settle::run(global),
        Command::Health => health::run(global, out),
        Command::GoingDown => going_down::run(global),
        Command::Deadman(args) => deadman::run(args, global),
        Command::Follow(args) => follow::run(args, global, out),
        Command::Target => target::run(),
        Command::PowerCycle(args) => power_cycle::run(args, global),
    }
}
