//! `backstop demo`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, Subcommand};
use demo::{DirectoryDemo, Narrator, VmDemo, shop, vm};
use durable::RealFs;
use testbed::{Firmware, packages};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::{Output, Tone};
use crate::progress::Terminal;

/// What `backstop demo` takes.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct DemoArgs {
    /// Where the host lives [default: a new directory under the temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Use a virtual machine: Debian, GRUB, systemd, sshd (needs root on Debian)
    #[arg(long)]
    vm: bool,
    /// With --vm: start it by UEFI instead of BIOS
    #[arg(long, requires = "vm")]
    efi: bool,
    /// With --vm: install the Debian packages that are missing
    #[arg(long, requires = "vm")]
    install: bool,
    /// Only make the host, at its first version
    #[arg(long)]
    no_stories: bool,
    /// End a demonstration: stop its processes and remove its directory
    #[arg(long, value_name = "DIR", conflicts_with = "dir")]
    remove: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<DemoCommand>,
}

/// What runs inside the demonstration's host.
#[derive(Debug, Subcommand)]
enum DemoCommand {
    /// The host's service
    #[command(hide = true)]
    Serve {
        /// The deployment that it belongs to
        #[arg(long)]
        root: PathBuf,
        /// Where it listens, on 127.0.0.1
        #[arg(long)]
        port: u16,
    },
}

/// Runs the command.
pub fn run(args: DemoArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    if let Some(DemoCommand::Serve { root, port }) = args.command {
        shop::serve(&root, port)?;
        return Ok(Ended::Done);
    }
    let fs = Arc::new(RealFs);
    if let Some(dir) = args.remove {
        demo::remove(&*fs, &dir)?;
        out.line(&format!("{} is gone.", dir.display()))?;
        return Ok(Ended::Done);
    }
    if args.vm {
        return virtual_machine(&args, global, out);
    }
    let dir = match args.dir {
        Some(dir) => std::path::absolute(dir)?,
        None => unused_directory(&std::env::temp_dir()),
    };
    let program = std::env::current_exe()?;
    let narrator = Teller { out: &*out };
    let monitor = Terminal::new(global.json);
    let demo = DirectoryDemo::create(fs, &dir, &program, &narrator, &monitor)?;
    if !args.no_stories {
        demo.tell(&narrator)?;
    }
    next(&dir, out)?;
    Ok(Ended::Done)
}

/// The stories on a virtual machine.
fn virtual_machine(args: &DemoArgs, global: &Global, out: &Output) -> anyhow::Result<Ended> {
    let missing = packages::missing(vm::NEEDS);
    if args.install {
        packages::install(&missing)?;
    } else if !missing.is_empty() {
        bail!(
            "the virtual machine needs these Debian packages: {0}\n\
             Install them with `apt-get install {0}`, or let `backstop demo --vm --install` do it",
            missing.join(" ")
        );
    }
    let dir = match &args.dir {
        Some(dir) => std::path::absolute(dir)?,
        // Disk images are too large for a temporary directory in memory.
        None => unused_directory(Path::new("/var/tmp")),
    };
    let firmware = if args.efi {
        Firmware::Efi
    } else {
        Firmware::Bios
    };
    let narrator = Teller { out };
    let monitor = Terminal::new(global.json);
    let program = std::env::current_exe()?;
    let mut demo = VmDemo::create(&dir, &program, firmware, &vm::STORIES, &narrator, &monitor)?;
    demo.tell(&narrator)?;
    Ok(Ended::Done)
}

fn unused_directory(parent: &Path) -> PathBuf {
    let name = |n: u32| parent.join(format!("backstop-demo-{n}"));
    let unused = |dir: &PathBuf| !dir.exists();
    (1..).map(name).find(unused).unwrap_or_else(|| name(0))
}

/// What to do with the host now.
fn next(dir: &Path, out: &mut Output) -> std::io::Result<()> {
    let backstop = format!("backstop --sysroot {}", dir.display());
    out.line("")?;
    out.line(&out.tone(Tone::Strong, "Go on by hand"))?;
    out.line(&format!("The host lives in {}.", dir.display()))?;
    for (command, what) in [
        ("status", "what runs, and what is known"),
        ("history", "what happened"),
        ("check --list", "its health checks"),
        (
            "upgrade --check",
            "the followed version failed here: it is not tried again",
        ),
        ("forgive VERSION", "let it be tried again"),
        (
            "upgrade --live --confirm-within 60s",
            "try it; `confirm` or `rollback` ends it",
        ),
        ("power-cycle --force", "pull the plug, at any time"),
    ] {
        out.line(&format!(
            "  {backstop} {command:<36} {}",
            out.tone(Tone::Dim, what)
        ))?;
    }
    out.line(&format!(
        "To end it: backstop demo --remove {}",
        dir.display()
    ))
}

/// Tells the story on standard output.
struct Teller<'a> {
    out: &'a Output,
}

impl Teller<'_> {
    fn print(&self, line: &str) {
        // A reader that went away misses the rest of the story, no more.
        let _ = self.out.clone().line(line);
    }
}

impl Narrator for Teller<'_> {
    fn chapter(&self, title: &str) {
        self.print("");
        self.print(&self.out.tone(Tone::Strong, title));
    }
    fn say(&self, text: &str) {
        self.print(text);
    }
    fn command(&self, line: &str) {
        self.print(&self.out.tone(Tone::Dim, &format!("$ {line}")));
    }
    fn output(&self, line: &str) {
        self.print(&format!("  {line}"));
    }
}
