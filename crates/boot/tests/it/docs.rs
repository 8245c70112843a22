//! The description of the format is true.

use boot::{ConfigId, LoadFailure, StateSector};

const PAGE: &str = include_str!("../../../../docs/formats/boot-state.md");

#[test]
fn the_page_describes_the_sector_byte_by_byte() {
    let bytes = StateSector::fresh(ConfigId::of(b""), 3).encode();
    let mut offset = 0;
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let row = format!("| {offset} | {} | `", line.len());
        let row = PAGE.lines().find_map(|l| l.strip_prefix(&row));
        let row = row.unwrap_or_else(|| panic!("no row for offset {offset}"));
        let word = row.split('`').next().unwrap();
        assert!(line.starts_with(word.as_bytes()), "{offset}: {word}");
        offset += line.len();
    }
    assert_eq!(offset, 512);
}

#[test]
fn the_page_names_every_failure_and_key() {
    for failure in LoadFailure::ALL {
        assert!(PAGE.contains(&format!("| `{}` |", failure.code())));
    }
    assert!(PAGE.contains(boot::config::TRIAL_ARG));
    let panic = format!("`panic={}`", boot::config::TRIAL_PANIC_SECONDS);
    assert!(PAGE.contains(&panic));
}
