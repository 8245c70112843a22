//! `ostree static-delta generate`

use ostree::delta::{DeltaName, DeltaOptions, Endianness};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};
use crate::verbs::signing;

pub const COMMAND: Command = Command {
    name: "generate",
    summary: "Make a delta",
    words: "[TO]",
    works: Works::OnRepo,
    options: &[
        value("from", "REV", "The commit that it starts from"),
        flag("empty", "Start from nothing"),
        flag("inline", "Make one file, with the parts in it"),
        value("to", "REV", "The commit that it makes"),
        flag("disable-bsdiff", "Make no patches"),
        flag("if-not-exists", "Do nothing where there is one").short('n'),
        value("set-endianness", "ENDIAN", "Byte order of sizes, l or B"),
        flag("swap-endianness", "The other byte order"),
        value("min-fallback-size", "MB", "Larger new files are left out"),
        value("max-bsdiff-size", "MB", "Larger files are not patched"),
        value("max-chunk-size", "MB", "How much a part may hold"),
        value(
            "filename",
            "FILE",
            "Where it goes, instead of the repository",
        ),
        value("sign", "KEY", "Sign it with this key"),
        value("sign-type", "NAME", "What kind of key that is"),
        value("keys-file", "FILE", "Sign it with these keys, one a line"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let given = &cx.given;
    let Some(target) = given.rest.first().map(String::as_str).or(given.value("to")) else {
        return fail("TO revision must be specified");
    };
    let to = repo.resolve(target)?;
    let from = match (given.value("from"), given.has("empty")) {
        (Some(_), true) => return fail("Cannot specify both --empty and --from=REV"),
        (_, true) => None,
        (Some(from), _) => Some(repo.resolve(from)?),
        (None, _) => Some(repo.resolve(&format!("{target}^"))?),
    };
    let name = DeltaName::new(from, to);
    if given.has("if-not-exists") && repo.has_delta(&name)? {
        return Ok(writeln!(cx.out, "Delta {name} already exists.")?);
    }
    let options = options(cx)?;
    writeln!(cx.out, "Generating static delta:")?;
    match from {
        Some(from) => writeln!(cx.out, "  From: {from}")?,
        None => writeln!(cx.out, "  From: empty")?,
    }
    writeln!(cx.out, "  To:   {to}")?;
    let made = repo.generate_delta(name, &options, &cx.monitor())?;
    writeln!(cx.err, "{} objects in {} parts", made.objects, made.parts)?;
    writeln!(cx.err, "fallback for {} objects", made.fallbacks)?;
    writeln!(cx.err, "rollsum={} objects", made.copied)?;
    // There it is decided before anything is compared.
    Ok(writeln!(cx.err, "bsdiff={} objects", made.patchable)?)
}

fn options(cx: &Cx) -> anyhow::Result<DeltaOptions> {
    let given = &cx.given;
    let bytes = |option: &str, plain: u64| {
        let megabytes = given.number::<u64>(option)?;
        Ok::<_, anyhow::Error>(megabytes.map_or(plain, |mb| mb.saturating_mul(1_000_000)))
    };
    let plain = DeltaOptions::default();
    let endianness = match (given.value("set-endianness"), given.has("swap-endianness")) {
        (Some("B"), _) | (None, true) => Endianness::Big,
        (Some("l") | None, _) => Endianness::Little,
        (Some(other), _) => return fail(format!("Invalid endianness '{other}'")),
    };
    Ok(DeltaOptions {
        inline: given.has("inline"),
        min_fallback_size: bytes("min-fallback-size", plain.min_fallback_size)?,
        max_chunk_size: bytes("max-chunk-size", plain.max_chunk_size)?,
        max_bsdiff_size: bytes("max-bsdiff-size", plain.max_bsdiff_size)?,
        bsdiff: !given.has("disable-bsdiff"),
        endianness,
        output: given.value("filename").map(Into::into),
        signers: signing::signers(cx)?,
        ..plain
    })
}
