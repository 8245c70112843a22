//! Several stateroots on one host.

use std::fs;
use std::path::Path;

use durable::Fs;
use durable::sim::SimFs;
use sysroot::{DeploymentId, Standing};

use crate::crash_rest::harmless;
use crate::host::Host;
use crate::oracle::{admin, can_run, listing, names, status};
use crate::sim_host::{host, open, stage_in};

/// The stateroot beside the first one.
const OTHER: &str = "trixie";

/// Stages a version beside the first one.
fn beside(host: &Host, name: &str, from: &DeploymentId) -> DeploymentId {
    let mut request = host.request(host.version(name, &[]), Some(from));
    request.stateroot = OTHER.into();
    let staged = host.sysroot.stage(&request, &monitor::Silent);
    staged.unwrap().deployment
}

#[test]
fn ostree_reads_and_changes_two_stateroots() {
    if !can_run() {
        return;
    }
    let host = Host::new();
    let root = host.root();
    let first = host.stage(host.version("1", &[]), None).deployment;
    host.publish(&[&first], None);
    fs::write(host.tree(&first).join("etc/mine"), "x").unwrap();
    host.sysroot.add_stateroot(OTHER).unwrap();
    let second = beside(&host, "2", &first);
    host.publish(&[&first], Some(&second));
    assert_eq!(status(&root), names(&[&first, &second]));
    assert_eq!(host.boot(), second);
    host.publish(&[&second, &first], None);
    assert_eq!(status(&root), names(&[&second, &first]));
    assert_eq!(host.boot(), second);
    let etc = |id: &DeploymentId| fs::read_to_string(host.tree(id).join("etc/mine"));
    assert_eq!(etc(&second).unwrap(), "x");

    // It goes on in either of them, and we go on from there.
    let commit = host.version("3", &[]).to_string();
    let deploy = format!("--os={OTHER}");
    admin(&root, &["deploy", &deploy, "--retain", &commit]);
    let published = host.sysroot.published().unwrap();
    assert_eq!(published.config, None);
    let order: Vec<_> = published.order.good.iter().collect();
    assert_eq!((order[0].stateroot.as_str(), order.len()), (OTHER, 3));
    assert_eq!(order[0].checksum.to_string(), commit);
    host.publish(&order, None);
    assert_eq!(status(&root), names(&order));
    assert_eq!(host.boot(), *order[0]);

    // One is given up.
    let at = order.iter().position(|id| **id == first).unwrap();
    admin(&root, &["undeploy", &at.to_string()]);
    let left = host.sysroot.deployments().unwrap();
    assert!(left.iter().all(|d| d.id.stateroot == OTHER));
    assert_eq!(left.len(), 2);
}

/// A stateroot is as `ostree admin os-init` makes one.
#[test]
fn a_stateroot_is_as_ostree_makes_it() {
    if !can_run() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let theirs = dir.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    admin(&theirs, &["init-fs", theirs.to_str().unwrap()]);
    admin(&theirs, &["os-init", OTHER]);
    let host = Host::new();
    host.sysroot.add_stateroot(OTHER).unwrap();
    let of = |root: &Path| {
        let mut all = listing(&root.join("ostree/deploy").join(OTHER));
        // Theirs comes with the first deployment.
        all.retain(|line| !line.starts_with("deploy/"));
        all
    };
    assert_eq!(of(&host.root()), of(&theirs));
}

/// Until its version is published the host boots as before; what has a name is whole, and
/// has a whole `/var`.
#[test]
fn one_that_is_made_is_whole_or_nothing_boots_from_it() {
    let (fs, good, two) = host();
    let make = |fs: &SimFs| {
        open(fs).add_stateroot(OTHER).unwrap();
        stage_in(OTHER, fs, two, Some(&good)).unwrap();
    };
    let reports = harmless("a new stateroot", &fs, &make, &|fs, finished| {
        let all = open(fs).deployments().unwrap();
        let there: Vec<_> = all.iter().filter(|d| d.id.stateroot == OTHER).collect();
        assert!(!finished || !there.is_empty(), "it is lost");
        for deployment in there {
            assert_eq!(deployment.standing, Standing::Unlisted);
            let tree = open(fs).layout().deployment(&deployment.id);
            for file in ["usr/lib/modules/1/vmlinuz", "etc/hostname"] {
                assert!(fs.metadata(&tree.join(file)).is_ok(), "{file}");
            }
            let var = open(fs).layout().stateroot(OTHER).join("var");
            assert_eq!(fs.metadata(&var.join("tmp")).unwrap().mode & 0o7777, 0o1777);
            for link in ["run", "lock"] {
                assert!(fs.read_link(&var.join(link)).is_ok(), "{link}");
            }
        }
    });
    assert!(reports.iter().all(|report| report.images > 70));
}
