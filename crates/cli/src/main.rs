//! `backstop` upgrades Linux hosts and puts them back when the upgrade goes wrong.

use clap::Parser;

/// Upgrade this host, and put it back by itself when the upgrade goes wrong.
#[derive(Debug, Parser)]
#[command(name = "backstop", version)]
struct Args {}

fn main() {
    Args::parse();
}
