//! Static deltas over the network, and what becomes of a pull when one is broken.

use std::sync::Arc;

use fetch::Deltas;
use monitor::{Recorded, Silent};
use ostree::delta::{DeltaName, DeltaOptions};
use ostree::sign::RemoteVerifier;
use ostree::{Repo, RepoMode};

use crate::far::{Act, Far};
use crate::life::Ours;
use crate::sandbox::{
    Origin, Sandbox, assert_has, assert_untouched, options, pull, pull_main, remote, summarize,
    text,
};

/// An origin with a delta to its newest commit, from the one before or from nothing.
fn with_delta(sandbox: &Sandbox, from_first: bool) -> Origin {
    let origin = sandbox.origin("origin");
    let repo = Repo::open(Arc::new(durable::RealFs), &origin.path).unwrap();
    let from = from_first.then_some(origin.first);
    let name = DeltaName::new(from, origin.second);
    let made = repo.generate_delta(name, &DeltaOptions::default(), &Silent);
    assert!(made.unwrap().parts > 0);
    summarize(&repo);
    origin
}

#[test]
fn one_delta_instead_of_many_files() {
    for from_first in [true, false] {
        let sandbox = Sandbox::new();
        let origin = with_delta(&sandbox, from_first);
        let far = Far::start(&origin.path, |_, _| Act::Serve);
        let repo = sandbox.repo("to", RepoMode::BareUser);
        if from_first {
            let first = format!("main@{}", origin.first);
            pull(&repo, &remote(&far.url()), &options(&[&first])).unwrap();
        }
        let before = far.count(".filez");
        pull_main(&repo, &far.url()).unwrap();
        assert_has(&repo, "origin:main", origin.second);
        // From nothing, the longest file is one that a delta leaves out.
        let left_out = if from_first { 0 } else { 1 };
        assert_eq!(far.count(".filez") - before, left_out, "{from_first}");
        assert!(far.count("/deltas/") > 0);
        // Nothing to do, nothing to fetch.
        let before = far.count("/deltas/");
        pull_main(&repo, &far.url()).unwrap();
        assert_eq!(far.count("/deltas/"), before);
    }
}

#[test]
fn a_broken_delta_is_passed_over() {
    let sandbox = Sandbox::new();
    let origin = with_delta(&sandbox, false);
    for (name, broken) in [
        ("superblock", vec![1, 2, 3]),
        ("/0", vec![0; 1000]),
        ("/0", Vec::new()),
    ] {
        let far = Far::start(&origin.path, move |asked, _| {
            let of_delta = asked.target.contains("/deltas/");
            match of_delta && asked.target.ends_with(name) {
                true => Act::Bytes(broken.clone()),
                false => Act::Serve,
            }
        });
        let repo = sandbox.repo("to", RepoMode::BareUser);
        let required = fetch::PullOptions {
            deltas: Deltas::Require,
            ..options(&["main"])
        };
        let error = pull(&repo, &remote(&far.url()), &required).unwrap_err();
        assert!(text(&error).contains("delta"), "{}", text(&error));
        assert_untouched(&repo);
        let remote = remote(&far.url());
        let verifier = RemoteVerifier::new(&repo, &remote).unwrap();
        let monitor = Recorded::default();
        fetch::pull(&repo, &remote, &options(&["main"]), &verifier, &monitor).unwrap();
        let notes = monitor.notes.into_inner().unwrap().join("\n");
        assert!(notes.contains("a delta cannot be used"), "{notes}");
        assert_has(&repo, "origin:main", origin.second);
        durable::remove_tree(&durable::RealFs, repo.path()).unwrap();
    }
}

#[test]
fn where_deltas_are_demanded_or_not_wanted() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let required = |refs: &[&str]| fetch::PullOptions {
        deltas: Deltas::Require,
        ..options(refs)
    };
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let error = pull(&repo, &remote(&far.url()), &required(&["main"])).unwrap_err();
    assert!(error.to_string().contains("has no delta"), "{error}");
    let archive = sandbox.repo("archive", RepoMode::Archive);
    let error = pull(&archive, &remote(&far.url()), &required(&["main"])).unwrap_err();
    assert!(error.to_string().contains("cannot be used"), "{error}");
    let never = fetch::PullOptions {
        deltas: Deltas::Never,
        ..options(&["main"])
    };
    pull(&repo, &remote(&far.url()), &never).unwrap();
    assert_eq!(far.count("delta"), 1, "only the first looked for one");
    // What is here already needs none.
    pull(&repo, &remote(&far.url()), &required(&["main"])).unwrap();
}

#[test]
fn each_uses_the_other_ones() {
    if !testing::have(&["ostree"], &[]) {
        return;
    }
    let sandbox = Sandbox::new();
    let origin = with_delta(&sandbox, true);
    let server = Ours::start(&origin.path);
    sandbox.ostree(&["init", "--repo=theirs", "--mode=bare-user"]);
    let add = [
        "remote",
        "add",
        "--repo=theirs",
        "--no-gpg-verify",
        "origin",
    ];
    sandbox.ostree(&[&add[..], &[&server.url]].concat());
    let first = format!("main@{}", origin.first);
    sandbox.ostree(&["pull", "--repo=theirs", "origin", &first]);
    let required = [
        "pull",
        "--repo=theirs",
        "--require-static-deltas",
        "origin",
        "main",
    ];
    sandbox.ostree(&required);
    assert!(
        sandbox
            .ostree(&["fsck", "--repo=theirs"])
            .contains("fsck objects")
    );

    // Theirs.
    std::fs::remove_dir_all(origin.path.join("deltas")).unwrap();
    sandbox.ostree(&["static-delta", "generate", "--repo=origin", "main"]);
    sandbox.ostree(&["summary", "--repo=origin", "-u"]);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    pull(&repo, &remote(&server.url), &options(&[&first])).unwrap();
    let required = fetch::PullOptions {
        deltas: Deltas::Require,
        ..options(&["main"])
    };
    pull(&repo, &remote(&server.url), &required).unwrap();
    assert_has(&repo, "origin:main", origin.second);
}
