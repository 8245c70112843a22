//! What does not fit is refused, with words that say what to do.

use std::time::Duration;

use engine::{
    BootId, Confirm, Deadman, Event, Knowledge, Now, Open, Phase, Refusal, Request, Running, State,
    Then, Trial, TrialKind, TxId, VersionId, Wait, step,
};

fn now(boot: &str) -> Now {
    Now {
        time: 0,
        uptime_ms: 5_000,
        boot: BootId::new(boot),
    }
}

fn request() -> Request {
    let within = Duration::from_secs(60);
    Request {
        kind: TrialKind::Live,
        confirm: Confirm::Person { within },
        ..Request::new(VersionId::new("v2"))
    }
}

fn requested() -> Event {
    Event::Requested {
        tx: TxId(1),
        request: request(),
        previous: VersionId::new("v1"),
    }
}

/// A transaction in some phase.
fn in_phase(phase: Phase) -> State {
    let begun = step(&State::Idle, &Knowledge::default(), &now("b"), &requested()).unwrap();
    let State::Open(open) = begun.state else {
        panic!("not open")
    };
    State::Open(Box::new(Open { phase, ..*open }))
}

fn on_trial(healthy: bool, confirmed_by: Option<&str>) -> State {
    in_phase(Phase::Trial(Trial {
        since_ms: 3_000,
        healthy,
        confirmed_by: confirmed_by.map(str::to_owned),
        boots: 0,
    }))
}

fn keeping() -> State {
    in_phase(Phase::Keeping {
        confirmed_by: None,
        then: Then::Verify,
    })
}

fn confirmed(connected_ms: Option<u64>) -> Event {
    Event::Confirmed {
        tx: TxId(1),
        by: "alice".to_owned(),
        connected_ms,
    }
}

fn deadline(tx: u64, wait: Wait) -> Event {
    let deadman = Deadman { tx: TxId(tx), wait };
    Event::Deadline { deadman }
}

#[test]
fn what_does_not_fit_is_refused() {
    let (tx, by) = (TxId(1), "alice".to_owned());
    let aborted = Event::Aborted { tx, by: by.clone() };
    let ready = in_phase(Phase::Ready { postponed: None });
    let table = [
        (State::Idle, confirmed(None), "no upgrade is under way"),
        (State::Idle, Event::Kept { tx }, "no upgrade is under way"),
        (
            State::Idle,
            Event::Unknown,
            "`something newer` does not fit",
        ),
        (
            ready.clone(),
            requested(),
            "transaction 1 is ready; confirm it",
        ),
        (
            ready.clone(),
            confirmed(None),
            "nothing to confirm yet: the upgrade is ready",
        ),
        (
            ready.clone(),
            Event::Kept { tx },
            "`made the default` does not fit: the upgrade is ready",
        ),
        (
            ready.clone(),
            Event::Kept { tx: TxId(7) },
            "about transaction 7, but 1 is open",
        ),
        (
            ready,
            deadline(1, Wait::Checks),
            "this deadline no longer matters",
        ),
        (
            on_trial(true, None),
            deadline(1, Wait::Checks),
            "this deadline no longer matters",
        ),
        (
            on_trial(false, None),
            deadline(1, Wait::Confirm),
            "this deadline no longer matters",
        ),
        (
            on_trial(false, None),
            deadline(2, Wait::Checks),
            "about transaction 2",
        ),
        (
            on_trial(true, None),
            Event::ChecksPassed { tx },
            "`checks passed` does not fit",
        ),
        (
            on_trial(false, None),
            confirmed(Some(2_999)),
            "connect again, then confirm",
        ),
        (
            on_trial(false, None),
            confirmed(Some(3_000)),
            "connect again, then confirm",
        ),
        (
            on_trial(false, Some("bob")),
            confirmed(None),
            "already confirmed by bob",
        ),
        (keeping(), aborted, "too late: the upgrade is keeping"),
        (keeping(), confirmed(None), "too late"),
    ];
    for (state, event, wanted) in table {
        let refused = step(&state, &Knowledge::default(), &now("b"), &event);
        let message = refused.expect_err(event.name()).to_string();
        assert!(message.contains(wanted), "{}: {message}", event.name());
    }
}

#[test]
fn after_a_reboot_only_looking_after_it_is_taken() {
    let state = on_trial(false, None);
    let knowledge = Knowledge::default();
    let elsewhere = now("another boot");
    let refused = step(&state, &knowledge, &elsewhere, &confirmed(None));
    assert_eq!(refused, Err(Refusal::Unsettled));
    let running = Event::Resumed(Running {
        version: VersionId::new("v1"),
        attempts_left: None,
        load_failure: None,
    });
    assert!(step(&state, &knowledge, &elsewhere, &running).is_ok());
}

#[test]
fn a_fresh_connection_is_taken() {
    let state = on_trial(false, None);
    assert!(
        step(
            &state,
            &Knowledge::default(),
            &now("b"),
            &confirmed(Some(3_001))
        )
        .is_ok()
    );
}

#[test]
fn deadmen_are_named_and_read() {
    let deadman = Deadman {
        tx: TxId(12),
        wait: Wait::RollBack,
    };
    assert_eq!(deadman.to_string(), "12-roll-back");
    assert_eq!("12-roll-back".parse(), Ok(deadman));
    for bad in ["", "12", "12-", "x-checks", "12-check", "-checks"] {
        assert!(bad.parse::<Deadman>().is_err(), "{bad}");
    }
}
