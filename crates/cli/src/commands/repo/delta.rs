//! `backstop repo delta`

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, Subcommand};
use ostree::delta::{ApplyOptions, DeltaName, DeltaOptions, DeltaReport, Endianness};
use serde_json::json;

use super::Context;
use super::sign::KeySource;
use crate::exit::Ended;

/// Make and use static deltas: what turns one version into another.
#[derive(Debug, Args)]
pub struct Delta {
    #[command(subcommand)]
    command: DeltaCommand,
}

/// A subcommand of `backstop repo delta`.
#[derive(Debug, Subcommand)]
enum DeltaCommand {
    /// Make a delta
    Generate(Box<Generate>),
    /// Apply a delta that is in files
    ApplyOffline(ApplyOffline),
    /// List the deltas in the repository
    List,
    /// Show what is in a delta
    Show {
        /// FROM-TO, TO, or the path of a superblock
        delta: String,
    },
    /// Check a delta's signature
    Verify(Verify),
    /// Remove a delta
    Delete {
        /// FROM-TO, or TO
        delta: String,
    },
    /// List the versions that have an index of the deltas to them
    Indexes,
    /// Bring the indexes of deltas up to date
    Reindex {
        /// Only that of this version
        #[arg(long, value_name = "REV")]
        to: Option<String>,
    },
}

/// Make a delta.
#[derive(Debug, Args)]
struct Generate {
    /// The version that the delta makes
    to: String,
    /// The version that it starts from; the one before `to` when not given
    #[arg(long, value_name = "REV")]
    from: Option<String>,
    /// Start from nothing
    #[arg(long, conflicts_with = "from")]
    empty: bool,
    /// Make one file, with the parts in it
    #[arg(long)]
    inline: bool,
    /// Do nothing if there is such a delta
    #[arg(short = 'n', long)]
    if_not_exists: bool,
    /// Leave out new files larger than this, to be fetched by themselves; 0: none
    #[arg(long, value_name = "MB", default_value_t = 4)]
    min_fallback_size: u64,
    /// How much a part may hold
    #[arg(long, value_name = "MB", default_value_t = 32)]
    max_chunk_size: u64,
    /// Make no patch of files that together are larger than this
    #[arg(long, value_name = "MB", default_value_t = 128)]
    max_bsdiff_size: u64,
    /// Only copy from old files, make no patches
    #[arg(long)]
    disable_bsdiff: bool,
    /// Byte order of sizes: "l" for little, "B" for big
    #[arg(long, value_name = "ENDIAN", default_value = "l", value_parser = ["l", "B"])]
    set_endianness: String,
    /// Write the superblock to this file, the parts beside it
    #[arg(long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// Sign with this key; "-" reads it from the standard input
    #[arg(long, value_name = "KEY")]
    sign: Vec<String>,
    /// Sign with the keys in a file
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// The kind of signature
    #[arg(long, default_value = "ed25519", value_parser = ["ed25519", "dummy"])]
    sign_type: String,
}

/// Whose signature counts.
#[derive(Debug, Args)]
struct Keys {
    /// Public keys that are trusted; without any, those of the host
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// The kind of signature
    #[arg(long, default_value = "ed25519", value_parser = ["ed25519", "dummy"])]
    sign_type: String,
    /// Read trusted keys from a file
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// Trust the keys in this directory
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
}

/// Apply a delta that is in files.
#[derive(Debug, Args)]
struct ApplyOffline {
    /// The superblock, or the directory with it
    path: PathBuf,
    /// Accept the delta only if it is signed
    #[arg(long)]
    require_signature: bool,
    #[command(flatten)]
    keys: Keys,
}

/// Check a delta's signature.
#[derive(Debug, Args)]
struct Verify {
    /// FROM-TO, TO, or the path of a superblock
    delta: String,
    #[command(flatten)]
    keys: Keys,
}

impl Keys {
    fn source(self) -> anyhow::Result<KeySource> {
        Ok(KeySource {
            scheme: self.sign_type.parse()?,
            keys: self.keys,
            file: self.keys_file,
            dir: self.keys_dir,
            gpg_home: None,
        })
    }
}

impl Delta {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        match self.command {
            DeltaCommand::Generate(generate) => generate.run(cx),
            DeltaCommand::ApplyOffline(apply) => apply.run(cx),
            DeltaCommand::Verify(verify) => verify.run(cx),
            DeltaCommand::Show { delta } => {
                let repo = cx.open()?;
                let report = match delta.contains('/') {
                    true => repo.show_delta_file(Path::new(&delta))?,
                    false => repo.show_delta(&delta.parse()?)?,
                };
                show(cx, &report)
            }
            DeltaCommand::List => {
                let all = cx.open()?.deltas()?;
                names(cx, all.iter().map(DeltaName::to_string))
            }
            DeltaCommand::Indexes => {
                let all = cx.open()?.delta_indexes()?;
                names(cx, all.iter().map(ToString::to_string))
            }
            DeltaCommand::Delete { delta } => {
                cx.open()?.delete_delta(&delta.parse()?)?;
                Ok(Ended::Done)
            }
            DeltaCommand::Reindex { to } => {
                let repo = cx.open()?;
                let to = to.map(|to| repo.resolve(&to)).transpose()?;
                repo.reindex_deltas(to.as_ref())?;
                Ok(Ended::Done)
            }
        }
    }
}

fn names(cx: &mut Context<'_>, all: impl Iterator<Item = String>) -> anyhow::Result<Ended> {
    for name in all {
        cx.out.json(&json!({ "name": name }))?;
        cx.out.line(&name)?;
    }
    Ok(Ended::Done)
}

