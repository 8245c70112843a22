//! `cargo xtask picture`: a rollout to twenty hosts, recorded as it happens.
//!
//! The hosts are directories, behind a real sshd on this machine; the terminal is
//! tmux's. What the terminal shows is looked at several times a second, and becomes
//! a moving picture.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

mod frame;
mod site;

use frame::Frame;
use site::Site;

/// The terminal's size.
const COLUMNS: usize = 92;
const ROWS: usize = 30;
/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(200);
/// No rollout of the picture takes longer.
const LONGEST: Duration = Duration::from_secs(600);
/// The picture's last frame stays so long.
const LAST: Duration = Duration::from_secs(6);

/// Makes the picture with `program`.
pub fn run(program: &Path, hosts: usize, to: &Path) -> anyhow::Result<()> {
    let program = std::fs::canonicalize(program)
        .with_context(|| format!("there is no {}: build it first", program.display()))?;
    let site = Site::new(&program, hosts)?;
    let frames = record(&site)?;
    println!("{} frames", frames.len());
    Ok(std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)
        .and_then(|mut file| {
            std::io::Write::write_all(&mut file, frame::svg(&frames).as_bytes())
        })?)
}

/// What one look at the terminal showed, and since when.
struct Look {
    since: Duration,
    frame: Frame,
}

fn tmux(socket: &Path, words: &[&str]) -> anyhow::Result<String> {
    let mut command = Command::new("tmux");
    command.arg("-S").arg(socket).args(words);
    let out = command.output().context("cannot run tmux")?;
    if !out.status.success() {
        bail!("tmux: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Deploys in a terminal, and looks at it until it is over.
fn record(site: &Site) -> anyhow::Result<Vec<Look>> {
    let socket: PathBuf = site.dir().join("tmux");
    let (columns, rows) = (COLUMNS.to_string(), ROWS.to_string());
    let over = site.dir().join("over");
    let line = format!("{}; touch {}; sleep 30", site.deploy(), over.display());
    let start = [
        "-f",
        "/dev/null",
        "new-session",
        "-d",
        "-x",
        &columns,
        "-y",
        &rows,
        &line,
        ";",
        "set",
        "status",
        "off",
    ];
    tmux(&socket, &start)?;
    let started = Instant::now();
    let mut looks: Vec<Look> = Vec::new();
    while started.elapsed() < LONGEST {
        let ended = over.exists();
        let shown = tmux(&socket, &["capture-pane", "-e", "-p"])?;
        let frame = Frame::read(&shown);
        if looks.last().is_none_or(|last| last.frame != frame) {
            let since = started.elapsed();
            looks.push(Look { since, frame });
        }
        if ended {
            tmux(&socket, &["kill-server"])?;
            return Ok(looks);
        }
        std::thread::sleep(EVERY);
    }
    bail!("the rollout did not end")
}
