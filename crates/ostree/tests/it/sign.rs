//! Signatures: by Ed25519 keys, and by OpenPGP keys with `gpg` and Debian's `ostree`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ostree::sign::{
    Gpg, GpgState, KeySet, RemoteVerifier, Scheme, SecretKey, SignError, Signer, Trust,
};
use ostree::{Checksum, Error, Metadata, Repo, RepoMode};

use crate::sandbox::{Sandbox, commit, have_ostree, write};

fn small(sandbox: &Sandbox) -> (Repo, Checksum) {
    let repo = sandbox.repo("repo", RepoMode::Archive);
    let tree = sandbox.path("small");
    fs::create_dir(&tree).unwrap();
    write(&tree.join("file"), b"content", 0o644);
    let commit = commit(&repo, &tree);
    (repo, commit)
}

fn trusting(keys: &[&SecretKey]) -> Trust {
    let mut set = KeySet::default();
    keys.iter().for_each(|k| set.trust(k.public()));
    Trust::Ed25519(set)
}

#[test]
fn ed25519_beside_a_commit() {
    let sandbox = Sandbox::new();
    let (repo, commit) = small(&sandbox);
    let keys = [(); 3].map(|()| SecretKey::generate().unwrap());
    let signer = |i: usize| Signer::Ed25519(keys[i].clone());
    let refused = repo
        .verify_commit(&commit, &trusting(&[&keys[0]]))
        .unwrap_err();
    let Error::UntrustedCommit { source, .. } = refused else {
        panic!("{refused:?}");
    };
    assert!(matches!(*source, SignError::Unsigned(_)), "{source}");
    assert!(repo.sign_commit(&commit, &signer(0)).unwrap());
    assert!(!repo.sign_commit(&commit, &signer(0)).unwrap());
    assert!(repo.sign_commit(&commit, &signer(1)).unwrap());
    for i in [0, 1] {
        repo.verify_commit(&commit, &trusting(&[&keys[i]])).unwrap();
    }
    assert!(repo.verify_commit(&commit, &trusting(&[&keys[2]])).is_err());
    if have_ostree() {
        let rev = commit.to_string();
        let key = "--print-detached-metadata-key=ostree.sign.ed25519";
        let shown = sandbox.ostree(&["show", "--repo=repo", key, &rev]);
        assert_eq!(shown.matches("0x").count(), 128, "{shown}");
        sandbox.ostree(&["fsck", "--repo=repo"]);
    }
    let first = keys[0].sign(&fs::read(object(&repo, &commit)).unwrap());
    let gone = |s: &[u8]| s == first;
    assert_eq!(
        repo.remove_signatures(&commit, Scheme::Ed25519, &gone)
            .unwrap(),
        1
    );
    assert!(repo.verify_commit(&commit, &trusting(&[&keys[0]])).is_err());
    repo.verify_commit(&commit, &trusting(&[&keys[1]])).unwrap();
}

fn object(repo: &Repo, commit: &Checksum) -> PathBuf {
    repo.object_path(&ostree::ObjectName::new(
        *commit,
        ostree::ObjectKind::Commit,
    ))
}

#[test]
fn keys_of_a_directory() {
    let sandbox = Sandbox::new();
    let (repo, commit) = small(&sandbox);
    let (key, other) = (
        SecretKey::generate().unwrap(),
        SecretKey::generate().unwrap(),
    );
    repo.sign_commit(&commit, &Signer::Ed25519(key.clone()))
        .unwrap();
    let dir = sandbox.path("keys");
    fs::create_dir_all(dir.join("trusted.ed25519.d")).unwrap();
    fs::create_dir_all(dir.join("revoked.ed25519.d")).unwrap();
    let verify = || {
        let mut keys = KeySet::default();
        keys.add_dir(&durable::RealFs, &dir)?;
        repo.verify_commit(&commit, &Trust::Ed25519(keys))
    };
    assert!(verify().is_err());
    let line = |key: &SecretKey| key.public().to_base64() + "\n";
    let trusted = dir.join("trusted.ed25519.d/vendor");
    write(
        &trusted,
        (line(&other) + "# ours\nrubbish\n" + &line(&key)).as_bytes(),
        0o644,
    );
    verify().unwrap();
    let revoked = dir.join("revoked.ed25519");
    write(&revoked, line(&other).as_bytes(), 0o644);
    verify().unwrap();
    write(
        &dir.join("revoked.ed25519.d/x"),
        line(&key).as_bytes(),
        0o644,
    );
    assert!(verify().is_err());
    fs::remove_file(dir.join("revoked.ed25519.d/x")).unwrap();
    verify().unwrap();
    // What cannot be read could be the key.
    write(&revoked, b"rubbish\n", 0o644);
    let Err(Error::Sign(why)) = verify() else {
        panic!("a damaged list was passed over");
    };
    assert!(
        matches!(*why, SignError::RevokedLine { line: 1, .. }),
        "{why}"
    );
}

/// A person with an OpenPGP key.
struct Person {
    home: PathBuf,
    public: PathBuf,
    fingerprint: String,
}

