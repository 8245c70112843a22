//! What is written down.

use std::fmt::Write as _;

use super::deployer::{Deployer, Programs};
use crate::bench::{load, middle, processor};

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    pub seconds: f64,
    /// Of all hosts together.
    pub logins: usize,
}

/// What one deployer took in all rounds.
#[derive(Debug)]
struct Runs {
    deployer: Deployer,
    changed: Vec<Taken>,
    unchanged: Vec<Taken>,
}

/// Rounds with so many hosts.
#[derive(Debug)]
pub struct Series {
    hosts: usize,
    runs: Vec<Runs>,
    /// How busy the machine was.
    pub load: String,
}

impl Series {
    pub fn new(hosts: usize, deployers: &[Deployer]) -> Self {
        let runs = deployers.iter().map(|deployer| Runs {
            deployer: *deployer,
            changed: Vec::new(),
            unchanged: Vec::new(),
        });
        Self {
            hosts,
            runs: runs.collect(),
            load: load(),
        }
    }

    pub fn add(&mut self, deployer: Deployer, unchanged: bool, taken: Taken) {
        for runs in self.runs.iter_mut().filter(|r| r.deployer == deployer) {
            match unchanged {
                true => runs.unchanged.push(taken),
                false => runs.changed.push(taken),
            }
        }
    }

    /// A line for whoever waits.
    pub fn last(&self, deployer: Deployer) -> String {
        let runs = self.runs.iter().find(|r| r.deployer == deployer);
        let last = |all: &[Taken]| {
            let taken = all.last().copied();
            taken.map_or_else(String::new, |t| {
                format!("{:.2} s, {} logins", t.seconds, t.logins)
            })
        };
        runs.map_or_else(String::new, |r| {
            let name = r.deployer.name();
            format!("{name}: {}; again {}", last(&r.changed), last(&r.unchanged))
        })
    }
}

/// What was measured with.
pub fn head(programs: &Programs, payload: u32) -> anyhow::Result<String> {
    let mut text = String::new();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    writeln!(text, "# The deployer beside its like\n")?;
    writeln!(text, "`cargo xtask {}`\n", arguments.join(" "))?;
    let size = std::fs::metadata(&programs.backstop)?.len() as f64 / 1e6;
    writeln!(
        text,
        "{}. Hosts are containers with systemd, sshd and `/nix` of their own, \
         their toplevels imitations of NixOS's; all of them, the network and the deployer share \
         these cores, and the network has no delay. Every version brings {payload} KiB that no \
         other has, and restarts one service. Versions are built beforehand: nobody evaluates. \
         Each deployer brings one version to all hosts, then the same again, in turns with the \
         others, who is first changes; each run must end with status 0 and the version on every \
         host. Logins are counted in the journals of the hosts' sshds. backstop is a static build \
         of {size:.0} MB and confirms over a new connection; deploy-rs runs with magic rollback \
         and without its checks of the flake; colmena neither confirms nor goes back; `nix copy` \
         activates nothing. \"20 at once\" is one process a host, as `ssh` and `nix copy` are \
         run here, too: deploy-rs by itself takes one host after the other, and is left out with \
         more than 20; colmena has `--parallel 20`.\n",
        processor()?
    )?;
    for missing in programs.missing() {
        writeln!(text, "{missing} was not given and is not measured.\n")?;
    }
    Ok(text)
}

/// The first deployment, which brings programs along.
pub fn first(text: &mut String, series: &Series) -> anyhow::Result<()> {
    writeln!(
        text,
        "## The first deployment to {} hosts\n\nOnce each; backstop and deploy-rs bring their \
         programs along. Load {}.\n",
        series.hosts, series.load
    )?;
    writeln!(text, "| | s | logins a host |\n| --- | ---: | ---: |")?;
    for runs in &series.runs {
        if let Some(taken) = runs.changed.first() {
            let logins = per_host(taken.logins, series.hosts);
            let name = runs.deployer.name();
            writeln!(text, "| {name} | {:.2} | {logins} |", taken.seconds)?;
        }
    }
    Ok(writeln!(text)?)
}

/// A table of medians, with the quickest and the slowest run.
pub fn series(text: &mut String, series: &Series) -> anyhow::Result<()> {
    let rounds = series.runs.first().map_or(0, |r| r.changed.len());
    let hosts = series.hosts;
    writeln!(
        text,
        "## {hosts} host{}\n\nMedians of {rounds} rounds, the quickest and the slowest. \
         Load {}.\n",
        if hosts == 1 { "" } else { "s" },
        series.load
    )?;
    writeln!(
        text,
        "| | new version, s | logins a host | backstop's time is | \
         same version, s | logins a host | backstop's time is |"
    )?;
    writeln!(text, "| --- | ---: | ---: | ---: | ---: | ---: | ---: |")?;
    let ours = series
        .runs
        .iter()
        .find(|r| r.deployer == Deployer::Backstop);
    for runs in &series.runs {
        write!(text, "| {} |", runs.deployer.name())?;
        let of = |pick: fn(&Runs) -> &[Taken]| {
            cells(pick(runs), ours.map(pick).unwrap_or_default(), hosts)
        };
        writeln!(text, "{}{}", of(|r| &r.changed), of(|r| &r.unchanged))?;
    }
    Ok(writeln!(text)?)
}

/// Time, logins, and how our time compares round by round.
fn cells(taken: &[Taken], ours: &[Taken], hosts: usize) -> String {
    let seconds: Vec<f64> = taken.iter().map(|t| t.seconds).collect();
    let least = seconds.iter().copied().fold(f64::INFINITY, f64::min);
    let most = seconds.iter().copied().fold(0.0, f64::max);
    let logins = taken.iter().map(|t| t.logins).max().unwrap_or_default();
    let pairs = ours.iter().zip(taken);
    let share = middle(pairs.map(|(a, b)| a.seconds / b.seconds).collect());
    format!(
        " {:.2} ({least:.2}–{most:.2}) | {} | {share:.2} |",
        middle(seconds),
        per_host(logins, hosts)
    )
}

fn per_host(logins: usize, hosts: usize) -> String {
    match logins % hosts.max(1) {
        0 => (logins / hosts.max(1)).to_string(),
        _ => format!("{:.2}", logins as f64 / hosts as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_compared_round_by_round() {
        let run = |seconds, logins| Taken { seconds, logins };
        let ours = [run(1.0, 20), run(3.0, 20), run(2.0, 20)];
        let theirs = [run(4.0, 40), run(4.0, 40), run(4.0, 41)];
        assert_eq!(
            cells(&theirs, &ours, 10),
            " 4.00 (4.00–4.00) | 4.10 | 0.50 |"
        );
        assert_eq!(cells(&ours, &ours, 10), " 2.00 (1.00–3.00) | 2 | 1.00 |");
    }
}
