//! The most memory that a pull over HTTP takes: of many files, and of a long one.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::ensure;

use super::work::{Answers, Into, Kind};
use super::{Program, Served, archive, build, command, follow, make, warm};
use crate::peak::watch;
use crate::scratch::Scratch;

/// The length of the long file, in bytes.
const LONG: u64 = 512 << 20;
/// What a pull may take, however much it brings, in KiB.
const BOUND: u64 = 128 << 10;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Memory {
    /// The program to measure, instead of building it
    #[arg(long)]
    backstop: Option<PathBuf>,
    /// The tree with many files
    #[arg(default_value = "/usr/share")]
    tree: PathBuf,
}

/// Measures, and prints a table.
pub fn run(options: &Memory) -> anyhow::Result<()> {
    let backstop = match &options.backstop {
        Some(program) => program.canonicalize()?,
        None => build(&PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/..")))?,
    };
    let mut report = String::new();
    table(&mut report, &backstop, &options.tree)?;
    println!("{report}");
    Ok(())
}

/// Adds the table to a report; fails where backstop takes more than it may.
pub fn table(report: &mut String, backstop: &Path, tree: &Path) -> anyhow::Result<()> {
    let (files, bytes) = warm::tree(tree)?;
    let scratch = Scratch::new(bytes + LONG)?;
    let long = scratch.dir().join("long");
    std::fs::create_dir(&long)?;
    noise(&long.join("file"))?;
    writeln!(
        report,
        "\nThe most memory of a pull over HTTP, archive to bare; the server's not counted.\n"
    )?;
    writeln!(report, "| pull of | ostree MB | backstop MB |")?;
    writeln!(report, "| --- | ---: | ---: |")?;
    let many = format!("{files} files, {} MB", bytes >> 20);
    let one = format!("one file of {} MB that cannot be compressed", LONG >> 20);
    for (name, from) in [(many, tree), (one, &long)] {
        let dir = scratch
            .dir()
            .join(if from == long { "one" } else { "many" });
        std::fs::create_dir(&dir)?;
        archive(&dir, backstop, from)?;
        let served = Served::start(&dir, backstop, Answers::Many)?;
        let theirs = pull(Program::Ostree, backstop, &dir, &served)?;
        let ours = pull(Program::Backstop, backstop, &dir, &served)?;
        writeln!(report, "| {name} | {} | {} |", theirs >> 10, ours >> 10)?;
        ensure!(ours <= BOUND, "a pull of {name} took {ours} KiB");
    }
    Ok(())
}

/// Pulls into a new repository; the most memory, in KiB.
fn pull(program: Program, backstop: &Path, dir: &Path, served: &Served) -> anyhow::Result<u64> {
    let dir = dir.join(format!("{program:?}"));
    std::fs::create_dir(&dir)?;
    let into = Into {
        name: "pulled",
        kind: Kind::Following(Answers::Many),
    };
    make(program, backstop, &dir, into)?;
    follow(program, backstop, &dir, into, served)?;
    let args = ["pull", "--repo=pulled", "origin", "main"].map(OsStr::new);
    Ok(watch(&mut command(program, backstop, &dir, args))?.peak)
}

/// Writes the long file: bytes that cannot be compressed, the same each time.
#[expect(clippy::disallowed_methods, reason = "measured, not kept")]
fn noise(path: &Path) -> anyhow::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    let mut state = 88_172_645_463_325_252u64;
    for _ in 0..LONG / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.flush()?)
}
