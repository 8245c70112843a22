//! Machines that `ostree admin` made, taken over while they run.
//!
//! One each time; all of them with `BACKSTOP_ADOPT=all`, which is what
//! `cargo xtask adopt-machines` does.

mod host;
mod story;

use std::path::Path;

use testbed::versions::Recipe;
use testbed::{Fixture, Release, fixture, packages};

use host::{FIRST, Grub};
use story::Story;

/// A machine, and what is done to it.
struct Row {
    name: &'static str,
    /// What its system, its GRUB and its `ostree` are of.
    release: Release,
    grub: Grub,
    /// Whether the EFI system partition is mounted at `/boot/efi`.
    esp: bool,
    /// Where the state sector must come to be.
    sector: &'static str,
    tell: fn(&mut Story),
}

/// Runs with all tests; the others take their time.
const ALWAYS: &str = "bios";

const ROWS: [Row; 10] = [
    in_boot(ALWAYS, Release::Bookworm, Grub::Bios, |story| {
        story.upgrades("v11", 11);
        story.is_published_by_nobody();
        story.is_handed_back();
    }),
    in_boot("efi", Release::Bookworm, Grub::Efi, handed_back_at_last),
    in_boot("menu", Release::Bookworm, Grub::Efi, |story| {
        story.is_not_confirmed("v13", FIRST);
        story.is_chosen_by_hand(13, FIRST);
    }),
    in_esp("ostree", Release::Bookworm, Grub::Efi, |story| {
        story.is_upgraded_by_ostree("v11", 11);
        story.is_staged_by_ostree("v12", 12);
        story.upgrades("v13", 13);
        story.is_handed_back();
        story.is_upgraded_by_ostree("v14", 14);
    }),
    in_esp("signed", Release::Bookworm, Grub::Signed, one_good_one_bad),
    in_esp(
        "secure-boot",
        Release::Bookworm,
        Grub::SecureBoot,
        one_good_one_bad,
    ),
    in_boot("bios-13", Release::Trixie, Grub::Bios, |story| {
        one_good_one_bad(story);
        story.is_published_by_nobody();
        story.is_handed_back();
    }),
    in_boot("efi-13", Release::Trixie, Grub::Efi, handed_back_at_last),
    in_esp("signed-13", Release::Trixie, Grub::Signed, one_good_one_bad),
    in_esp(
        "secure-boot-13",
        Release::Trixie,
        Grub::SecureBoot,
        one_good_one_bad,
    ),
];

/// A machine whose `/boot` has the state sector.
const fn in_boot(name: &'static str, release: Release, grub: Grub, tell: fn(&mut Story)) -> Row {
    Row {
        name,
        release,
        grub,
        esp: false,
        sector: "/boot/backstop/state",
        tell,
    }
}

/// A machine whose EFI system partition is mounted, and has it.
const fn in_esp(name: &'static str, release: Release, grub: Grub, tell: fn(&mut Story)) -> Row {
    Row {
        name,
        release,
        grub,
        esp: true,
        sector: "/boot/efi/backstop/state",
        tell,
    }
}

fn one_good_one_bad(story: &mut Story) {
    story.upgrades("v11", 11);
    story.is_rolled_back("v12", 11);
}

fn handed_back_at_last(story: &mut Story) {
    one_good_one_bad(story);
    story.is_handed_back();
}

/// The rows that are wanted: those that `BACKSTOP_ADOPT` names.
fn wanted() -> Vec<&'static Row> {
    let names = std::env::var("BACKSTOP_ADOPT").unwrap_or_else(|_| ALWAYS.into());
    let named = |row: &&Row| names == "all" || names.split(' ').any(|name| name == row.name);
    ROWS.iter().filter(named).collect()
}

#[test]
fn machines_of_ostree_are_taken_over_and_upgraded() {
    let rows = wanted();
    assert!(!rows.is_empty(), "BACKSTOP_ADOPT names no row");
    let mut needs = vec![
        packages::ROOT,
        packages::DISK,
        packages::MACHINE,
        packages::DAMAGE,
        packages::CONFORMANCE,
    ];
    let signed = |grub| matches!(grub, Grub::Signed | Grub::SecureBoot);
    if rows.iter().any(|row| signed(row.grub)) {
        needs.push(packages::SIGNED);
    }
    if rows.iter().any(|row| row.name != ALWAYS) {
        needs.push(packages::STAGED);
    }
    if !testing::nothing_lacks(&packages::lacks(&needs)) {
        return;
    }
    for release in Release::ALL {
        let of = |row: &&&Row| row.release == release;
        let rows: Vec<&Row> = rows.iter().filter(of).copied().collect();
        if !rows.is_empty() {
            told_all(release, &rows);
        }
    }
}

/// The rows of a release, one after another.
fn told_all(release: Release, rows: &[&Row]) {
    let dir = fixture::work_dir().unwrap();
    let binary = fixture::binary().unwrap();
    let cache = testbed::cache::Cache::from_env();
    let at = dir.path().join("fixture");
    let fixture = Fixture::of(release, &cache, &at, &binary, &monitor::Silent).unwrap();
    host::furnish(&fixture);
    for (number, recipe) in [
        (11, Recipe::Good),
        (12, Recipe::OwnInitramfs),
        (13, Recipe::Good),
        (14, Recipe::Good),
    ] {
        let branch = format!("v{number}");
        fixture
            .add(number, recipe, &branch, &monitor::Silent)
            .unwrap();
    }
    let releases = fixture.repo_disk("releases.img").unwrap();
    for row in rows {
        told(row, &fixture, dir.path(), &releases);
    }
}

fn told(row: &Row, fixture: &Fixture, dir: &Path, releases: &Path) {
    let from = std::time::Instant::now();
    let begun = host::boot(fixture, &dir.join(row.name), (row.grub, row.esp), releases);
    let mut story = Story::begin(begun, row.grub);
    story.is_taken_over(row.sector);
    (row.tell)(&mut story);
    let took = from.elapsed().as_secs();
    println!("{:<12} {took:>4} s", row.name);
}
