//! `ostree static-delta show`

use std::path::Path;

use ostree::delta::{Endianness, PartReport};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::verbs::print;

pub const COMMAND: Command = Command {
    name: "show",
    summary: "Show what is in a delta",
    words: "DELTA",
    works: Works::OnRepo,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let name = cx.word(0, "DELTA must be specified")?;
    let repo = cx.repo()?;
    let report = match name.contains('/') {
        true => repo.show_delta_file(Path::new(&name))?,
        false => repo.show_delta(&name.parse()?)?,
    };
    writeln!(cx.out, "Delta: {}", report.name)?;
    writeln!(
        cx.out,
        "Signed: {}",
        if report.signed { "yes" } else { "no" }
    )?;
    match report.name.from {
        Some(from) => writeln!(cx.out, "From: {from}")?,
        None => writeln!(cx.out, "From <scratch>")?,
    }
    writeln!(cx.out, "To: {}", report.name.to)?;
    let order = match report.endianness {
        Endianness::Little => "little",
        Endianness::Big => "big",
    };
    let guessed = if report.guessed { " (heuristic)" } else { "" };
    writeln!(cx.out, "Endianness: {order}{guessed}")?;
    writeln!(cx.out, "Timestamp: {}", report.timestamp)?;
    writeln!(cx.out, "Number of parents: {}", report.parents)?;
    let fallbacks = &report.fallbacks;
    writeln!(cx.out, "Number of fallback entries: {}", fallbacks.len())?;
    let (left, left_unpacked) = (
        fallbacks.iter().map(|f| f.size).sum::<u64>(),
        fallbacks.iter().map(|f| f.unpacked).sum::<u64>(),
    );
    total(cx, "Fallback ", left, left_unpacked)?;
    writeln!(cx.out, "Number of parts: {}", report.parts.len())?;
    for (i, part) in report.parts.iter().enumerate() {
        self::part(cx, i, part)?;
    }
    let size: u64 = report.parts.iter().map(|p| p.size).sum();
    let unpacked: u64 = report.parts.iter().map(|p| p.unpacked).sum();
    total(cx, "Part ", size, unpacked)?;
    total(cx, "", left + size, left_unpacked + unpacked)
}

/// One part.
fn part(cx: &mut Cx, i: usize, part: &PartReport) -> anyhow::Result<()> {
    writeln!(
        cx.out,
        "PartMeta{i}: nobjects={} size={} usize={}",
        part.objects, part.size, part.unpacked
    )?;
    Ok(writeln!(
        cx.out,
        "PartPayload{i}: nmode={} nxattr={} blobsize={} opsize={}",
        part.modes, part.xattrs, part.data, part.operations
    )?)
}

/// A sum of sizes, packed and unpacked.
fn total(cx: &mut Cx, of: &str, size: u64, unpacked: u64) -> anyhow::Result<()> {
    writeln!(cx.out, "Total {of}Size: {size} ({})", print::size(size))?;
    Ok(writeln!(
        cx.out,
        "Total {of}Uncompressed Size: {unpacked} ({})",
        print::size(unpacked)
    )?)
}
