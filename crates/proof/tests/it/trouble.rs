//! Two at once, a full disk: one clear winner or a clear error, and the host unchanged.

use proof::installed;
use testbed::nixos::HostOptions;

#[test]
fn two_at_once_have_one_winner() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("contended").unwrap();
    let versions = ["a", "b"].map(|name| stage.bring_version(&installed(name), &host).unwrap());
    let codes = std::thread::scope(|scope| {
        let tell =
            |version: &String| host.tries(&format!("backstop switch {version} --live --wait"));
        let tellers = versions
            .each_ref()
            .map(|version| scope.spawn(move || tell(version)));
        tellers.map(|teller| teller.join().unwrap())
    });
    let won: Vec<_> = codes.iter().filter(|(code, _)| *code == Some(0)).collect();
    let lost: Vec<_> = codes.iter().filter(|(code, _)| *code == Some(5)).collect();
    assert_eq!(
        (won.len(), lost.len()),
        (1, 1),
        "{codes:?}\n{}",
        host.testimony()
    );
    let winner = codes.iter().position(|(code, _)| *code == Some(0)).unwrap();
    host.assert_kept(&versions[winner]);
    assert_eq!(host.generations().len(), 2);
}

#[test]
fn a_disk_that_is_full_when_the_version_is_staged() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let options = HostOptions {
        room: Some(24 << 20),
        ..HostOptions::default()
    };
    let host = stage.actor_with("full", options).unwrap();
    let version = stage.build(&installed("2").payload(64 << 10)).unwrap();
    host.run("echo 'require-sigs = false' >>/etc/nix/nix.conf")
        .unwrap();
    // A store on a disk that is carried to the host.
    stage
        .operator()
        .run(&format!(
            "nix copy --no-check-sigs --to 'file:///var/tmp/carried?compression=none' {version}"
        ))
        .unwrap();
    let carried = stage.operator().root().join("var/tmp/carried");
    std::fs::rename(carried, host.root().join("var/tmp/carried")).unwrap();
    let (code, said) = host.tries(&format!(
        "backstop switch {version} --from file:///var/tmp/carried --live --wait"
    ));
    assert_eq!(code, Some(3), "{said}\n{}", host.testimony());
    let ending = host.wait_for_ending(1);
    assert_eq!(
        (ending.end.as_str(), ending.why.as_str()),
        ("rejected", "stage-failed")
    );
    let record = ending.record.to_string();
    assert!(record.contains("No space left"), "{record}");
    host.assert_back();
}
