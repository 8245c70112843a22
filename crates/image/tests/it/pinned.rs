//! A deployment that somebody pinned and that is in no boot order.

use monitor::Silent;
use ostree::PullOptions;
use sysroot::{DeploymentId, Origin, StageKargs, StageRequest, Standing};

use crate::sim_machine::{RELEASES, Simulated, disk, open};

/// Staged by hand, pinned, and never published.
fn pinned(fs: &durable::sim::SimFs) -> DeploymentId {
    let sysroot = open(fs);
    let releases = ostree::Repo::open(std::sync::Arc::new(fs.clone()), RELEASES.as_ref());
    let what = ["stable".to_owned()];
    let repo = sysroot.repo();
    repo.pull_local(&releases.unwrap(), &what, &PullOptions::default(), &Silent)
        .unwrap();
    let request = StageRequest {
        stateroot: "debian".into(),
        commit: repo.resolve("stable").unwrap(),
        merge_from: None,
        origin: Origin::following("stable"),
        kargs: StageKargs::Local("ro".parse().unwrap()),
    };
    let id = sysroot.stage(&request, &Silent).unwrap().deployment;
    sysroot.set_pinned(&id, true).unwrap();
    id
}

#[test]
fn one_of_the_same_version_does_not_stand_in_the_way() {
    for healthy in [true, false] {
        let (fs, old, new) = disk();
        let id = pinned(&fs);
        let mut machine = Simulated::new(&fs, 0, Some(&new).filter(|_| !healthy));
        machine.boot();
        let pause = machine.request(&new).unwrap();
        machine.run(pause);
        machine.power_on();
        assert_eq!(machine.running(), if healthy { new } else { old });
        let sysroot = open(&fs);
        let kept = sysroot.deployment(&id).unwrap();
        assert!(kept.origin.is_pinned());
        assert_eq!(kept.standing, Standing::Unlisted);
        let first = sysroot.published().unwrap().order.good.remove(0);
        assert_ne!(first, id, "it was taken for the new one");
    }
}
