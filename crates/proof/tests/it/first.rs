//! The first deployment on a host with no profile history: it can roll back.

use proof::installed;
use testbed::nixos::HostOptions;

#[test]
fn the_first_deployment_can_be_rolled_back() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let options = HostOptions {
        no_profile: true,
        ..HostOptions::default()
    };
    let host = stage.actor_with("virgin", options).unwrap();
    assert_eq!(host.profile(), None);
    let second = stage.bring_version(&installed("2"), &host).unwrap();
    let (code, said) = host.tries(&format!(
        "backstop switch {second} --live --confirm-within 2s --wait"
    ));
    assert_eq!(code, Some(4), "{said}\n{}", host.testimony());
    host.assert_back();
    host.run(
        "backstop forgive --all || backstop forgive $(readlink -f /nix/var/nix/gcroots/installed)",
    )
    .ok();
    let (code, said) = host.tries(&format!("backstop switch {second} --live --wait --force"));
    assert_eq!(code, Some(0), "{said}\n{}", host.testimony());
    host.assert_kept(&second);
    // The way back has an entry of its own from now on.
    let versions: Vec<_> = host.generations().into_iter().map(|(_, v)| v).collect();
    assert!(
        versions.contains(&host.first_version().to_owned()),
        "{versions:?}"
    );
    let (code, said) = host.tries("backstop rollback");
    assert_eq!(code, Some(0), "{said}\n{}", host.testimony());
    host.assert_back();
}
