//! Health checks.
//!
//! A check is one probe, *required* or *wanted*. Its results before an
//! activation make up the [`Baseline`]; a [`Report`] holds the results after
//! it, judged against the baseline: only regressions count, unless a check
//! says `always`.

mod report;

pub use report::{Baseline, CheckResult, Listener, Need, Report, Stage, Status, Verdict};
