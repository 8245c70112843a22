//! `cargo xtask boot-failures`: every failure after power-on, on virtual machines.
#![allow(
    clippy::disallowed_methods,
    reason = "writes a document of the checkout"
)]

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use faults::{CASES, Case, Finding, Hosts, Platform, table};
use testbed::{Release, fixture, packages};

/// Where the findings are kept.
const DOCUMENT: &str = "docs/boot-failures.md";

/// What `cargo xtask boot-failures` takes.
#[derive(Debug, clap::Args)]
pub struct BootFailures {
    /// Only with this firmware and boot loader; may be given often
    #[arg(long, value_parser = ["grub-bios", "grub-efi", "systemd-boot"])]
    on: Vec<String>,
    /// The release of Debian: its system and its boot loader
    #[arg(long, default_value = "12", value_parser = ["12", "13"])]
    debian: String,
    /// Write the findings into docs/boot-failures.md
    #[arg(long)]
    document: bool,
    /// Keep the consoles' logs in this directory
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Only these cases
    cases: Vec<String>,
}

impl BootFailures {
    fn release(&self) -> Release {
        match self.debian.as_str() {
            "13" => Release::Trixie,
            _ => Release::Bookworm,
        }
    }
}

/// Runs the cases, one after another.
pub fn run(options: &BootFailures) -> anyhow::Result<()> {
    let needs = [
        packages::ROOT,
        packages::DISK,
        packages::MACHINE,
        packages::DAMAGE,
    ];
    packages::require(&needs)?;
    let dir = fixture::work_dir()?;
    let program = fixture::binary()?;
    let at = dir.path().join("hosts");
    let mut hosts = Hosts::create(options.release(), &at, &program, &monitor::Silent)?;
    let mut findings = Vec::new();
    let mut failed = 0;
    for platform in platforms(options) {
        for case in chosen(options)?.into_iter().filter(|c| c.fits(platform)) {
            match hosts.run(case, platform, &monitor::Silent) {
                Ok(finding) => {
                    println!("{}", table::line(&finding));
                    findings.push(finding);
                }
                Err(e) => {
                    println!("FAILED {} {}: {e}", platform.name(), case.name);
                    failed += 1;
                }
            }
        }
    }
    keep_logs(options, &hosts)?;
    if failed > 0 {
        bail!("{failed} cases did not end as they should");
    }
    if options.document {
        document(options.release(), &findings)?;
    }
    println!("{} cases ended on a good system", findings.len());
    Ok(())
}

fn platforms(options: &BootFailures) -> Vec<Platform> {
    let wanted = |p: &Platform| options.on.is_empty() || options.on.iter().any(|n| n == p.name());
    Platform::ALL.into_iter().filter(wanted).collect()
}

fn chosen(options: &BootFailures) -> anyhow::Result<Vec<&'static Case>> {
    if options.cases.is_empty() {
        return Ok(CASES.iter().collect());
    }
    let find = |name: &String| faults::case::find(name).with_context(|| format!("no case {name}"));
    options.cases.iter().map(find).collect()
}

fn keep_logs(options: &BootFailures, hosts: &Hosts) -> anyhow::Result<()> {
    if let Some(to) = &options.logs {
        let mut cp = std::process::Command::new("cp");
        testbed::program::run(cp.arg("-rT").arg(hosts.logs()).arg(to))?;
    }
    Ok(())
}

fn document(release: Release, findings: &[Finding]) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(DOCUMENT);
    let mut text = std::fs::read_to_string(&path)?;
    for (name, platforms) in [
        ("GRUB", &[Platform::GrubBios, Platform::GrubEfi][..]),
        ("systemd-boot", &[Platform::SystemdBoot]),
    ] {
        if findings.iter().any(|f| platforms.contains(&f.platform)) {
            let table = table::markdown(findings, platforms);
            let name = match release {
                Release::Bookworm => name.to_owned(),
                Release::Trixie => format!("{name}, Debian 13"),
            };
            let filled = table::into_document(&text, &name, &table);
            text = filled.with_context(|| format!("{DOCUMENT} has no place for {name}"))?;
        }
    }
    std::fs::write(&path, text)?;
    Ok(())
}