impl Person {
    fn new(sandbox: &Sandbox, name: &str) -> Option<Self> {
        if !testing::have(&["gpg"], &[]) {
            return None;
        }
        let home = sandbox.path(name);
        fs::create_dir(&home).unwrap();
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&home, PermissionsExt::from_mode(0o700)).unwrap();
        let user = format!("{name} <{name}@example.org>");
        let make = [
            "--passphrase",
            "",
            "--quick-generate-key",
            &user,
            "ed25519",
            "sign",
            "0",
        ];
        gpg(&home, &make);
        let public = sandbox.path(&format!("{name}.asc"));
        let bytes = gpg(&home, &["--armor", "--export"]);
        fs::write(&public, bytes).unwrap();
        let listed = String::from_utf8(gpg(&home, &["--with-colons", "--list-keys"])).unwrap();
        let fingerprint = listed.lines().find_map(|l| l.strip_prefix("fpr:")).unwrap();
        let fingerprint = fingerprint.trim_matches(':').to_owned();
        Some(Self {
            home,
            public,
            fingerprint,
        })
    }

    fn signer(&self) -> Signer {
        Signer::Gpg {
            gpg: Gpg {
                home: Some(self.home.clone()),
                keyrings: Vec::new(),
            },
            key: self.fingerprint.clone(),
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // The agent that gpg started would outlive the test.
        let _ = Command::new("gpgconf")
            .args(["--homedir".as_ref(), self.home.as_os_str()])
            .args(["--kill", "all"])
            .output();
    }
}

fn gpg(home: &Path, args: &[&str]) -> Vec<u8> {
    let mut command = Command::new("gpg");
    command
        .arg("--batch")
        .arg("--homedir")
        .arg(home)
        .args(["--pinentry-mode", "loopback"]);
    let output = command.args(args).output().unwrap();
    assert!(
        output.status.success(),
        "gpg {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn openpgp_both_ways() {
    let sandbox = Sandbox::new();
    let (repo, commit) = small(&sandbox);
    let (Some(ann), Some(bob)) = (Person::new(&sandbox, "ann"), Person::new(&sandbox, "bob"))
    else {
        return;
    };
    repo.sign_commit(&commit, &ann.signer()).unwrap();
    assert_eq!(repo.import_keys("origin", &[&ann.public], &[]).unwrap(), 1);
    assert_eq!(repo.import_keys("origin", &[&ann.public], &[]).unwrap(), 0);
    assert_eq!(
        repo.trusted_keys(Some("origin")).unwrap().join(" "),
        ann.fingerprint
    );
    let trust = || Trust::Gpg(Gpg::with_keyrings(repo.keyrings(Some("origin")).unwrap()));
    repo.verify_commit(&commit, &trust()).unwrap();
    // Armoured keys, as `gpgkeypath` may name them.
    let armoured = Trust::Gpg(Gpg::with_keyrings(vec![ann.public.clone()]));
    repo.verify_commit(&commit, &armoured).unwrap();
    let wrong = Trust::Gpg(Gpg::with_keyrings(vec![bob.public.clone()]));
    let refused = repo.verify_commit(&commit, &wrong).unwrap_err();
    assert!(
        format!("{:?}", refused).contains("unknown key"),
        "{refused:?}"
    );
    let data = fs::read(object(&repo, &commit)).unwrap();
    let signature = ann.signer().sign(&data).unwrap();
    let keyring = Gpg::with_keyrings(vec![ann.public.clone()]);
    let found = keyring.inspect(b"other data", &[&signature]).unwrap();
    assert_eq!(found[0].state, GpgState::Bad);
    if !have_ostree() {
        return;
    }
    // Theirs verifies ours, with the keyring that we wrote.
    sandbox.ostree(&["init", "--repo=to", "--mode=archive"]);
    let add = ["remote", "--repo=to", "add", "origin", "file:///nowhere"];
    sandbox.ostree(&add);
    fs::copy(
        repo.keyring_path("origin"),
        sandbox.path("to/origin.trustedkeys.gpg"),
    )
    .unwrap();
    let pull = [
        "pull-local",
        "--repo=to",
        "--remote=origin",
        "--gpg-verify",
        "repo",
        "main",
    ];
    sandbox.ostree(&pull);
    // And ours verifies theirs.
    let home = format!("--gpg-homedir={}", bob.home.display());
    let rev = commit.to_string();
    sandbox.ostree(&["gpg-sign", "--repo=repo", &home, &rev, &bob.fingerprint]);
    let by_bob = Trust::Gpg(Gpg::with_keyrings(vec![bob.public.clone()]));
    repo.verify_commit(&commit, &by_bob).unwrap();
    repo.verify_commit(&commit, &trust()).unwrap();
    // A keyring that they wrote.
    let import = [
        "remote",
        "--repo=to",
        "gpg-import",
        "origin",
        "-k",
        bob.public.to_str().unwrap(),
    ];
    sandbox.ostree(&import);
    let to = sandbox.open("to");
    let mut both = vec![ann.fingerprint.clone(), bob.fingerprint.clone()];
    let mut found = to.trusted_keys(Some("origin")).unwrap();
    both.sort();
    found.sort();
    assert_eq!(found, both);
}

#[test]
fn what_a_remote_demands() {
    let sandbox = Sandbox::new();
    let (repo, commit) = small(&sandbox);
    let (key, other) = (
        SecretKey::generate().unwrap(),
        SecretKey::generate().unwrap(),
    );
    let data = fs::read(object(&repo, &commit)).unwrap();
    repo.sign_commit(&commit, &Signer::Ed25519(key.clone()))
        .unwrap();
    let signed = repo.detached_metadata(&commit).unwrap().unwrap();
    let file = sandbox.path("keys");
    write(&file, key.public().to_base64().as_bytes(), 0o644);
    let file = file.to_str().unwrap().to_owned();
    let (good, bad) = (key.public().to_base64(), other.public().to_base64());
    let (good, bad) = (good.as_str(), bad.as_str());
    let (k, f) = ("verification-ed25519-key", "verification-ed25519-file");
    // The settings; whether they can be used; whether the signed commit, and the same
    // without its signature, are believed.
    type Case<'a> = (&'a [(&'a str, &'a str)], bool, bool, bool);
    let no_gpg = ("gpg-verify", "false");
    let cases: [Case<'_>; 14] = [
        (&[], true, false, false),
        (&[no_gpg], true, true, true),
        (
            &[no_gpg, ("sign-verify", "true"), (k, good)],
            true,
            true,
            false,
        ),
        (
            &[no_gpg, ("sign-verify", "ed25519"), (k, good)],
            true,
            true,
            false,
        ),
        (
            &[no_gpg, ("sign-verify", "ed25519"), (f, &file)],
            true,
            true,
            false,
        ),
        (
            &[no_gpg, ("sign-verify", "ed25519"), (k, bad)],
            true,
            false,
            false,
        ),
        (
            &[no_gpg, ("sign-verify", "ed25519"), (k, bad), (f, &file)],
            true,
            true,
            false,
        ),
        (
            &[no_gpg, ("sign-verify", "false"), (k, bad)],
            true,
            true,
            true,
        ),
        (&[("sign-verify", "ed25519"), (k, good)], true, false, false),
        (&[no_gpg, ("sign-verify", "ed25519")], false, false, false),
        (
            &[no_gpg, ("sign-verify", "ed25519"), (k, "rubbish")],
            false,
            false,
            false,
        ),
        (
            &[no_gpg, ("sign-verify", "ed25519"), (f, "/nowhere")],
            false,
            false,
            false,
        ),
        (
            &[no_gpg, ("sign-verify", "rot13"), (k, good)],
            false,
            false,
            false,
        ),
        (&[("gpg-verify", "maybe")], false, false, false),
    ];
    for (settings, usable, with, without) in cases {
        let get = |key: &str| {
            let found = settings.iter().find(|(k, _)| *k == key);
            found.map(|(_, v)| (*v).to_owned())
        };
        let verifier = RemoteVerifier::read(&repo, "origin", &get);
        assert_eq!(verifier.is_ok(), usable, "{settings:?}: {verifier:?}");
        let Ok(verifier) = verifier else { continue };
        let check = |m: Option<&Metadata>| verifier.check_commit(&commit, &data, m).is_ok();
        assert_eq!(check(Some(&signed)), with, "{settings:?}");
        assert_eq!(check(None), without, "{settings:?}");
        assert_eq!(verifier.wants_signed_commits(), !without, "{settings:?}");
        let mut other = data.clone();
        other[0] ^= 1;
        let changed = verifier
            .check_commit(&commit, &other, Some(&signed))
            .is_ok();
        assert_eq!(changed, without, "{settings:?}");
    }
}

