//! Changing kernel arguments, for good and for one start, cut off anywhere.

use boot::{Choice, KernelArgs};
use durable::sim::{Crashes, SimFs, View, When};
use monitor::Silent;
use sysroot::{DeploymentId, Sysroot};

use crate::host::order;
use crate::sim_host::{Expected, grub_boots, host, open, publish, stage};

const OLD: &str = "root=LABEL=root ro";
const NEW: &str = "root=LABEL=root ro quiet mitigations=\"auto nosmt\"";

/// Versions 1 and 2 are good, 2 boots first.
fn two_good() -> (SimFs, DeploymentId, DeploymentId) {
    let (fs, one, two) = host();
    let two = stage(&fs, two, Some(&one)).unwrap();
    publish(&fs, &order(&[&two, &one], None)).unwrap();
    (fs, two, one)
}

fn args(line: &str) -> KernelArgs {
    line.parse().unwrap()
}

fn has(sysroot: &Sysroot, id: &DeploymentId) -> KernelArgs {
    sysroot.deployment(id).unwrap().kargs
}

/// Whether the operation got as far as switching the boot order.
fn may_have_switched(when: &When) -> bool {
    when.called(|call| call.ends_with("-> /sysroot/boot/loader"))
}

/// Cuts `operation` off anywhere. GRUB finds the arguments of before or those of after,
/// with all that they start whole; the operation goes on from there.
fn all_or_nothing(name: &str, start: &SimFs, operation: &dyn Fn(&SimFs)) {
    let done = start.snapshot();
    operation(&done);
    let (before, after) = (Expected::of(start), Expected::of(&done));
    assert_ne!(before.config.id(), after.config.id());
    for view in [View::Ordered, View::Relaxed, View::BootLoader] {
        let crashes = Crashes::from(start).view(view).per_point(15);
        let report = crashes.check(operation, |fs, when| {
            let (found, choice) = grub_boots(fs, &[&before, &after]);
            let is_new = found.config.id() == after.config.id();
            assert!(!when.finished || is_new, "the arguments are lost");
            assert!(!is_new || may_have_switched(when), "switched too early");
            let trial = found.config.trial().is_some();
            assert!(choice != Choice::Trial || (is_new && trial));
            if when.view == View::BootLoader {
                return;
            }
            before.is_deployed(fs);
            if may_have_switched(when) {
                after.is_deployed(fs);
            }
            operation(fs);
            let again = Expected::of(fs);
            again.is_deployed(fs);
            grub_boots(fs, &[&again]);
        });
        println!("{name}, {view:?}: {report}");
        assert!(report.images > 50, "{report}");
    }
}

#[test]
fn arguments_for_good() {
    let (fs, first, second) = two_good();
    for (name, id, other) in [
        ("kargs of the default", &first, &second),
        ("kargs of the other", &second, &first),
    ] {
        let wanted = args(NEW);
        all_or_nothing(name, &fs, &|fs| {
            let sysroot = open(fs);
            sysroot.set_kargs(id, &wanted, &Silent).unwrap();
            assert_eq!(has(&sysroot, id), wanted);
            assert_eq!(has(&sysroot, other), args(OLD), "another one's are changed");
        });
    }
}

/// What the entries say counts, whatever the origin file says by then; and what a staged
/// version carries over is what the entries say.
#[test]
fn entries_and_origin_may_differ_and_the_entries_count() {
    let (fs, first, _) = two_good();
    let wanted = args(NEW);
    let set = |fs: &SimFs| {
        open(fs).set_kargs(&first, &wanted, &Silent).unwrap();
    };
    let report = Crashes::from(&fs).per_point(6).check(set, |fs, when| {
        let sysroot = open(fs);
        let found = has(&sysroot, &first);
        assert!(found == wanted || (found == args(OLD) && !when.finished));
        let mut options = sysroot.boot_config().unwrap().entries()[0].options.clone();
        options.delete("ostree");
        assert_eq!(options, found, "status says other arguments than boot");
    });
    println!("kargs and origin: {report}");
}

#[test]
fn arguments_for_one_start() {
    let (fs, first, _) = two_good();
    let own = args("root=LABEL=root quiet");
    all_or_nothing("kargs once", &fs, &|fs| {
        let sysroot = open(fs);
        if sysroot.published().unwrap().order.trial.is_some() {
            // Published already, and waiting: it is not taken again.
            sysroot.try_kargs(&first, &own, &Silent).unwrap_err();
            return;
        }
        sysroot.try_kargs(&first, &own, &Silent).unwrap();
        assert_eq!(
            has(&sysroot, &first),
            args(OLD),
            "the default's are changed"
        );
    });
}
