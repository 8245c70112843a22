use std::error::Error;
use std::path::Path;
use std::time::Duration;

use agent::{Policy, Reboot};
use engine::{Confirm, TrialKind, VersionId};

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn without_files_the_policy_is_to_reboot_and_keep_what_is_healthy() {
    let root = tempfile::tempdir().unwrap();
    let policy = Policy::load(root.path()).unwrap();
    assert_eq!(policy, Policy::default());
    assert_eq!(policy.reboot, Reboot::Now);
    let request = policy.request(VersionId::new("abc"), "debian/stable");
    assert_eq!(request.confirm, Confirm::Checks);
    assert_eq!(
        (request.attempts, request.source.as_str()),
        (3, "debian/stable")
    );
}

#[test]
fn later_files_override_key_by_key() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    write(
        root,
        "usr/lib/backstop/backstop.toml",
        "[upgrade]\nref = 'debian/stable'\nattempts = 5\n[reboot]\nwhen = 'never'\n",
    );
    write(
        root,
        "etc/backstop/backstop.toml",
        "[upgrade]\nkind = 'live'\nconfirm = 'person'\nconfirm_within = '10m'\n",
    );
    write(
        root,
        "usr/lib/backstop/backstop.toml.d/50.toml",
        "[upgrade]\nattempts = 9",
    );
    write(
        root,
        "etc/backstop/backstop.toml.d/50.toml",
        "[upgrade]\nboot_deadline = '90s'",
    );
    write(
        root,
        "usr/lib/backstop/backstop.toml.d/60.toml",
        "[upgrade]\nconfirm = 'deployer'\n[reboot]\nwindows = ['Sat,Sun 02:00-04:00']",
    );
    write(root, "etc/backstop/backstop.toml.d/notes.txt", "not TOML");
    let policy = Policy::load(root).unwrap();
    assert_eq!(policy.upgrade.reference.as_deref(), Some("debian/stable"));
    assert_eq!(policy.upgrade.attempts, 5);
    assert_eq!(policy.upgrade.kind, TrialKind::Live);
    let within = Duration::from_secs(600);
    assert_eq!(policy.upgrade.confirm, Confirm::Deployer { within });
    assert_eq!(policy.upgrade.boot_deadline, Duration::from_secs(90));
    let windows = vec!["Sat,Sun 02:00-04:00".parse().unwrap()];
    assert_eq!(policy.reboot, Reboot::Windows(windows));
}

#[test]
fn a_bad_file_is_answered_with_its_name_and_the_key() {
    let table = [
        ("[upgrade]\nknd = 'live'", "unknown field `knd`"),
        ("[upgrade]\nkind = 'later'", "line 2"),
        ("[upgrade]\nattempts = 0", "upgrade.attempts"),
        ("[upgrade]\nattempts = 1000", "line 2"),
        ("[upgrade]\nconfirm = 'person'", "confirm_within is missing"),
        ("[upgrade]\nconfirm_within = '5m'", "upgrade.confirm_within"),
        ("[upgrade]\nboot_deadline = 'soon'", "no length of time"),
        (
            "[reboot]\nwhen = 'now'\nwindows = ['02:00-03:00']",
            "either",
        ),
        ("[reboot]\nwindows = []", "reboot.windows"),
        ("[reboot]\nwindows = ['Someday 02:00-03:00']", "Someday"),
        ("[restart]", "unknown field `restart`"),
    ];
    for (text, wanted) in table {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "etc/backstop/backstop.toml", text);
        let error = Policy::load(root.path()).unwrap_err();
        let source = error.source().map(ToString::to_string).unwrap_or_default();
        let message = format!("{error}: {source}");
        assert!(message.contains("etc/backstop/backstop.toml"), "{message}");
        assert!(message.contains(wanted), "{text}: {message}");
    }
}
