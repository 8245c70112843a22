//! `cargo xtask bench fleet`: the deployer beside what people use today.
//!
//! All deployers bring the same versions to the same hosts, in turns. The hosts are
//! those of the tests: real systemd, sshd and `/nix`, on one machine. Logins are
//! counted from the hosts' own journals.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, ensure};
use testbed::fixture;
use testbed::nixos::{HostOptions, NixHost, Site, Toplevel};

mod deployer;
mod downtime;
mod logins;
mod prober;
mod report;

use deployer::{Deployer, Programs};
use report::{Series, Taken};

/// Whoever takes one host after the other is left out with more hosts.
const MOST_SERIAL: usize = 20;
/// The round in which programs are brought along.
const FIRST: &str = "first";

/// What is measured, and with what.
#[derive(Debug, clap::Args)]
pub struct Fleet {
    /// How many hosts each series has
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    hosts: Vec<usize>,
    /// How many rounds each series has; the median counts
    #[arg(long, value_delimiter = ',', default_values_t = [9, 5, 3])]
    rounds: Vec<usize>,
    /// How often a service is broken in each way; none: downtime is not measured
    #[arg(long, default_value_t = 3)]
    breaks: usize,
    /// Only the ways with this in their name
    #[arg(long, default_value = "", hide_default_value = true)]
    only: String,
    /// How many KiB each version brings that no other has
    #[arg(long, default_value_t = 512)]
    payload: u32,
    /// The backstop to measure; else a static one is built
    #[arg(long)]
    program: Option<PathBuf>,
    /// `deploy` of deploy-rs, built from its sources
    #[arg(long, requires = "activate_rs")]
    deploy_rs: Option<PathBuf>,
    /// `activate` of deploy-rs
    #[arg(long, requires = "deploy_rs")]
    activate_rs: Option<PathBuf>,
    /// `colmena`, built from its sources
    #[arg(long)]
    colmena: Option<PathBuf>,
    /// What to call the report, after the date
    #[arg(long, default_value = "fleet")]
    name: String,
}

/// The stage that everything is measured on.
struct Stage {
    // The hosts are switched off before their network goes.
    hosts: Vec<NixHost>,
    site: Site,
    programs: Programs,
    // Last, so that nothing runs in it any more when it goes.
    _dir: tempfile::TempDir,
}

/// Measures, prints the tables and writes them below `bench/`.
pub fn run(options: &Fleet) -> anyhow::Result<()> {
    ensure!(
        options.hosts.len() == options.rounds.len(),
        "give as many numbers of rounds as of hosts"
    );
    let stage = Stage::set(options)?;
    let mut report = report::head(&stage.programs, options.payload)?;
    let mut numbers = options.hosts.iter().zip(&options.rounds);
    // The first deployment brings the programs along: it is shown once, by itself.
    if let Some(most) = options.hosts.iter().max() {
        println!("first deployment to {most} hosts");
        let first = stage.series(*most, 1, options.payload, FIRST)?;
        report::first(&mut report, &first)?;
    }
    numbers.try_for_each(|(hosts, rounds)| {
        println!("{hosts} hosts, {rounds} rounds");
        let series = stage.series(*hosts, *rounds, options.payload, "round")?;
        report::series(&mut report, &series)
    })?;
    if options.breaks > 0 {
        let fleet = &stage.programs;
        let ways = downtime::ways(&options.only);
        downtime::run(&stage.site, fleet, &ways, options.breaks, &mut report)?;
    }
    writeln!(report, "\nLoad at the end: {}.", super::load())?;
    println!("\n{report}");
    super::save(&options.name, &report)
}

/// Hosts share the machine's limit on watches, of which each systemd and deploy-rs
/// take some: it is none that a real host would meet.
fn room_to_watch() -> anyhow::Result<()> {
    const WANTED: u32 = 4096;
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances")?;
    ensure!(
        limit.trim().parse::<u32>()? >= WANTED,
        "do first: sysctl fs.inotify.max_user_instances={WANTED}"
    );
    Ok(())
}

impl Stage {
    fn set(options: &Fleet) -> anyhow::Result<Self> {
        let backstop = match &options.program {
            Some(path) => path.canonicalize()?,
            None => crate::fixed::build()?,
        };
        room_to_watch()?;
        let dir = fixture::work_dir()?;
        let site = Site::new(&dir.path().join("site"), &backstop)?;
        let programs = Programs {
            backstop,
            deploy_rs: options.deploy_rs.clone().zip(options.activate_rs.clone()),
            colmena: options.colmena.clone(),
        };
        programs.install(&site)?;
        let most = options.hosts.iter().max().copied().unwrap_or_default();
        println!("switching {most} hosts on");
        let names: Vec<String> = (1..=most).map(|n| format!("n{n}")).collect();
        let hosts = site.hosts(&names, &HostOptions::default())?;
        Ok(Self {
            hosts,
            site,
            programs,
            _dir: dir,
        })
    }

    /// Rounds with some of the hosts: every deployer brings a version of its own,
    /// then the same once more.
    fn series(
        &self,
        hosts: usize,
        rounds: usize,
        payload: u32,
        name: &str,
    ) -> anyhow::Result<Series> {
        let mut deployers = self.programs.deployers();
        deployers.retain(|deployer| match name {
            FIRST => deployer.brings_program(),
            _ => hosts <= MOST_SERIAL || *deployer != Deployer::DeployRs,
        });
        let mut series = Series::new(hosts, &deployers);
        for round in 0..rounds {
            // Who is first changes.
            for deployer in &deployers {
                let version = format!("{name}-{hosts}-{round}-{}", deployer.word());
                let version = self.site.build(&Toplevel::new(&version).payload(payload))?;
                let task = deployer.prepare(&self.site, &version, &self.hosts[..hosts])?;
                for unchanged in [false, true] {
                    let taken = self
                        .measure(&task, hosts)
                        .with_context(|| format!("{} with {hosts} hosts", deployer.name()))?;
                    series.add(*deployer, unchanged, taken);
                }
                println!("  round {}: {}", round + 1, series.last(*deployer));
            }
            deployers.rotate_left(1);
        }
        series.load = super::load();
        Ok(series)
    }

    fn measure(&self, task: &deployer::Task, hosts: usize) -> anyhow::Result<Taken> {
        let hosts = &self.hosts[..hosts];
        let before = logins::count(hosts)?;
        let mut command = self.site.operator().command(&task.script)?;
        let started = Instant::now();
        let output = command.output()?;
        let seconds = started.elapsed().as_secs_f64();
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {said}", output.status);
        for host in hosts {
            task.check(host)?;
        }
        Ok(Taken {
            seconds,
            logins: logins::count(hosts)? - before,
        })
    }
}
