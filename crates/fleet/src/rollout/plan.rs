//! What a rollout is to do.

use serde::{Deserialize, Serialize};

use super::Stage;
use super::wave::waves;
use crate::Result;
use crate::config::{Host, OnFailure, Parallel, RolloutTable};
use crate::select::select;

/// A rollout's plan: data that can be printed, kept and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The hosts.
    pub hosts: Vec<Planned>,
    /// How many may fail.
    pub max_failures: usize,
    /// What then becomes of those that were changed.
    pub on_failure: OnFailure,
    /// Seconds between two waves.
    pub pause_s: u64,
    /// Whether hosts that can't be reached are no failures.
    pub ignore_unreachable: bool,
    /// Whether hosts of later waves are prepared meanwhile.
    pub prepare_ahead: bool,
    /// How many hosts may be in each step.
    pub parallel: Parallel,
}

/// A host in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Its wave, counted from 0.
    pub wave: usize,
}

impl Plan {
    /// Puts the chosen hosts into waves.
    ///
    /// # Errors
    /// `first` names no host.
    pub fn new(all: &[Host], chosen: &[usize], table: &RolloutTable) -> Result<Self> {
        let first = if table.first.is_empty() {
            Vec::new()
        } else {
            select(all, &table.first)?
        };
        let (ahead, rest): (Vec<usize>, Vec<usize>) =
            chosen.iter().partition(|at| first.contains(at));
        let own_wave = usize::from(!ahead.is_empty());
        let planned = |at: &usize, wave| Planned {
            name: all[*at].name.clone(),
            wave,
        };
        let mut hosts: Vec<Planned> = ahead.iter().map(|at| planned(at, 0)).collect();
        let numbers = waves(&table.waves, rest.len());
        let others = rest.iter().zip(numbers);
        hosts.extend(others.map(|(at, wave)| planned(at, wave + own_wave)));
        Ok(Self {
            hosts,
            max_failures: table.max_failures,
            on_failure: table.on_failure,
            pause_s: table.pause().as_secs(),
            ignore_unreachable: table.ignore_unreachable,
            prepare_ahead: table.prepare_ahead,
            parallel: table.parallel,
        })
    }

    /// How many hosts may be at a stage at once; at least one.
    #[must_use]
    pub fn room(&self, stage: Stage) -> usize {
        let room = match stage {
            Stage::Reach => self.parallel.reach,
            Stage::Build => self.parallel.build,
            Stage::Copy => self.parallel.copy,
            Stage::Activate | Stage::PutBack => self.parallel.activate,
        };
        room.max(1)
    }

    /// How many waves there are.
    #[must_use]
    pub fn waves(&self) -> usize {
        self.hosts.iter().map(|h| h.wave + 1).max().unwrap_or(0)
    }
}
