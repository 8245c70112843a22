//! The rule: which entry boots, and what the state sector says then.
//!
//! The trial boots while attempts are left, the sector names this very
//! configuration and records no failure, and the lower count is on the disk.
//! In every other case the default boots: the first entry, which is the last
//! version known to be good. Should it not load, the following ones are tried in
//! order. GRUB follows the same rule in the words of its own script
//! ([`grub`](crate::grub)); a test runs both against each other.

use crate::config::{BootConfig, Entry};
use crate::sector::{LoadFailure, StateSector};

/// Which entry a bootloader goes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The version on trial.
    Trial,
    /// The entry with this index; 0 is the default.
    Entry(usize),
}

/// What one start of the bootloader comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The first entry it tries to load.
    pub entry: Choice,
    /// What the sector says when the kernel takes over; `None` when it says
    /// nothing that can be read.
    pub sector_after: Option<StateSector>,
    /// Whether this start used up an attempt.
    pub counted: bool,
}

impl Decision {
    /// The entry itself.
    #[must_use]
    pub fn chosen<'a>(&self, config: &'a BootConfig) -> Option<&'a Entry> {
        match self.entry {
            Choice::Trial => config.trial().map(|t| &t.entry),
            Choice::Entry(index) => config.entries().get(index),
        }
    }
}

/// Decides one start. `sector` is `None` when it could not be read; `writable`
/// says whether the lower count can be written.
#[must_use]
pub fn decide(config: &BootConfig, sector: Option<&StateSector>, writable: bool) -> Decision {
    let default = Decision {
        entry: Choice::Entry(0),
        sector_after: sector.cloned(),
        counted: false,
    };
    let Some(sector) = sector.filter(|s| s.config == config.id()) else {
        return default;
    };
    let may_try = config.trial().is_some() && sector.left > 0 && sector.failed.is_none();
    if !may_try || !writable {
        return default;
    }
    Decision {
        entry: Choice::Trial,
        sector_after: Some(StateSector {
            left: sector.left - 1,
            ..sector.clone()
        }),
        counted: true,
    }
}

/// What the sector says after the version on trial did not load: no more
/// attempts, and why. The bootloader restarts the machine then, because after a
/// half-loaded kernel another one may hang.
#[must_use]
pub fn trial_did_not_load(config: &BootConfig, failure: LoadFailure) -> StateSector {
    StateSector {
        config: config.id(),
        left: 0,
        failed: Some(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigId;
    use crate::config::tests::{entry, trial};

    fn config(with_trial: bool) -> BootConfig {
        let trial = with_trial.then(|| trial("new", 3));
        BootConfig::new(vec![entry("good"), entry("older")], trial).unwrap()
    }

    #[test]
    fn the_table() {
        let ours = config(true);
        let sector = |left, failed| StateSector {
            config: ours.id(),
            left,
            failed,
        };
        let foreign = StateSector::fresh(ConfigId::of(b"other"), 3);
        let broken = Some(LoadFailure::Digest);
        let table = [
            // sector, writable, trial boots, left afterwards
            (Some(sector(3, None)), true, true, Some(2)),
            (Some(sector(1, None)), true, true, Some(0)),
            (Some(sector(9, None)), true, true, Some(8)),
            (Some(sector(0, None)), true, false, Some(0)),
            (Some(sector(3, None)), false, false, Some(3)),
            (Some(sector(3, broken)), true, false, Some(3)),
            (Some(foreign), true, false, Some(3)),
            (None, true, false, None),
            (None, false, false, None),
        ];
        for (sector, writable, tries, left) in table {
            let decision = decide(&ours, sector.as_ref(), writable);
            assert_eq!(decision.entry == Choice::Trial, tries, "{sector:?}");
            assert_eq!(decision.counted, tries);
            assert_eq!(decision.sector_after.as_ref().map(|s| s.left), left);
            let name = if tries { "new" } else { "good" };
            assert_eq!(decision.chosen(&ours).unwrap().name, name);
        }
    }

    #[test]
    fn without_a_trial_nothing_is_counted() {
        let config = config(false);
        for left in 0..=9 {
            let sector = StateSector::fresh(config.id(), left);
            let decision = decide(&config, Some(&sector), true);
            assert_eq!(decision.entry, Choice::Entry(0));
            assert_eq!(decision.sector_after, Some(sector));
        }
    }

    #[test]
    fn attempts_are_bounded_and_end_at_the_default() {
        let config = config(true);
        for attempts in 0..=9 {
            let mut sector = StateSector::fresh(config.id(), attempts);
            let mut tried = 0;
            while decide(&config, Some(&sector), true).entry == Choice::Trial {
                sector = decide(&config, Some(&sector), true).sector_after.unwrap();
                tried += 1;
            }
            assert_eq!(tried, attempts);
        }
    }

    #[test]
    fn a_trial_that_does_not_load_is_not_tried_again() {
        let config = config(true);
        for failure in LoadFailure::ALL {
            let sector = trial_did_not_load(&config, failure);
            let decision = decide(&config, Some(&sector), true);
            assert_eq!(decision.entry, Choice::Entry(0));
            assert_eq!(decision.sector_after, Some(sector));
        }
    }
}
