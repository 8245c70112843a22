//! Garbage is collected during the trial: both closures are still there.

use proof::installed;

#[test]
fn garbage_collection_during_the_trial() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("tidy").unwrap();
    let version = stage.bring_version(&installed("2"), &host).unwrap();
    let stray = stage.bring_version(&installed("stray"), &host).unwrap();
    let (code, said) = host.tries(&format!(
        "backstop switch {version} --live --confirm-within 10m --detach"
    ));
    assert_eq!(code, Some(0), "{said}");
    host.wait_until("a healthy trial", || {
        host.status()["under_way"]["phase"]["healthy"] == true
    });
    host.run("nix-collect-garbage -d").unwrap();
    let whole = |path: &str| {
        let check = format!("all=$(nix-store -qR {path}) && nix-store --verify-path $all");
        host.tries(&check).0 == Some(0)
    };
    assert!(!whole(&stray), "what nobody needs is gone");
    assert!(whole(&version) && whole(host.first_version()));
    let (code, said) = host.tries("backstop rollback");
    assert_eq!(
        host.wait_for_ending(1).end,
        "rolled-back",
        "{code:?} {said}"
    );
    host.assert_back();
}
