//! Any event at any time: the rules always answer, and never forget themselves.

use std::time::Duration;

use engine::{
    BootId, Confirm, Deadman, Event, Fault, Knowledge, Learned, Now, Outcome, Phase, Request,
    Running, State, Step, TrialKind, TxId, VersionId, Wait, step,
};
use health::{Baseline, Report, Stage};
use proptest::prelude::*;

fn version() -> impl Strategy<Value = VersionId> {
    (1..4u8).prop_map(|n| VersionId::new(format!("v{n}")))
}

fn request() -> impl Strategy<Value = Request> {
    let within = Duration::from_secs(60);
    let confirm = prop_oneof![
        Just(Confirm::Checks),
        Just(Confirm::Person { within }),
        Just(Confirm::Deployer { within }),
    ];
    let kind = prop_oneof![Just(TrialKind::Live), Just(TrialKind::Boot)];
    (version(), kind, confirm, 0..3u8, prop::bool::weighted(0.1)).prop_map(
        |(target, kind, confirm, attempts, forced)| Request {
            kind,
            confirm,
            attempts,
            forced,
            ..Request::new(target)
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![
        Just(Wait::Checks),
        Just(Wait::Boot),
        Just(Wait::Confirm),
        Just(Wait::Keep),
        Just(Wait::RollBack),
        Just(Wait::Verify),
        Just(Wait::Reboot),
    ];
    let tx = prop::sample::select(vec![TxId(1), TxId(1), TxId(1), TxId(2)]);
    let about =
        (tx.clone(), 0..21u8, any::<bool>()).prop_map(|(tx, n, reboot)| about(tx, n, reboot));
    let requested =
        (tx.clone(), request(), version()).prop_map(|(tx, request, previous)| Event::Requested {
            tx,
            request,
            previous,
        });
    let left = prop::option::of(0..3u8);
    let resumed = (version(), left, any::<bool>()).prop_map(|(version, attempts_left, failed)| {
        let load_failure = failed.then(|| "bad kernel".to_owned());
        Event::Resumed(Running {
            version,
            attempts_left,
            load_failure,
        })
    });
    let deadline = (tx, wait).prop_map(|(tx, wait)| Event::Deadline {
        deadman: Deadman { tx, wait },
    });
    let by = || "alice".to_owned();
    let forgiven = version().prop_map(move |version| Event::Forgiven { version, by: by() });
    let condemned = version().prop_map(move |version| Event::Condemned { version, by: by() });
    prop_oneof![
        12 => about,
        3 => requested,
        3 => resumed,
        2 => deadline,
        1 => forgiven,
        1 => condemned,
    ]
}

/// An event about a transaction.
fn about(tx: TxId, n: u8, reboot: bool) -> Event {
    let (error, by, why) = ("error".to_owned(), "bob".to_owned(), "later".to_owned());
    let baseline = Baseline::default();
    let report = Report {
        stage: Stage::Boot,
        results: Vec::new(),
        took_ms: 1,
    };
    match n {
        0 => Event::StageDone { tx },
        1 => Event::StageFailed { tx, error },
        2 => Event::PreflightDone { tx, baseline },
        3 => Event::PreflightFailed {
            tx,
            failures: Vec::new(),
        },
        4 => Event::PreflightBroken { tx, error },
        5 => Event::GoAhead {
            tx,
            reboot,
            baseline: None,
        },
        6 => Event::Postponed { tx, why },
        7 => Event::Activated { tx },
        8 => Event::ActivateFailed {
            tx,
            error,
            fault: None,
        },
        9 => Event::ChecksPassed { tx },
        10 => Event::ChecksFailed { tx, report },
        11 => Event::Unguarded { tx, error },
        12 => Event::Confirmed {
            tx,
            by,
            connected_ms: reboot.then_some(9_999),
        },
        13 => Event::Aborted { tx, by },
        14 => Event::SupervisorLost { tx },
        15 => Event::Kept { tx },
        16 => Event::KeepFailed { tx, error },
        17 => Event::RolledBack { tx },
        18 => Event::NotActivated {
            tx,
            error,
            fault: Fault::Busy,
        },
        19 => Event::LiveRefused {
            tx,
            why,
            baseline: Baseline::default(),
        },
        _ => Event::RollbackFailed { tx, error },
    }
}

/// What must hold of every step.
fn is_sound(before: &State, known: &Knowledge, event: &Event, step: &Step) {
    let phase = |state: &State| state.open().map(|open| open.phase.clone());
    let ended = before.open().is_some() && step.state == State::Idle;
    assert_eq!(ended, step.outcome.is_some(), "an end has an outcome");
    if let (None, Some(open)) = (before.open(), step.state.open()) {
        assert!(
            matches!(event, Event::Requested { .. }),
            "only a request begins"
        );
        let request = &open.transaction.request;
        let bad = known.bad(&request.target).is_some();
        assert!(!bad || request.forced, "P4: a bad version is not taken on");
    }
    if let (Some(old), Some(new)) = (before.open(), step.state.open()) {
        assert_eq!(old.transaction.id, new.transaction.id);
        assert_eq!(old.transaction.previous, new.transaction.previous);
        // A refused live trial becomes one that waits for a boot.
        let refused = matches!(event, Event::LiveRefused { .. });
        let (was, is) = (&old.transaction.request, &new.transaction.request);
        assert!(was == is || (refused && was.target == is.target && was.confirm == is.confirm));
    }
    let kept = matches!(step.outcome, Some(Outcome::Kept { .. }));
    let keeping = matches!(phase(before), Some(Phase::Keeping { .. }));
    assert!(!kept || keeping, "P2: only what was decided is kept");
    for learned in &step.learned {
        let Learned::Good { version } = learned else {
            continue;
        };
        let target = before.open().map(|o| o.transaction.target());
        let begins = matches!(event, Event::Requested { previous, .. } if previous == version);
        assert!(
            begins || (kept && target == Some(version)),
            "good is earned"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_rules_answer_anything(
        events in prop::collection::vec((event(), 0..8u8), 1..60),
    ) {
        let (mut state, mut knowledge) = (State::Idle, Knowledge::default());
        let mut boot = 0;
        for (event, reboots) in events {
            boot += u32::from(reboots == 0);
            let now = Now {
                time: 1,
                uptime_ms: 1_000,
                boot: BootId::new(boot.to_string()),
            };
            let Ok(step) = step(&state, &knowledge, &now, &event) else {
                continue;
            };
            is_sound(&state, &knowledge, &event, &step);
            // Whoever resumes it is told the same again.
            if let (Some(open), Event::Resumed(running)) = (step.state.open(), &event) {
                let again = engine::step(&step.state, &knowledge, &now, &Event::Resumed(running.clone()));
                prop_assert_eq!(&again.as_ref().unwrap().state, &step.state);
                prop_assert_eq!(&again.unwrap().actions, &step.actions, "{:?}", open.phase);
            }
            for learned in &step.learned {
                knowledge.learn(learned, 1);
            }
            // What is written down is read again as it was.
            let json = serde_json::to_string(&step.state).unwrap();
            state = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&state, &step.state);
            let json = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        }
    }
}
