//! Summaries: cached, and never older than before.

use ostree::{
    Distrust, FetchedCommit, FetchedSummary, Metadata, Repo, RepoMode, Trust, Value, Verifier,
};

use crate::far::{Act, Far};
use crate::sandbox::{Sandbox, assert_has, options, remote, summarize, text};

/// Believes what ends with these bytes.
#[derive(Debug)]
struct Seal(Vec<u8>);

impl Verifier for Seal {
    fn verify_commit(&self, _: &FetchedCommit<'_>) -> Result<Trust, Distrust> {
        Ok(Trust::Undemanded)
    }

    fn verify_summary(&self, summary: &FetchedSummary<'_>) -> Result<Trust, Distrust> {
        let digest = ostree::Checksum::of(summary.bytes).to_string();
        let want = [digest.as_bytes(), &self.0].concat();
        match summary.signatures == Some(&want) {
            true => Ok(Trust::Signed),
            false => Err("it is not sealed".into()),
        }
    }
}

fn seal(repo: &Repo) {
    let bytes = repo.summary_bytes().unwrap().unwrap();
    let digest = ostree::Checksum::of(&bytes).to_string();
    std::fs::write(repo.path().join("summary.sig"), digest + "seal").unwrap();
}

fn dated(repo: &Repo, key: &str, time: u64) {
    let mut more = Metadata::default();
    more.set(key, Value::u64_be(time));
    let summary = repo.summarize(&more).unwrap();
    repo.write_summary(&summary).unwrap();
    seal(repo);
}

#[test]
fn old_and_expired_ones_are_noticed() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(std::sync::Arc::new(durable::RealFs), &origin.path).unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let verifier = Seal(b"seal".to_vec());
    let try_pull = |older_summary| {
        let options = fetch::PullOptions {
            older_summary,
            ..options(&["main"])
        };
        let monitor = monitor::Silent;
        fetch::pull(&repo, &remote(&far.url()), &options, &verifier, &monitor)
    };
    const MODIFIED: &str = "ostree.summary.last-modified";
    dated(&from, MODIFIED, 5000);
    try_pull(false).unwrap();
    dated(&from, MODIFIED, 4999);
    let error = try_pull(false).unwrap_err();
    assert!(error.to_string().contains("replaying"), "{error}");
    // Even when the cache was emptied.
    std::fs::remove_dir_all(repo.path().join("tmp/cache")).unwrap();
    assert!(try_pull(false).is_err());
    try_pull(true).unwrap();
    // That is the floor from now on.
    try_pull(false).unwrap();
    dated(&from, "ostree.summary.expires", 1_000_000_000);
    let error = try_pull(false).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    // Without a seal nothing counts.
    summarize(&from);
    let error = try_pull(false).unwrap_err();
    assert!(text(&error).contains("not sealed"), "{error}");
    assert_has(&repo, "origin:main", origin.second);
}

#[test]
fn an_unsigned_old_one_is_told() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(std::sync::Arc::new(durable::RealFs), &origin.path).unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let remote = remote(&far.url());
    let verifier = ostree::Unsigned::new(&remote).unwrap();
    let monitor = monitor::Recorded::default();
    for time in [5000, 4000] {
        dated(&from, "ostree.summary.last-modified", time);
        fetch::pull(&repo, &remote, &options(&["main"]), &verifier, &monitor).unwrap();
    }
    let notes = monitor.notes.into_inner().unwrap();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("older than one seen before"), "{notes:?}");
}

#[test]
fn one_that_is_known_is_not_fetched_again() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(std::sync::Arc::new(durable::RealFs), &origin.path).unwrap();
    seal(&from);
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let verifier = Seal(b"seal".to_vec());
    let pull = || {
        let monitor = monitor::Silent;
        let options = options(&["main"]);
        fetch::pull(&repo, &remote(&far.url()), &options, &verifier, &monitor).unwrap();
        far.asked()
            .iter()
            .filter(|a| a.target == "/summary")
            .count()
    };
    assert_eq!((pull(), pull()), (1, 1));
    dated(&from, "x", 1);
    assert_eq!(pull(), 2);
    // A cache that was tampered with helps nobody.
    let cached = repo.path().join("tmp/cache/summaries/origin");
    std::fs::write(cached, b"junk").unwrap();
    assert_eq!(pull(), 3);
    assert_has(&repo, "origin:main", origin.second);
}
