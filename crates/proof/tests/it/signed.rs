//! A host that demands signatures takes no closure without them.

use proof::{Fleet, installed};
use testbed::nixos::HostOptions;

const SETTINGS: &str = "[defaults]\ntarget_user = \"root\"\ncopy_with = \"nix-copy\"\n";

#[test]
fn signatures_that_are_demanded() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let public = stage
        .operator()
        .run("cd /root && nix key generate-secret --key-name proof-1 >nix.key && nix key convert-secret-to-public <nix.key")
        .unwrap();
    let limits = format!(
        "signatures = 1\ntrusted_public_keys = [\"{}\"]\n",
        public.trim()
    );
    let demanding = |name: &str| installed(name).etc("backstop/nix.toml", &limits);
    let options = HostOptions {
        system: Some(stage.build(&demanding("1")).unwrap()),
        ..HostOptions::default()
    };
    let host = stage.actor_with("demanding", options).unwrap();
    // What the host has already is not sent again: it is signed where it is.
    let key = stage.operator().root().join("root/nix.key");
    std::fs::copy(key, host.root().join("root/nix.key")).unwrap();
    host.run("nix store sign -r --key-file /root/nix.key /run/current-system && rm /root/nix.key")
        .unwrap();
    let deploy = |name: &str, sign: bool| {
        let version = stage.build(&demanding(name)).unwrap();
        if sign {
            let sign = format!("nix store sign -r --key-file /root/nix.key {version}");
            stage.operator().run(&sign).unwrap();
        }
        let hosts = [("demanding", version.as_str())];
        let fleet = Fleet::describe(&stage, name, SETTINGS, &hosts).unwrap();
        (fleet.deploy("").unwrap(), version)
    };
    let (rollout, _) = deploy("unsigned", false);
    assert_eq!(rollout.end("demanding"), "rejected", "{}", rollout.said);
    assert_eq!(rollout.code, Some(3));
    assert!(
        rollout.said.contains("verify the signatures"),
        "{}",
        rollout.said
    );
    host.assert_back();
    assert_eq!(host.generations().len(), 1);
    let (rollout, version) = deploy("signed", true);
    assert_eq!(rollout.end("demanding"), "kept", "{}", rollout.said);
    host.assert_kept(&version);
}
