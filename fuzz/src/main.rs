//! Feeds made-up bytes to each parser of what comes from outside.
//!
//! One program for all of them, for building it takes longer than running it:
//! `BACKSTOP_FUZZ` names the parser. `cargo xtask fuzz` builds and runs it.

#![no_main]

mod files;
mod formats;
mod many;
mod repository;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

/// Takes any bytes; panics where a promise is broken.
type Parser = fn(&[u8]);

/// The parsers by name. `xtask` has the same list, with the seeds of each.
const PARSERS: [(&str, Parser); 20] = [
    ("metadata", formats::metadata),
    ("value-text", formats::value_text),
    ("objects", formats::objects),
    ("summary", formats::summary),
    ("delta-superblock", formats::superblock),
    ("delta-part", formats::part),
    ("delta-patch", formats::patch),
    ("arriving", repository::arriving),
    ("tar", repository::tar),
    ("config", repository::config),
    ("sector", files::sector),
    ("boot-entry", files::boot_entry),
    ("journal", files::journal),
    ("bundle", files::bundle),
    ("wire", files::wire),
    ("check", files::check),
    ("metalink", files::metalink),
    ("file-contexts", files::file_contexts),
    ("many-answer", many::answer),
    ("many-query", many::query),
];

fn chosen() -> Parser {
    static CHOSEN: OnceLock<Parser> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let name = std::env::var("BACKSTOP_FUZZ").unwrap_or_default();
        let found = PARSERS.iter().find(|(known, _)| *known == name);
        let names = PARSERS.map(|(name, _)| name).join(", ");
        found
            .unwrap_or_else(|| panic!("BACKSTOP_FUZZ must be one of: {names}"))
            .1
    })
}

fuzz_target!(|bytes: &[u8]| chosen()(bytes));
