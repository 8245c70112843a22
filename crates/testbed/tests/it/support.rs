//! Skipping what this machine cannot do.

use testbed::cache::Cache;
use testbed::packages::{self, Need};

/// Whether root and the packages are there; says what is missing otherwise.
/// With `BACKSTOP_REQUIRE_ALL=1` that is a failure.
pub fn able(needs: &[&[Need]]) -> bool {
    testing::nothing_lacks(&packages::lacks(needs))
}

pub fn cache() -> Cache {
    Cache::from_env()
}

/// Two processors carry one machine at a time.
pub fn one_at_a_time() -> std::fs::File {
    cache().lock("boots").unwrap()
}
