//! The table of cases.

use testbed::versions::Recipe;

use sysroot::Loader;

use crate::Platform;
use crate::damage::{BootFile, Damage, Harm, SectorHarm};

/// How a case must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Back on the version before, for the reason that the journal calls so.
    Back(&'static str),
    /// The new version is healthy and somebody confirms it: it is kept.
    Kept,
    /// Nothing ends it: it hangs, and a person must switch the machine off and on. The
    /// boots after that are as in [`End::Back`].
    AfterPowerCycles(&'static str),
}

/// One way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Its name, for the command line.
    pub name: &'static str,
    /// What is wrong.
    pub what: &'static str,
    /// The version on trial.
    pub version: Recipe,
    /// What is done to its disk before it is booted.
    pub damage: Damage,
    /// How it must end with GRUB.
    end: End,
    /// How many attempts it uses up with GRUB.
    attempts: usize,
    /// How it must end with systemd-boot, where otherwise, and after how many attempts.
    once: Option<(End, usize)>,
    /// The platforms that it makes sense on.
    on: &'static [Platform],
}

impl Case {
    /// How it must end.
    #[must_use]
    pub fn end(&self, platform: Platform) -> End {
        self.ending(platform).0
    }

    /// How many attempts it uses up.
    #[must_use]
    pub fn attempts(&self, platform: Platform) -> usize {
        self.ending(platform).1
    }

    /// Whether it makes sense there.
    #[must_use]
    pub fn fits(&self, platform: Platform) -> bool {
        self.on.contains(&platform)
    }

    fn ending(&self, platform: Platform) -> (End, usize) {
        match platform.loader() {
            Loader::SystemdBoot => {
                let once = (self.end, self.attempts.min(platform.attempts()));
                self.once.unwrap_or(once)
            }
            Loader::Grub | Loader::None => (self.end, self.attempts),
        }
    }
}

/// A kernel argument that is tried.
const fn kargs(
    name: &'static str,
    what: &'static str,
    karg: &'static str,
    end: End,
    attempts: usize,
) -> Case {
    Case {
        name,
        what,
        version: Recipe::Good,
        damage: Damage::Kargs(karg),
        end,
        attempts,
        once: None,
        on: &Platform::ALL,
    }
}

/// Those with GRUB.
const GRUB: &[Platform] = &[Platform::GrubBios, Platform::GrubEfi];

/// A healthy version whose disk is damaged.
const fn damaged(
    name: &'static str,
    what: &'static str,
    damage: Damage,
    why: &'static str,
    attempts: usize,
) -> Case {
    Case {
        name,
        what,
        version: Recipe::OwnInitramfs,
        damage,
        end: End::Back(why),
        attempts,
        once: None,
        on: &Platform::ALL,
    }
}

/// A file that the boot loader finds damaged. It counts the attempt, notes why, and the
/// next start is the default's.
/// systemd-boot checks nothing: `once` is what that comes to.
const fn load(
    name: &'static str,
    what: &'static str,
    file: BootFile,
    harm: Harm,
    once: (End, usize),
) -> Case {
    Case {
        once: Some(once),
        ..damaged(name, what, Damage::BootFile(file, harm), "load-failed", 1)
    }
}

/// The one attempt is used up by a kernel that restarts the machine.
const USED_UP: (End, usize) = (End::Back("attempts-used-up"), 1);
/// The one attempt is used up, and somebody must switch the machine off and on.
const BY_HAND: (End, usize) = (End::AfterPowerCycles("attempts-used-up"), 1);
/// systemd-boot passes over an entry whose files it cannot find.
const PASSED_OVER: (End, usize) = (End::Back("attempts-used-up"), 0);
/// The sector means nothing to systemd-boot, which tries the version; it is healthy, and
/// nobody confirms it.
const TRIED: Option<(End, usize)> = Some((End::Back("deadline"), 1));

