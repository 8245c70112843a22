//! The project's own tasks: `cargo xtask test`, `cargo xtask ci`, `cargo xtask bench`,
//! `cargo xtask conformance`, `cargo xtask loader-vs-model`,
//! `cargo xtask crash-replay`.
#![allow(clippy::print_stdout, reason = "this program talks to a person")]

use clap::Parser;

mod bench;
mod bench_delta;
mod boot_failures;
mod conformance;
mod fixed;
mod fuzz;
mod peak;
mod picture;
mod scratch;
mod step;
mod test;

/// The project's own tasks.
#[derive(Debug, Parser)]
enum Task {
    /// Run every test that this machine can run, and say what was left out
    Test {
        /// Don't install missing Debian packages, even as root
        #[arg(long)]
        no_install: bool,
        /// Other releases of Debian, too: their roots take a minute each to build
        #[arg(long)]
        all_releases: bool,
    },
    /// What the project's CI runs: format, lints, documentation, then `test`, `fuzz` and `conformance`
    Ci,
    /// Build the backstop that `backstop fleet` brings along, linked statically
    Static,
    /// Film a rollout to hosts in directories, as an SVG (needs sshd and tmux)
    Picture {
        /// The backstop to film
        #[arg(long, default_value = "target/release/backstop-static")]
        program: std::path::PathBuf,
        /// How many hosts
        #[arg(long, default_value_t = 20)]
        hosts: usize,
        /// The picture
        #[arg(default_value = "docs/rollout.svg")]
        to: std::path::PathBuf,
    },
    /// Measure the repository against Debian's ostree, or the deployer against its
    /// like, into bench/
    Bench(bench::Bench),
    /// Feed made-up bytes to each parser for a bounded time
    Fuzz(fuzz::Fuzz),
    /// Let upgrades fail after power-on in every way, on virtual machines (root, two to three hours)
    BootFailures(boot_failures::BootFailures),
    /// Put every boot state before GRUB's own script engine, and compare it with the model
    LoaderVsModel {
        /// The release of Debian whose GRUB it is, instead of this machine's
        #[arg(long, value_parser = ["13"])]
        debian: Option<String>,
        /// Only those states that are tried with the tests
        #[arg(long)]
        sample: bool,
    },
    /// Let trials on Nix hosts go wrong on virtual machines, row by row (root)
    NixMachines,
    /// Take over hosts that `ostree admin` made, on virtual machines (root)
    AdoptMachines {
        /// Only these rows of `crates/faults/tests/it/adopted`
        rows: Vec<String>,
    },
    /// Take power from a real machine's disk at any write of its upgrades, and judge what is left
    CrashReplay {
        /// Points beyond the writes of the EFI system partition
        #[arg(long, default_value_t = 200)]
        points: usize,
    },
    /// Run Debian's tests of `ostree` against backstop
    Conformance(conformance::Conformance),
}

fn main() -> anyhow::Result<()> {
    match Task::parse() {
        Task::Test {
            no_install,
            all_releases,
        } => test::run(!no_install, all_releases),
        Task::Ci => {
            test::lint()?;
            test::run(true, false)?;
            fuzz::in_ci()?;
            conformance::in_ci()
        }
        Task::Static => fixed::run(),
        Task::Picture { program, hosts, to } => picture::run(&program, hosts, &to),
        Task::Bench(options) => options.run(),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::BootFailures(options) => boot_failures::run(&options),
        Task::LoaderVsModel { debian, sample } => test::loader_vs_model(debian.as_deref(), sample),
        Task::NixMachines => test::nix_machines(),
        Task::AdoptMachines { rows } => test::adopt_machines(&rows),
        Task::CrashReplay { points } => test::crash_replay(points),
        Task::Conformance(options) => conformance::run(&options),
    }
}
