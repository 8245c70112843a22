//! Pulls that demand signatures.

use std::sync::Arc;

use durable::RealFs;
use ostree::delta::{DeltaName, DeltaOptions};
use ostree::sign::{RemoteVerifier, SecretKey, Signer};
use ostree::{Checksum, Metadata, Repo, RepoMode};

use crate::far::{Act, Far};
use crate::sandbox::{Sandbox, assert_clean, assert_has, commit, options, pull, remote, summarize};

#[test]
fn signatures_are_demanded() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(Arc::new(RealFs), &origin.path).unwrap();
    let name = DeltaName::new(None, origin.second);
    let options_of_delta = DeltaOptions {
        min_fallback_size: 0,
        ..DeltaOptions::default()
    };
    from.generate_delta(name, &options_of_delta, &monitor::Silent)
        .unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let to = sandbox.repo("to", RepoMode::BareUser);
    let (key, other) = (
        SecretKey::generate().unwrap(),
        SecretKey::generate().unwrap(),
    );
    let mut far_away = remote(&far.url());
    far_away.set("sign-verify", Some("ed25519"));
    far_away.set("sign-verify-summary", Some("ed25519"));
    far_away.set("verification-ed25519-key", Some(&key.public().to_base64()));
    let verifier = RemoteVerifier::new(&to, &far_away).unwrap();
    let pull = || {
        let options = options(&["main"]);
        fetch::pull(&to, &far_away, &options, &verifier, &monitor::Silent)
    };
    let summary = |key: &SecretKey| {
        let signers = [Signer::Ed25519(key.clone())];
        from.update_summary(&Metadata::default(), &signers).unwrap();
    };
    let sign = |key: &SecretKey, commit: &Checksum| {
        from.sign_commit(commit, &Signer::Ed25519(key.clone()))
            .unwrap();
    };
    let refused = |what: &str| {
        let error = pull().unwrap_err();
        assert!(to.load_commit(&origin.second).is_err(), "{what}");
        assert_clean(&to);
        format!("{error:?}")
    };
    // An unsigned summary; one by another key; unsigned commits; by another key.
    assert!(refused("no summary").contains("Unsigned"));
    summary(&other);
    assert!(refused("other summary").contains("NoneGood"));
    summary(&key);
    assert!(refused("no commit").contains("Unsigned"));
    sign(&other, &origin.second);
    assert!(refused("other commit").contains("NoneGood"));
    let signatures = signatures_of(&origin.path, &origin.second);
    std::fs::write(&signatures, [1, 2, 3]).unwrap();
    assert!(refused("damaged").contains("DamagedDetached"));
    std::fs::remove_file(&signatures).unwrap();
    let part = |target: &str| target.contains("/deltas/") && target.ends_with("/0");
    let parts = far.asked().iter().filter(|a| part(&a.target)).count();
    assert_eq!(parts, 0, "a part was fetched for a commit that is refused");
    sign(&key, &origin.second);
    pull().unwrap();
    assert_has(&to, "origin:main", origin.second);
    let there = to.detached_metadata(&origin.second).unwrap();
    assert!(there.is_some());
}

/// Where a repository keeps the signatures of a commit.
fn signatures_of(repo: &std::path::Path, commit: &Checksum) -> std::path::PathBuf {
    let hex = commit.to_string();
    repo.join(format!("objects/{}/{}.commitmeta", &hex[..2], &hex[2..]))
}

/// Where no signature is demanded, damaged ones are as good as none; they are not kept.
#[test]
fn damaged_signatures_count_as_none() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    std::fs::write(signatures_of(&origin.path, &origin.second), [1, 2, 3]).unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let to = sandbox.repo("to", RepoMode::BareUser);
    crate::sandbox::pull_main(&to, &far.url()).unwrap();
    assert_has(&to, "origin:main", origin.second);
    assert!(to.detached_metadata(&origin.second).unwrap().is_none());
}

#[test]
fn commits_of_another_collection_are_refused() {
    let sandbox = Sandbox::new();
    let from = sandbox.repo("from", RepoMode::Archive);
    let tree = sandbox.tree("tree", "x");
    let unbound = commit(&from, &tree, "unbound", 1000);
    let id = "org.example.Ours";
    from.set_config("core", "collection-id", Some(id)).unwrap();
    let bound = commit(&from, &tree, "bound", 2000);
    summarize(&from);
    let far = Far::start(from.path(), |_, _| Act::Serve);
    let try_pull = |url: &str, collection, name: &str, verify_bindings| {
        let to = sandbox.repo(&format!("to-{name}"), RepoMode::BareUser);
        let mut remote = remote(url);
        remote.set("collection-id", collection);
        let options = fetch::PullOptions {
            verify_bindings,
            ..options(&[name])
        };
        let pulled = pull(&to, &remote, &options);
        assert_eq!(
            to.read_ref(&format!("origin:{name}")).unwrap().is_some(),
            pulled.is_ok()
        );
        std::fs::remove_dir_all(to.path()).unwrap();
        pulled.map(|pulled| pulled.commits[0].1)
    };
    let far = far.url();
    assert_eq!(try_pull(&far, Some(id), "bound", true).unwrap(), bound);
    assert_eq!(try_pull(&far, None, "bound", true).unwrap(), bound);
    let other = Some("org.example.Theirs");
    let error = try_pull(&far, other, "bound", true).unwrap_err();
    assert!(error.to_string().contains("org.example.Ours"), "{error}");
    assert!(try_pull(&far, other, "bound", false).is_ok());
    let error = try_pull(&far, Some(id), "unbound", true).unwrap_err();
    assert!(error.to_string().contains("bound to none"), "{error}");
    assert_eq!(try_pull(&far, None, "unbound", true).unwrap(), unbound);
    assert!(try_pull(&far, Some("nonsense"), "bound", true).is_err());
    // A directory says itself which collection it is of.
    let near = fetch::file_url(from.path()).unwrap();
    assert!(try_pull(&near, None, "bound", true).is_ok());
    assert!(try_pull(&near, None, "unbound", true).is_err());
}
