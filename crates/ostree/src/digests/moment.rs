//! When something was learned, in terms of this boot and its clock.

use rustix::time::{ClockId, clock_gettime};

/// The clock may have gone back by so many seconds: it is slewed, and read twice.
const SLACK: i64 = 1;

/// A boot of the machine, and how far its wall clock was ahead of its uptime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) boot: u128,
    /// Seconds.
    pub(super) ahead: i64,
}

impl Moment {
    /// Now; `None` where the kernel does not tell.
    pub(super) fn now() -> Option<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).ok()?;
        let (wall, up) = (
            clock_gettime(ClockId::Realtime),
            clock_gettime(ClockId::Boottime),
        );
        Some(Self {
            boot,
            ahead: wall.tv_sec - up.tv_sec,
        })
    }

    /// Whether what was learned then still counts: in the same boot, and the times of
    /// that clock have not come again since.
    pub(super) fn holds_at(&self, now: &Self) -> bool {
        self.boot == now.boot && now.ahead >= self.ahead.saturating_sub(SLACK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_counts_until_a_reboot_or_a_clock_that_goes_back() {
        let then = Moment {
            boot: 7,
            ahead: 100,
        };
        for (boot, ahead, holds) in [
            (7, 100, true),
            (7, 99, true),
            (7, 98, false),
            (7, 4000, true),
            (8, 100, false),
        ] {
            assert_eq!(
                then.holds_at(&Moment { boot, ahead }),
                holds,
                "{boot} {ahead}"
            );
        }
        let now = Moment::now().unwrap();
        assert!(now.holds_at(&Moment::now().unwrap()));
    }
}
