//! Two cases: one with systemd-boot and a disk that fails at one sector, one with GRUB.

use faults::{Hosts, Platform, case, table};
use testbed::{Release, fixture, packages};

const SAMPLE: [(&str, Platform); 2] = [
    ("sector-unwritable", Platform::SystemdBoot),
    ("panic", Platform::GrubEfi),
];

#[test]
fn a_sample_of_the_failures_ends_on_a_good_system() {
    let lacks = packages::lacks(&[
        packages::ROOT,
        packages::DISK,
        packages::MACHINE,
        packages::DAMAGE,
    ]);
    if !testing::nothing_lacks(&lacks) {
        return;
    }
    let dir = fixture::work_dir().unwrap();
    let program = fixture::binary().unwrap();
    let at = dir.path().join("hosts");
    let hosts = Hosts::create(Release::Bookworm, &at, &program, &monitor::Silent);
    let mut hosts = hosts.unwrap();
    for (name, platform) in SAMPLE {
        let case = case::find(name).unwrap();
        let finding = hosts.run(case, platform, &monitor::Silent).unwrap();
        println!("{}", table::line(&finding));
    }
}
