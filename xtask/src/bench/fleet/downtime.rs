//! For how long a service is away when a new version breaks it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, ensure};
use testbed::nixos::{Fault, HostOptions, NixHost, Site, Toplevel};

use super::deployer::{self, Deployer, Programs};
use super::prober::Prober;
use crate::bench::middle;

/// A deployer that has not ended by then is stopped.
const LIMIT: u32 = 120;
/// A service that is not back so long after its deployer's end stays away.
const BACK: Duration = Duration::from_secs(60);
/// What is the same for both deployers: deploy-rs's usual value.
const SETTINGS: &str = "confirm_timeout = '30s'\n";

/// A way in which a version breaks a service.
pub struct Break {
    name: &'static str,
    version: fn(Toplevel) -> Toplevel,
    /// What backstop is told of the service.
    check: &'static str,
}

const BREAKS: [Break; 6] = [
    Break {
        name: "the service does not start",
        version: |v| app(v, "ExecStart=/bin/sh -c 'exit 7'\nType=oneshot\n"),
        check: "",
    },
    Break {
        name: "it starts, and dies after 0.3 s",
        version: |v| v.with(Fault::AppDies),
        check: "",
    },
    Break {
        name: "it listens on another port",
        version: |v| app(v, "ExecStart=/bin/busybox httpd -f -p 8080 -h /run\n"),
        check: "",
    },
    Break {
        name: "it answers with errors (backstop is told to ask it from here)",
        version: |v| app(v, "ExecStart=/bin/busybox httpd -f -p 80 -h /run\n"),
        check: "[defaults.checks.site]\nhttp = 'http://{host}/version'\n",
    },
    Break {
        name: "the host's network goes down",
        version: |v| v.with(Fault::NetworkCut),
        check: "",
    },
    Break {
        name: "the service is fine, sshd lets nobody in",
        version: |v| v.with(Fault::SshRefuses),
        check: "",
    },
];

/// What a deployment came to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Came {
    /// The service's time away.
    away: f64,
    /// Whether it came back.
    back: bool,
    /// Whether the host runs the old version again.
    old: bool,
    /// How the deployer ended.
    status: Option<i32>,
}

/// Those with this in their name.
pub fn ways(only: &str) -> Vec<&'static Break> {
    BREAKS.iter().filter(|b| b.name.contains(only)).collect()
}

/// Measures, and adds a table to the report.
pub fn run(
    site: &Site,
    programs: &Programs,
    ways: &[&Break],
    times: usize,
    report: &mut String,
) -> anyhow::Result<()> {
    let who: Vec<Deployer> = programs
        .deployers()
        .into_iter()
        .filter(|d| matches!(d, Deployer::Backstop | Deployer::DeployRs))
        .collect();
    head(report, times, &who)?;
    for (number, kind) in ways.iter().copied().enumerate() {
        println!("{}", kind.name);
        let mut rows = vec![Vec::new(); who.len()];
        for time in 0..times {
            for (deployer, row) in who.iter().zip(&mut rows) {
                let name = format!("d{number}{time}{}", deployer.word());
                let came = once(site, *deployer, kind, &name)
                    .with_context(|| format!("{}: {}", deployer.name(), kind.name))?;
                println!("  {}: {came:?}", deployer.name());
                row.push(came);
            }
        }
        write!(report, "| {} |", kind.name)?;
        for row in rows {
            write!(report, " {} |", told(&row))?;
        }
        writeln!(report)?;
    }
    Ok(())
}

fn head(report: &mut String, times: usize, who: &[Deployer]) -> std::fmt::Result {
    writeln!(
        report,
        "## How long a service is away\n\nA version restarts a service and breaks it; from \
         another host, it is asked for a page every 5 ms. Seconds without an answer, all in all: \
         medians of {times}, the least and the most. Both deployers confirm within 30 s. A service \
         that is not back {} s after its deployer's end stays away. Load {}.\n",
        BACK.as_secs(),
        crate::bench::load()
    )?;
    write!(report, "| what the new version does |")?;
    for deployer in who {
        write!(report, " {} |", deployer.name())?;
    }
    writeln!(report, "\n| --- |{}", " --- |".repeat(who.len()))
}

