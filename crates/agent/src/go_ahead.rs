//! Whether a version that is ready may be activated now.

use engine::{Event, Phase, State, TrialKind};
use health::Baseline;
use jiff::Zoned;

use crate::policy::{Answer, Policy, may_reboot};

/// The word that a transaction which is ready waits for: to go ahead, or why not yet.
/// `None` when there is none that waits.
///
/// `baseline` is asked how the host is when that must be known anew: the version
/// may have waited for days, and what broke meanwhile is not its fault.
///
/// # Errors
/// The baseline's.
pub fn go_ahead<E>(
    state: &State,
    policy: &Policy,
    now: &Zoned,
    baseline: impl FnOnce() -> Result<Baseline, E>,
) -> Result<Option<Event>, E> {
    let Some(open) = state.open() else {
        return Ok(None);
    };
    let Phase::Ready { postponed } = &open.phase else {
        return Ok(None);
    };
    let (tx, request) = (open.transaction.id, &open.transaction.request);
    let reboot = match may_reboot(policy, now) {
        _ if request.kind == TrialKind::Live || request.await_reboot => false,
        Answer::Now => true,
        Answer::Never => false,
        Answer::OpensAt(opens) => {
            let why = format!("reboots are allowed from {}", opens.strftime("%a %F %H:%M"));
            return Ok(Some(Event::Postponed { tx, why }));
        }
    };
    let baseline = postponed.is_some().then(baseline).transpose()?;
    Ok(Some(Event::GoAhead {
        tx,
        reboot,
        baseline,
    }))
}

#[cfg(test)]
mod tests {
    use engine::{BootId, Open, Request, Transaction, TxId, VersionId};

    use super::*;
    use crate::Reboot;

    fn waiting(kind: TrialKind, phase: Phase) -> State {
        let mut request = Request::new(VersionId::new("new"));
        request.kind = kind;
        State::Open(Box::new(Open {
            transaction: Transaction {
                id: TxId(1),
                request,
                previous: VersionId::new("old"),
                started_at: 0,
                baseline: Baseline::default(),
                live_refused: None,
            },
            boot: BootId::new("boot"),
            phase,
        }))
    }

    /// What is answered, in short; `~` where the baseline was taken anew.
    fn answer(state: &State, reboot: Reboot) -> String {
        let policy = Policy {
            reboot,
            ..Policy::default()
        };
        let now = "2026-11-21T05:00[Europe/Berlin]".parse().unwrap();
        let baseline = || Ok::<_, std::convert::Infallible>(Baseline::default());
        match go_ahead(state, &policy, &now, baseline).unwrap() {
            None => "nothing".to_owned(),
            Some(Event::GoAhead {
                reboot, baseline, ..
            }) => {
                let anew = if baseline.is_some() { "~" } else { "" };
                format!("{anew}go, reboot: {reboot}")
            }
            Some(Event::Postponed { why, .. }) => why,
            Some(other) => format!("{other:?}"),
        }
    }

    #[test]
    fn who_is_ready_waits_for_the_policy() {
        let fresh = || Phase::Ready { postponed: None };
        let waited = || Phase::Ready {
            postponed: Some("not now".to_owned()),
        };
        let window = || Reboot::Windows(vec!["Sat 06:00-07:00".parse().unwrap()]);
        use TrialKind::{Boot, Live};
        let table = [
            (Boot, fresh(), Reboot::Now, "go, reboot: true"),
            (Boot, fresh(), Reboot::Never, "go, reboot: false"),
            (
                Boot,
                fresh(),
                window(),
                "reboots are allowed from Sat 2026-11-21 06:00",
            ),
            (Boot, waited(), Reboot::Now, "~go, reboot: true"),
            (Live, fresh(), window(), "go, reboot: false"),
            (Live, waited(), Reboot::Never, "~go, reboot: false"),
            (Boot, Phase::Staged, Reboot::Now, "nothing"),
        ];
        for (kind, phase, reboot, expected) in table {
            assert_eq!(answer(&waiting(kind, phase), reboot), expected);
        }
        assert_eq!(answer(&State::Idle, Reboot::Now), "nothing");
    }

    #[test]
    fn who_wants_to_reboot_by_hand_is_not_rebooted() {
        let mut state = waiting(TrialKind::Boot, Phase::Ready { postponed: None });
        if let State::Open(open) = &mut state {
            open.transaction.request.await_reboot = true;
        }
        assert_eq!(answer(&state, Reboot::Now), "go, reboot: false");
    }
}
