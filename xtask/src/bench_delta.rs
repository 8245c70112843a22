//! Deltas of edited libraries, made by both programs: time, memory, size.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::peak::{Watched, watch};
use crate::scratch::Scratch;

/// So many libraries of the system are edited, of about so many bytes.
const LIBRARIES: usize = 60;
const BYTES: u64 = 73_000_000;

/// Ways to make a delta: a name, and arguments that both programs know.
const WAYS: [(&str, &[&str]); 2] = [
    ("delta of edited libraries", &[]),
    ("the same, without bsdiff", &["--disable-bsdiff"]),
];

/// What making a delta took.
#[derive(Debug, Clone, Copy)]
struct Taken {
    seconds: f64,
    /// Most memory at once, in KiB.
    memory: u64,
    /// Bytes of the delta.
    size: u64,
}

/// Measures, and adds a table to the report.
pub fn run(rounds: usize, backstop: &Path, report: &mut String) -> anyhow::Result<()> {
    let found = libraries()?;
    let bytes = found.iter().map(|(_, size)| size).sum::<u64>();
    let scratch = Scratch::new(bytes * 4)?;
    let dir = scratch.dir();
    prepare(&dir, &found)?;
    writeln!(
        report,
        "\n{} libraries of {} MB; in each, 20 bytes near the start and eight times 8 bytes are \
         changed. Medians of {rounds} rounds; memory is the peak of the process.\n",
        found.len(),
        bytes / 1_000_000
    )?;
    writeln!(
        report,
        "| work | ostree s | backstop s | times as fast | ostree MB | backstop MB | ostree bytes | \
         backstop bytes |"
    )?;
    writeln!(
        report,
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )?;
    for (name, args) in WAYS {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            let ostree = || generate(Command::new("ostree").arg("static-delta"), &dir, args);
            let mine = || generate(Command::new(backstop).args(["repo", "delta"]), &dir, args);
            if round % 2 == 0 {
                theirs.push(ostree()?);
                ours.push(mine()?);
            } else {
                ours.push(mine()?);
                theirs.push(ostree()?);
            }
        }
        let (theirs, ours) = (median(theirs), median(ours));
        writeln!(
            report,
            "| {name} | {:.2} | {:.2} | {:.1} | {} | {} | {} | {} |",
            theirs.seconds,
            ours.seconds,
            theirs.seconds / ours.seconds,
            theirs.memory >> 10,
            ours.memory >> 10,
            theirs.size,
            ours.size
        )?;
    }
    Ok(())
}

/// The largest libraries of the system, each once, up to 8 MB.
fn libraries() -> anyhow::Result<Vec<(PathBuf, u64)>> {
    let dir = Path::new("/usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let mut found = Vec::new();
    for entry in
        std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?
    {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let stat = entry.metadata()?;
        if stat.is_file() && name.contains(".so") && stat.len() < 8_000_000 {
            found.push((entry.path(), stat.len()));
        }
    }
    found.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut sum = 0;
    found.retain(|(_, size)| {
        let fits = sum + size <= BYTES;
        sum += if fits { *size } else { 0 };
        fits
    });
    found.truncate(LIBRARIES);
    ensure!(
        !found.is_empty(),
        "there are no libraries in {}",
        dir.display()
    );
    Ok(found)
}

/// A repository with the libraries, and with what became of them.
#[expect(clippy::disallowed_methods, reason = "what is measured, made once")]
fn prepare(dir: &Path, found: &[(PathBuf, u64)]) -> anyhow::Result<()> {
    let tree = dir.join("libraries");
    std::fs::create_dir(&tree)?;
    let repo = "--repo=deltas";
    ostree(dir, &["init", repo, "--mode=bare-user"])?;
    for edited in [false, true] {
        for (i, (path, _)) in found.iter().enumerate() {
            let mut bytes = std::fs::read(path)?;
            if edited {
                edit(&mut bytes, i as u64);
            }
            std::fs::write(tree.join(path.file_name().context("no name")?), bytes)?;
        }
        ostree(dir, &["commit", repo, "-b", "main", "libraries"])?;
    }
    rustix::fs::sync();
    Ok(())
}

/// Changes a file a little: 20 bytes where a build identifier stands, and eight times
/// 8 bytes anywhere.
fn edit(bytes: &mut [u8], seed: u64) {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    let places = [(0x2c0, 20)];
    let len = bytes.len() as u64;
    let anywhere: Vec<_> = (0..8).map(|_| (next() % len, 8)).collect();
    for (at, count) in places.into_iter().chain(anywhere) {
        let from = (at as usize).min(bytes.len());
        let to = (from + count).min(bytes.len());
        bytes[from..to]
            .iter_mut()
            .for_each(|byte| *byte ^= next() as u8);
    }
}

fn ostree(dir: &Path, args: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("ostree")
        .args(args)
        .current_dir(dir)
        .stdout(Stdio::null())
        .status()?;
    ensure!(done.success(), "ostree {args:?} failed");
    Ok(())
}

/// Makes a delta in an empty directory.
fn generate(command: &mut Command, dir: &Path, args: &[&str]) -> anyhow::Result<Taken> {
    let out = dir.join("out");
    std::fs::create_dir(&out)?;
    command
        .args(["generate", "--repo=deltas", "--filename=out/superblock"])
        .args(["--min-fallback-size=0", "--from=main^"])
        .args(args)
        .arg("main")
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let Watched { seconds, peak } = watch(command)?;
    let mut size = 0;
    for entry in std::fs::read_dir(&out)? {
        size += entry?.metadata()?.len();
    }
    std::fs::remove_dir_all(&out)?;
    Ok(Taken {
        seconds,
        memory: peak,
        size,
    })
}

fn median(mut all: Vec<Taken>) -> Taken {
    all.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    all[all.len() / 2]
}
