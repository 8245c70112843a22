//! Kernel arguments on trial, with their boots, cut off anywhere.

use durable::sim::{Crashes, SimFs, View};
use engine::{Standing, State};

use crate::crash_upgrade::trial_boots;
use crate::sim_machine::{BAD_ARG, Simulated, disk, open};

const OLD: &str = "ro";
const ATTEMPTS: usize = 3;
/// Numbers for boots after the cut that none before it had.
const LATER: u32 = 1000;

/// Tries the arguments, until nothing is open.
fn try_them(fs: &SimFs, kargs: &str) {
    let mut machine = Simulated::new(fs, 0, None);
    machine.boot();
    let pause = machine.request_kargs(kargs).unwrap();
    machine.run(pause);
}

/// The arguments of the default, without what leads to its deployment.
fn of_default(fs: &SimFs) -> String {
    let sysroot = open(fs);
    let config = sysroot.boot_config().unwrap();
    let mut options = config.entries()[0].options.clone();
    options.delete("ostree");
    let first = &sysroot.published().unwrap().order.good[0];
    let deployment = sysroot.deployment(first).unwrap();
    assert_eq!(options, deployment.kargs, "status says other arguments");
    options.to_string()
}

/// The power comes back: the machine boots until nothing is open.
fn comes_to_a_good_end(fs: &SimFs, tried_before: usize, wanted: &str, finished: bool) {
    let healthy = !wanted.contains(BAD_ARG);
    let mut machine = Simulated::new(fs, LATER, None);
    let pause = machine.power_on();
    machine.run(pause);
    let memory = machine.memory();
    assert_eq!(memory.state, State::Idle);
    // P3.
    let tried = tried_before + machine.trial_boots;
    assert!(tried <= ATTEMPTS, "they were tried {tried} times");
    // P2: they are the default's only if they proved themselves.
    let known: Vec<_> = memory.knowledge.standings().collect();
    let of_kargs = known.iter().find(|(v, _)| v.short().starts_with("kargs-"));
    let found = of_default(fs);
    match of_kargs.map(|(_, standing)| standing) {
        Some(Standing::Good { .. }) => assert_eq!(found, wanted),
        _ => assert_eq!(found, OLD),
    }
    assert!(healthy || found == OLD, "unhealthy and kept");
    assert!(!finished || !healthy || found == wanted, "they are lost");
    // A reboot leads to the default, with nothing of a trial, and to nothing else (P6).
    for _ in 0..2 {
        machine.power_on();
        let line = machine.cmdline();
        assert!(line.starts_with(&format!("{found} ostree=")), "{line}");
        assert!(!line.contains("backstop."), "{line}");
    }
    assert_eq!(tried_before + machine.trial_boots, tried);
    // P4; and the version itself stays good.
    let bad = |s: &Standing| matches!(s, Standing::Bad { .. });
    if of_kargs.is_some_and(|(_, standing)| bad(standing)) {
        assert!(machine.request_kargs(wanted).is_err(), "tried again");
    }
    assert!(!finished || healthy || of_kargs.is_some());
    let plain = known.iter().filter(|(v, _)| !v.as_str().contains('/'));
    assert!(plain.into_iter().all(|(_, standing)| !bad(standing)));
}

fn check(name: &str, wanted: &str, view: View) {
    let (fs, ..) = disk();
    let crashes = Crashes::from(&fs).view(view).per_point(4);
    let report = crashes.check(
        |fs| {
            try_them(fs, wanted);
            let kept = !wanted.contains(BAD_ARG);
            assert_eq!(of_default(fs), if kept { wanted } else { OLD });
        },
        |fs, when| comes_to_a_good_end(fs, trial_boots(when), wanted, when.finished),
    );
    println!("{name}, {view:?}: {report}");
    assert!(report.images > 150, "{report}");
}

#[test]
fn good_arguments_cut_off_anywhere_come_to_a_good_end() {
    for view in [View::Ordered, View::Relaxed] {
        check("good arguments on trial", "quiet x=\"a b\"", view);
    }
}

#[test]
fn bad_arguments_cut_off_anywhere_come_to_a_good_end() {
    let wanted = format!("ro {BAD_ARG}");
    check("bad arguments on trial", &wanted, View::Ordered);
}

/// One call fails, for a broken disk or a full one.
#[test]
fn a_call_that_fails_in_a_trial_of_arguments_comes_to_a_good_end() {
    let (start, ..) = disk();
    let wanted = "ro quiet";
    let whole = start.snapshot();
    try_them(&whole, wanted);
    let mut kept = 0;
    for call in 0..whole.call_count() {
        let fs = start.snapshot();
        let mut machine = Simulated::new(&fs, 0, None);
        machine.boot();
        fs.fail_call(call, [5, 28][call % 2]);
        if let Ok(pause) = machine.request_kargs(wanted) {
            machine.run(pause);
        }
        fs.heal();
        comes_to_a_good_end(&fs, machine.trial_boots, wanted, false);
        kept += usize::from(of_default(&fs) == wanted);
    }
    println!(
        "{kept} of {} in which one call failed were kept",
        whole.call_count()
    );
    assert!(kept > 0 && kept < whole.call_count());
}