/// The application's unit with something else in it.
fn app(version: Toplevel, service: &str) -> Toplevel {
    version.etc(
        "systemd/system/app.service",
        &format!(
            "[Unit]\nDescription=The application\nAfter=network.service\n[Service]\n{service}"
        ),
    )
}

/// One host gets a good version from a deployer, then one that breaks the service.
fn once(site: &Site, deployer: Deployer, kind: &Break, name: &str) -> anyhow::Result<Came> {
    let hosts = [site.host(name, &HostOptions::default())?];
    let host = &hosts[0];
    let good = site.build(&Toplevel::new(&format!("{name}-good")))?;
    let task = deployer.prepare(site, &good, &hosts)?;
    let output = site.operator().output(&task.script)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the good version: {said}");
    task.check(host)?;

    let bad = (kind.version)(Toplevel::new(&format!("{name}-bad")));
    let bad = site.build(&bad)?;
    let task = deployer.prepare(site, &bad, &hosts)?;
    if deployer == Deployer::Backstop {
        let names = [host.name()];
        let fleet = deployer::fleet(&bad, &names, SETTINGS)? + kind.check;
        deployer::put(site, "fleet.toml", &fleet)?;
    }
    breaks(site, host, &task, &good)
}

fn breaks(site: &Site, host: &NixHost, task: &deployer::Task, good: &str) -> anyhow::Result<Came> {
    let service: SocketAddr = format!("{}:80", host.address()).parse()?;
    let prober = Prober::start(&site.operator().network(), service)?;
    ensure!(prober.wait(BACK), "the service never answered");
    let script = format!("timeout {LIMIT} sh -c '{}'", task.script);
    let status = site.operator().output(&script)?.status.code();
    let mut back = prober.wait(BACK);
    // It may be between two breakdowns.
    std::thread::sleep(Duration::from_secs(1));
    back &= prober.wait(BACK);
    let away = prober.stop()?.as_secs_f64();
    Ok(Came {
        away,
        back,
        old: host.active()? == good,
        status,
    })
}

/// A cell.
fn told(row: &[Came]) -> String {
    let away: Vec<f64> = row.iter().map(|c| c.away).collect();
    let least = away.iter().copied().fold(f64::INFINITY, f64::min);
    let most = away.iter().copied().fold(0.0, f64::max);
    let count = |is: fn(&Came) -> bool| row.iter().filter(|c| is(c)).count();
    let all = row.len();
    let time = if count(|c| c.back) == all {
        format!("{:.2} ({least:.2}–{most:.2})", middle(away))
    } else {
        format!("stays away ({} of {all})", all - count(|c| c.back))
    };
    let version = match count(|c| c.old) {
        n if n == all => "back on the old version".to_owned(),
        0 => "keeps the new version".to_owned(),
        n => format!("back on the old version {n} times of {all}"),
    };
    let statuses: std::collections::BTreeSet<String> = row
        .iter()
        .map(|c| c.status.map_or("a signal".to_owned(), |s| s.to_string()))
        .collect();
    let statuses: Vec<String> = statuses.into_iter().collect();
    format!("{time}; {version}; exit status {}", statuses.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_it_is_told() {
        let came = |away, back, old, status| Came {
            away,
            back,
            old,
            status: Some(status),
        };
        let well = [came(1.0, true, true, 4), came(2.0, true, true, 4)];
        assert_eq!(
            told(&well),
            "1.50 (1.00–2.00); back on the old version; exit status 4"
        );
        let badly = [came(60.0, false, false, 0), came(1.0, true, true, 1)];
        assert_eq!(
            told(&badly),
            "stays away (1 of 2); back on the old version 1 times of 2; exit status 0, 1"
        );
    }
}