const FAILING: &str = "command = \"echo the shop is closed; exit 1\"\n";
const ENDLESS: &str = "command = \"sleep infinity\"\ntimeout = \"1h\"\n";
/// Never done.
const STUCK: &str = "/bin/sleep infinity";
/// systemd catches it, says so, and does nothing any more.
const HANG: &str = "/bin/kill -SEGV 1";

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        name: "control",
        what: "nothing: healthy and confirmed",
        version: Recipe::OwnInitramfs,
        damage: Damage::None,
        end: End::Kept,
        attempts: 1,
        once: None,
        on: &Platform::ALL,
    },
    load(
        "kernel-missing",
        "kernel missing",
        BootFile::Kernel,
        Harm::Missing,
        PASSED_OVER,
    ),
    load(
        "kernel-cut",
        "kernel cut short",
        BootFile::Kernel,
        Harm::Cut,
        BY_HAND,
    ),
    load(
        "kernel-flipped",
        "16 bytes of the kernel flipped",
        BootFile::Kernel,
        Harm::Flipped,
        BY_HAND,
    ),
    load(
        "initrd-missing",
        "initrd missing",
        BootFile::Initrd,
        Harm::Missing,
        BY_HAND,
    ),
    load(
        "initrd-cut",
        "initrd cut short",
        BootFile::Initrd,
        Harm::Cut,
        USED_UP,
    ),
    load(
        "initrd-flipped",
        "16 bytes of the initrd flipped",
        BootFile::Initrd,
        Harm::Flipped,
        USED_UP,
    ),
    Case {
        end: End::AfterPowerCycles("attempts-used-up"),
        on: &[Platform::GrubEfi],
        ..damaged(
            "kernel-flipped-unseen",
            "16 bytes of the kernel flipped, and a GRUB that cannot check digests",
            Damage::FlippedUnseen,
            "",
            2,
        )
    },
    damaged(
        "panic",
        "kernel panic: the first program ends",
        Damage::InitEnds,
        "attempts-used-up",
        2,
    ),
    damaged(
        "no-init",
        "no first program",
        Damage::NoInit,
        "attempts-used-up",
        2,
    ),
    damaged(
        "no-deployment",
        "deployment not where the entry says",
        Damage::Deployment,
        "attempts-used-up",
        2,
    ),
    Case {
        version: Recipe::StuckInInitramfs,
        ..damaged(
            "initramfs-stuck",
            "initramfs stuck",
            Damage::None,
            "attempts-used-up",
            2,
        )
    },
    damaged(
        "hang",
        "userspace hangs before sysinit.target",
        Damage::EarlyUnit(HANG),
        "attempts-used-up",
        2,
    ),
    damaged(
        "stuck",
        "boot stuck before the upgrade is settled (limit set to 20 s)",
        Damage::StuckUnit(STUCK, "20s"),
        "attempts-used-up",
        2,
    ),
    damaged(
        "stuck-later",
        "boot stuck before sysinit.target, after that (limit 5 min)",
        Damage::EarlyUnit(STUCK),
        "deadline",
        1,
    ),
    damaged(
        "unhealthy",
        "a health check fails",
        Damage::Check(FAILING),
        "checks-failed",
        1,
    ),
    damaged(
        "endless-check",
        "a health check never ends (deadline 90 s)",
        Damage::Check(ENDLESS),
        "deadline",
        1,
    ),
    damaged(
        "unconfirmed",
        "healthy, and nobody confirms (within 20 s)",
        Damage::None,
        "deadline",
        1,
    ),
    Case {
        once: TRIED,
        ..damaged(
            "sector-zeroed",
            "state sector zeroed",
            Damage::Sector(SectorHarm::Zeroed),
            "not-tried",
            0,
        )
    },
    Case {
        once: TRIED,
        ..damaged(
            "sector-random",
            "state sector random",
            Damage::Sector(SectorHarm::Random),
            "not-tried",
            0,
        )
    },
    Case {
        once: TRIED,
        ..damaged(
            "sector-foreign",
            "state sector of another configuration",
            Damage::Sector(SectorHarm::Foreign),
            "not-tried",
            0,
        )
    },
    Case {
        once: TRIED,
        ..damaged(
            "sector-newer",
            "state sector of a newer version",
            Damage::Sector(SectorHarm::Newer),
            "not-tried",
            0,
        )
    },
    Case {
        once: TRIED,
        ..damaged(
            "sector-missing",
            "state sector's file missing",
            Damage::SectorMissing,
            "not-tried",
            0,
        )
    },
    Case {
        once: TRIED,
        ..damaged(
            "sector-unwritable",
            "state sector cannot be written (I/O error)",
            Damage::SectorUnwritable,
            "not-tried",
            0,
        )
    },
    damaged(
        "esp-full",
        "ESP full, and nobody confirms",
        Damage::EspFull,
        "deadline",
        1,
    ),
    damaged(
        "esp-read-only",
        "ESP mounted read-only, and nobody confirms",
        Damage::EspReadOnly,
        "deadline",
        1,
    ),
    damaged(
        "esp-unmounted",
        "ESP not mounted, and nobody confirms",
        Damage::EspUnmounted,
        "deadline",
        1,
    ),
    Case {
        on: GRUB,
        ..damaged(
            // GRUB finds what it pointed to; the rollback does not, and reboots until the
            // attempts are used up.
            "loader-link",
            "boot/loader missing, and nobody confirms",
            Damage::LoaderLink,
            "deadline",
            2,
        )
    },
    kargs(
        "kargs",
        "a kernel argument is tried: healthy and confirmed",
        "quiet",
        End::Kept,
        1,
    ),
    kargs(
        "kargs-root",
        "a mistyped `root=` is tried",
        "root=LABEL=typo",
        End::Back("attempts-used-up"),
        2,
    ),
];

/// The case of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own_and_uses_no_more_than_its_attempts() {
        for (at, case) in CASES.iter().enumerate() {
            assert!(CASES[..at].iter().all(|c| c.name != case.name), "{case:?}");
            for platform in Platform::ALL {
                assert!(case.attempts(platform) <= platform.attempts(), "{case:?}");
            }
            assert_eq!(find(case.name), Some(case));
        }
    }
}
