//! A boot loader that does not go by what backstop publishes: `update-grub` wrote over its
//! configuration while a version was tried live, or the host was handed back.

use boot::grub::{StatePlace, StaticConfig, static_config};
use durable::Fs as _;
use engine::{Outcome, Pause, Reason, TrialKind};
use sysroot::{BootSettings, Loader};

use crate::sim_machine::{Simulated, disk, open, write};

const CONFIG: &str = "/host/boot/grub/grub.cfg";
const SETTINGS: &str = "/host/ostree/backstop/boot.toml";
const KEPT: &str = "/host/boot/grub/grub.cfg.before-backstop";

#[test]
fn a_live_trial_is_not_kept_where_what_is_kept_would_not_boot() {
    for replaced in [false, true] {
        let (fs, old, new) = disk();
        let settings = BootSettings {
            loader: Loader::Grub,
            ..BootSettings::default()
        };
        open(&fs).set_boot_settings(&settings).unwrap();
        let ours = static_config(&StaticConfig {
            boot_uuid: "0f".into(),
            boot_dir: "/boot".into(),
            state: StatePlace::Boot("/backstop/state".into()),
            serial: None,
            before: Some("/grub/grub.cfg.before-backstop".into()),
        });
        write(&fs, CONFIG, &ours.unwrap());
        write(&fs, KEPT, "# by hand\n");
        let mut machine = Simulated::new(&fs, 0, None);
        machine.kind = TrialKind::Live;
        machine.boot();
        let pause = machine.request(&new).unwrap();
        assert!(matches!(pause, Pause::Ready), "{pause:?}");
        if replaced {
            write(&fs, CONFIG, "# by update-grub\n");
        }
        machine.run(pause);
        machine.power_on();
        let wanted = if replaced { &old } else { &new };
        assert_eq!(machine.running(), *wanted);
        let first = open(&fs).published().unwrap().order.good.remove(0);
        assert_eq!(first.checksum.to_string(), wanted.as_str());
        let records = machine.journal().records().unwrap();
        let ends = records.iter().rev().find_map(|r| r.outcome.clone());
        match ends.unwrap() {
            Outcome::Kept { .. } => assert!(!replaced),
            Outcome::RolledBack {
                reason: Reason::KeepFailed { error },
                ..
            } => assert!(replaced && error.contains("`backstop adopt`"), "{error}"),
            other => panic!("{other:?}"),
        }
    }
}

/// Nothing that backstop publishes would boot on a host that goes by `ostree`: neither the
/// trial nor the way back. A trial is refused, and one that is ready comes to an end.
#[test]
fn nothing_is_tried_on_a_host_that_is_handed_back() {
    for ready in [false, true] {
        let (fs, old, new) = disk();
        let mut machine = Simulated::new(&fs, 0, None);
        machine.boot();
        let hand_back = || {
            fs.remove_file(SETTINGS.as_ref()).unwrap();
            write(&fs, CONFIG, "# by hand\nblscfg\n");
        };
        if !ready {
            hand_back();
        }
        let pause = machine.request(&new).unwrap();
        assert_eq!(matches!(pause, Pause::Ready), ready, "{pause:?}");
        if ready {
            hand_back();
        }
        machine.run(pause);
        assert_eq!(machine.running(), old);
        let records = machine.journal().records().unwrap();
        let ends = records.iter().rev().find_map(|r| r.outcome.clone());
        let shown = format!("{:?}", ends.unwrap());
        assert!(shown.contains("`backstop adopt`"), "{shown}");
        assert_eq!(shown.starts_with("Rejected"), !ready, "{shown}");
        let sysroot = open(&fs);
        let staged = sysroot.deployments().unwrap().len() > 1;
        assert_eq!(staged, ready, "what cannot be tried was staged");
    }
}
