//! How a rollout goes, as described.

use std::time::Duration;

use health::Span;
use serde::Deserialize;

use crate::rollout::WaveSize;

/// `[rollout]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutTable {
    /// The sizes of the waves: numbers, percentages of all hosts, or `"rest"`. The
    /// last one is repeated until no host is left.
    pub waves: Vec<WaveSize>,
    /// Selections whose hosts make up a wave before all others.
    pub first: Vec<String>,
    /// How many hosts may fail before the rollout stops.
    pub max_failures: usize,
    /// What then becomes of the hosts that this rollout has changed.
    pub on_failure: OnFailure,
    /// How long to wait between two waves.
    pub pause: Option<Span>,
    /// Whether hosts that can't be reached count as failures.
    pub ignore_unreachable: bool,
    /// Whether hosts of later waves are built for and copied to meanwhile.
    pub prepare_ahead: bool,
    /// How many hosts may be in each step at once.
    pub parallel: Parallel,
}

impl RolloutTable {
    /// The wait between two waves.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.pause.map_or(Duration::ZERO, |span| span.0)
    }
}

impl Default for RolloutTable {
    fn default() -> Self {
        Self {
            waves: vec![WaveSize::Rest],
            first: Vec::new(),
            max_failures: 0,
            on_failure: OnFailure::Stop,
            pause: None,
            ignore_unreachable: false,
            prepare_ahead: true,
            parallel: Parallel::default(),
        }
    }
}

/// What becomes of the hosts that a failed rollout has changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// They stay as they are.
    #[default]
    Stop,
    /// They go back to the version that they ran before.
    PutBack,
}

/// How many hosts may be in each step at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parallel {
    /// Opening connections.
    pub reach: usize,
    /// Evaluating and building.
    pub build: usize,
    /// Copying.
    pub copy: usize,
    /// From staging to the end of the trial.
    pub activate: usize,
}

impl Default for Parallel {
    fn default() -> Self {
        Self {
            reach: 20,
            build: 2,
            copy: 10,
            activate: 20,
        }
    }
}