#[test]
fn signed_summaries() {
    let sandbox = Sandbox::new();
    let (repo, _) = small(&sandbox);
    let key = SecretKey::generate().unwrap();
    let public = key.public().to_base64();
    let settings = [
        ("gpg-verify", "false"),
        ("sign-verify-summary", "ed25519"),
        ("verification-ed25519-key", public.as_str()),
    ];
    let get = |key: &str| {
        let found = settings.iter().find(|(k, _)| *k == key);
        found.map(|(_, v)| (*v).to_owned())
    };
    let verifier = RemoteVerifier::read(&repo, "origin", &get).unwrap();
    let summary = b"a summary";
    let signatures = ostree::sign::sign_data(summary, &[Signer::Ed25519(key)], None).unwrap();
    let bytes = signatures.encode();
    verifier.check_summary(summary, Some(&bytes)).unwrap();
    let refused: [(&[u8], Option<&[u8]>); 5] = [
        (b"another one", Some(&bytes)),
        (summary, None),
        (summary, Some(b"")),
        (summary, Some(&bytes[..bytes.len() / 2])),
        (summary, Some(b"rubbish")),
    ];
    for (summary, signatures) in refused {
        let error = verifier.check_summary(summary, signatures).unwrap_err();
        assert!(matches!(error, Error::UntrustedSummary { .. }), "{error:?}");
    }
    let none = RemoteVerifier::none("origin");
    assert!(!none.wants_signed_summary());
    none.check_summary(summary, None).unwrap();
}