impl Generate {
    fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let to = repo.resolve(&self.to)?;
        let from = match (&self.from, self.empty) {
            (_, true) => None,
            (Some(from), _) => Some(repo.resolve(from)?),
            (None, _) => Some(repo.resolve(&format!("{}^", self.to))?),
        };
        let name = DeltaName::new(from, to);
        if self.if_not_exists && repo.has_delta(&name)? {
            cx.out.line(&format!("the delta {name} is there already"))?;
            return Ok(Ended::Done);
        }
        let options = self.options()?;
        let monitor = cx.monitor();
        let made = repo.generate_delta(name, &options, &monitor)?;
        cx.out.json(&json!({
            "delta": name.to_string(),
            "parts": made.parts,
            "size": made.size,
            "objects": made.objects,
            "fallbacks": made.fallbacks,
            "files_copied": made.copied,
            "files_patched": made.patched,
            "files_whole": made.whole,
        }))?;
        cx.out.line(&format!(
            "{name}: {} bytes in {} parts; {} files of old ones, {} whole, {} left out",
            made.size,
            made.parts,
            made.copied + made.patched,
            made.whole,
            made.fallbacks
        ))?;
        Ok(Ended::Done)
    }

    fn options(self) -> anyhow::Result<DeltaOptions> {
        let megabytes = |n: u64| n.saturating_mul(1_000_000);
        let source = KeySource {
            scheme: self.sign_type.parse()?,
            keys: self.sign,
            file: self.keys_file,
            dir: None,
            gpg_home: None,
        };
        let signers = if source.is_named() {
            source.signers()?
        } else {
            Vec::new()
        };
        if self.max_chunk_size == 0 {
            bail!("--max-chunk-size must be at least 1");
        }
        Ok(DeltaOptions {
            inline: self.inline,
            min_fallback_size: megabytes(self.min_fallback_size),
            max_chunk_size: megabytes(self.max_chunk_size),
            max_bsdiff_size: megabytes(self.max_bsdiff_size),
            bsdiff: !self.disable_bsdiff,
            endianness: match self.set_endianness.as_str() {
                "B" => Endianness::Big,
                _ => Endianness::Little,
            },
            output: self.filename,
            signers,
            ..DeltaOptions::default()
        })
    }
}

impl ApplyOffline {
    fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let source = self.keys.source()?;
        let wanted = self.require_signature || source.is_named();
        let options = ApplyOptions {
            trust: wanted.then(|| source.trust()).transpose()?,
            must_be_signed: wanted,
        };
        let monitor = cx.monitor();
        let applied = repo.apply_delta(&self.path, &options, &monitor)?;
        cx.out.json(&json!({
            "delta": applied.name.to_string(),
            "commit": applied.name.to.to_string(),
            "objects_written": applied.objects_written,
            "bytes_written": applied.bytes_written,
        }))?;
        cx.out.line(&format!(
            "{}: {} objects, {} bytes written",
            applied.name.to, applied.objects_written, applied.bytes_written
        ))?;
        Ok(Ended::Done)
    }
}

impl Verify {
    fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let trust = self.keys.source()?.trust()?;
        let vouched = match self.delta.contains('/') {
            true => repo.verify_delta_file(Path::new(&self.delta), &trust)?,
            false => repo.verify_delta(&self.delta.parse()?, &trust)?,
        };
        cx.out
            .json(&json!({ "delta": self.delta, "by": vouched.to_string() }))?;
        cx.out.line(&format!("signed by {vouched}"))?;
        Ok(Ended::Done)
    }
}

fn show(cx: &mut Context<'_>, report: &DeltaReport) -> anyhow::Result<Ended> {
    let sizes: u64 = report.parts.iter().map(|p| p.size).sum();
    cx.out.json(&json!({
        "from": report.name.from.map(|f| f.to_string()),
        "to": report.name.to.to_string(),
        "signed": report.signed,
        "timestamp": report.timestamp,
        "parts": report.parts.len(),
        "parts_size": sizes,
        "fallbacks": report.fallbacks.iter().map(|f| f.object.to_string()).collect::<Vec<_>>(),
    }))?;
    let out = &mut *cx.out;
    out.line(&format!("Delta: {}", report.name))?;
    out.line(&format!(
        "Signed: {}",
        if report.signed { "yes" } else { "no" }
    ))?;
    match report.name.from {
        Some(from) => out.line(&format!("From: {from}"))?,
        None => out.line("From <scratch>")?,
    }
    out.line(&format!("To: {}", report.name.to))?;
    out.line(&format!("Timestamp: {}", super::date(report.timestamp)))?;
    for fallback in &report.fallbacks {
        out.line(&format!(
            "Left out: {} ({} bytes)",
            fallback.object, fallback.size
        ))?;
    }
    for (i, part) in report.parts.iter().enumerate() {
        let c = &part.counts;
        out.line(&format!(
            "Part {i}: {} bytes for {} objects of {} bytes; {} bytes of data, {} of operations",
            part.size, part.objects, part.unpacked, part.data, part.operations
        ))?;
        out.line(&format!(
            "  splice {}, open {}, write {}, set-source {}, unset-source {}, patch {}, close {}",
            c.splice, c.open, c.write, c.set_source, c.unset_source, c.patch, c.close
        ))?;
    }
    out.line(&format!(
        "Total: {sizes} bytes in {} parts",
        report.parts.len()
    ))?;
    Ok(Ended::Done)
}
