//! What an unattended host may do, and when.

use std::path::PathBuf;
use std::time::Duration;

use engine::{Confirm, IfRefused, Request, TrialKind, VersionId};
use jiff::Zoned;

use crate::window::Window;

/// The whole policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How upgrades are made.
    pub upgrade: Upgrade,
    /// When the host may be rebooted.
    pub reboot: Reboot,
}

/// How upgrades are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// Where versions come from; without it, where the running one came from.
    pub source: Option<String>,
    /// Which ref is followed; without it, the running deployment's.
    pub reference: Option<String>,
    /// A Nix host: the flake and the host in it that are followed.
    pub flake: Option<String>,
    /// A Nix host: further arguments of `nix build`.
    pub flags: Vec<String>,
    /// A Nix host: the link to a version that is followed.
    pub path: Option<PathBuf>,
    /// What becomes of a live trial that the running system refuses; without it, by
    /// itself a boot trial within the reboot policy, and a staged one for a person.
    pub if_refused: Option<IfRefused>,
    /// How a version is tried.
    pub kind: TrialKind,
    /// Whose word is needed.
    pub confirm: Confirm,
    /// How often a version may be booted before it is given up.
    pub attempts: u8,
    /// How long after a boot the checks may take to pass.
    pub boot_deadline: Duration,
    /// How long a live activation and its checks may take.
    pub check_deadline: Duration,
}

/// When the host may be rebooted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reboot {
    /// As soon as an upgrade needs it.
    Now,
    /// Never by itself: the upgrade waits for somebody else's reboot.
    Never,
    /// At certain times.
    Windows(Vec<Window>),
}

impl Default for Policy {
    fn default() -> Self {
        let request = Request::new(VersionId::new(""));
        Self {
            upgrade: Upgrade {
                source: None,
                reference: None,
                flake: None,
                flags: Vec::new(),
                path: None,
                if_refused: None,
                kind: request.kind,
                confirm: request.confirm,
                attempts: request.attempts,
                boot_deadline: request.boot_deadline,
                check_deadline: request.check_deadline,
            },
            reboot: Reboot::Now,
        }
    }
}

impl Policy {
    /// The request that this policy makes for a version.
    #[must_use]
    pub fn request(&self, target: VersionId, source: &str) -> Request {
        let mut request = Request::new(target);
        request.kind = self.upgrade.kind;
        request.confirm = self.upgrade.confirm;
        request.attempts = self.upgrade.attempts;
        request.if_refused = self.upgrade.if_refused.unwrap_or_default();
        request.boot_deadline = self.upgrade.boot_deadline;
        request.check_deadline = self.upgrade.check_deadline;
        source.clone_into(&mut request.source);
        request
    }
}

/// Whether the host may be rebooted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It may be.
    Now,
    /// It may be from then on.
    OpensAt(Zoned),
    /// It may not be, by itself.
    Never,
}

/// Whether the host may be rebooted now, by the local clock.
#[must_use]
pub fn may_reboot(policy: &Policy, now: &Zoned) -> Answer {
    let windows = match &policy.reboot {
        Reboot::Now => return Answer::Now,
        Reboot::Never => return Answer::Never,
        Reboot::Windows(windows) => windows,
    };
    if windows.iter().any(|window| window.contains(now)) {
        return Answer::Now;
    }
    let next = windows.iter().filter_map(|window| window.opens_after(now));
    next.min().map_or(Answer::Never, Answer::OpensAt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_waits_for_the_next_window() {
        let windows = ["Sat 02:00-04:00", "Wed 12:00-13:00"];
        let windows = windows.iter().map(|w| w.parse().unwrap()).collect();
        let policy = Policy {
            reboot: Reboot::Windows(windows),
            ..Policy::default()
        };
        let at = |text: &str| -> Zoned { text.parse().unwrap() };
        let open = at("2026-11-21T03:00[Europe/Berlin]");
        assert_eq!(may_reboot(&policy, &open), Answer::Now);
        let closed = at("2026-11-21T05:00[Europe/Berlin]");
        let next = at("2026-11-25T12:00[Europe/Berlin]");
        assert_eq!(may_reboot(&policy, &closed), Answer::OpensAt(next));
    }
}
