//! Skipping what this machine cannot do.

use testbed::cache::Cache;
use testbed::packages::{self, Need};

/// Whether root and the packages are there; says what is missing otherwise.
/// With `BACKSTOP_REQUIRE_ALL=1` that is a failure.
pub fn able(needs: &[&[Need]]) -> bool {
    let mut lacks = packages::missing(needs);
    if !packages::is_root() {
        lacks.push("root");
    }
    testing::nothing_lacks(&lacks)
}

pub fn cache() -> Cache {
    Cache::from_env()
}

/// Two processors carry one machine at a time.
pub fn one_at_a_time() -> std::fs::File {
    cache().lock("boots").unwrap()
}

/// Whether other releases of Debian are wanted too: their roots take their time.
pub fn all_releases() -> bool {
    let wanted = std::env::var_os("BACKSTOP_RELEASES").is_some_and(|which| which == "all");
    if !wanted {
        println!("left out: other releases of Debian, without BACKSTOP_RELEASES=all");
    }
    wanted
}
