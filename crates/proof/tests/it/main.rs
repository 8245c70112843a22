//! The table of what may happen in a trial, row by row.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::unwrap_used)]

mod again;
mod all_well;
mod boots;
mod bundle;
mod clock;
mod collection;
mod confirm;
mod container;
mod deployer;
mod ends;
mod first;
mod flakes;
mod hundred;
mod machine;
mod machine_grub;
mod plan;
mod reboot;
mod rollback;
mod secrets;
mod signed;
mod sudo;
mod supervisor;
mod trouble;
mod uninstalled;

use proof::Stage;
use testbed::packages;

/// The stage, if root and the packages are there; says what is missing otherwise.
/// With `BACKSTOP_REQUIRE_ALL=1` that is a failure.
fn stage() -> Option<Stage> {
    let lacks = packages::lacks(&[packages::NIX, packages::CONTAINER]);
    testing::nothing_lacks(&lacks).then(|| Stage::set().unwrap())
}

/// Tells scenes at the same time.
fn together(scenes: &[&(dyn Fn() + Sync)]) {
    std::thread::scope(|scope| {
        for scene in scenes {
            scope.spawn(scene);
        }
    });
}

/// A file that nobody lists holds tests that never run.
#[test]
fn every_file_here_is_listed() {
    testing::every_file_is_listed(env!("CARGO_MANIFEST_DIR"));
}
