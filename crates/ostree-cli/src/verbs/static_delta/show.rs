//! `ostree static-delta show`

use std::path::Path;

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
    writeln!(cx.out, "Timestamp: {}", report.timestamp)?;
    writeln!(cx.out, "Number of parts: {}", report.parts.len())?;
    for (i, part) in report.parts.iter().enumerate() {
        writeln!(
            cx.out,
            "PartMeta{i}: nobjects={} size={} usize={}",
            part.objects, part.size, part.unpacked
        )?;
    }
    writeln!(
        cx.out,
        "Number of fallback entries: {}",
        report.fallbacks.len()
    )?;
    let size: u64 = report.parts.iter().map(|p| p.size).sum();
    let unpacked: u64 = report.parts.iter().map(|p| p.unpacked).sum();
    writeln!(cx.out, "Total Part Size: {size} ({})", print::size(size))?;
    writeln!(
        cx.out,
        "Total Part Uncompressed Size: {unpacked} ({})",
        print::size(unpacked)
    )?;
    Ok(())
}
