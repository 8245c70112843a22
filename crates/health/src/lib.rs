//! Health checks.
//!
//! A [`Check`] is one probe, *required* or *wanted*; [`Checks::load`] finds
//! those of a system. Their results before an activation make up the
//! [`Baseline`]; a [`Report`] holds the results after it, judged against the
//! baseline: only regressions count, unless a check says `always`. The
//! [`Runner`] takes both.

mod check;
mod file;
mod http;
mod load;
mod process;
mod report;
mod round;
mod run;
mod sockets;
mod span;
mod units;

pub use check::{Check, HttpProbe, Origin, Probe, built_in};
pub use file::parse;
pub use load::{BuiltIns, Checks, Problem};
pub use report::{Baseline, CheckResult, Listener, Need, Report, Stage, Status, Verdict};
pub use run::Runner;
pub use span::Span;
