//! The project's own tasks: `cargo xtask test`, `cargo xtask bench`.

use clap::Parser;

/// The project's own tasks.
#[derive(Debug, Parser)]
struct Args {}

fn main() {
    Args::parse();
}
