//! A version comes in a file, without ssh: only a signed and sound one is tried.

use proof::{Actor, Stage, installed};
use testbed::nixos::HostOptions;

/// Carries a file of the operator's machine to a host.
fn carry(stage: &Stage, file: &str, host: &Actor) {
    let from = stage.operator().root().join(&file[1..]);
    std::fs::copy(from, host.root().join(&file[1..])).unwrap();
}

#[test]
fn a_bundle_is_tried_like_any_version() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let operator = stage.operator();
    operator
        .run("cd /root && backstop bundle key release && backstop bundle key stranger")
        .unwrap();
    let public = operator.run("cat /root/release.pub").unwrap();
    let trusting = |version: &str| installed(version).etc("backstop/trusted.ed25519", &public);
    let options = HostOptions {
        system: Some(stage.build(&trusting("1")).unwrap()),
        ..HostOptions::default()
    };
    let host = stage.actor_with("island", options).unwrap();
    let second = stage.build(&trusting("2").payload(3000)).unwrap();
    for (key, file) in [("release", "good"), ("stranger", "foreign")] {
        operator
            .run(&format!(
                "backstop bundle create {second} --key /root/{key}.secret --output /var/tmp/{file}.bundle"
            ))
            .unwrap();
        carry(&stage, &format!("/var/tmp/{file}.bundle"), &host);
    }
    let spoil = "head -c 2000000 /var/tmp/good.bundle >/var/tmp/cut.bundle; cp /var/tmp/good.bundle /var/tmp/spoilt.bundle; printf x | dd of=/var/tmp/spoilt.bundle bs=1 seek=1500000 conv=notrunc 2>/dev/null";
    host.run(spoil).unwrap();
    for (file, why) in [
        ("foreign", "is not signed by anyone trusted here"),
        ("cut", "is not a sound bundle"),
        ("spoilt", "is not a sound bundle"),
    ] {
        let (code, said) = host.tries(&format!("backstop switch /var/tmp/{file}.bundle --wait"));
        assert_eq!(code, Some(1), "{file}: {said}");
        assert!(said.contains(why), "{file}: {said}");
        assert!(!host.root().join(&second[1..]).exists(), "{file}");
        host.assert_back();
    }
    let (code, said) = host.tries("backstop switch /var/tmp/good.bundle --live --wait");
    assert_eq!(code, Some(0), "{said}\n{}", host.testimony());
    host.assert_kept(&second);
}
