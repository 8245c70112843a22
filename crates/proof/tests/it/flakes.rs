//! Fleets straight from a flake: one of NixOS configurations, of colmena, of
//! deploy-rs; built here, built on the host, fetched by the host; options are read.

use proof::{Fleet, Stage, installed};

/// Deploys a flake that has these outputs.
fn fleet<'a>(stage: &'a Stage, name: &str, versions: &[&str], outputs: &str) -> Fleet<'a> {
    let versions: Vec<_> = versions.iter().map(|v| installed(v)).collect();
    let dir = stage.flake(name, &versions, outputs).unwrap();
    Fleet::in_directory(stage, dir)
}

#[test]
fn a_flake_is_a_fleet() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let hosts = ["plain", "address"].map(|name| stage.actor(name).unwrap());
    let outputs = format!(
        "nixosConfigurations.plain = system \"p2\" {{ }};
         nixosConfigurations.\"named.otherwise\" = system \"n2\" {{
           deployment = {{ targetHost = \"{}\"; targetUser = \"root\"; tags = [ \"far\" ]; confirmTimeout = 60; }};
           services.web.port = 8080;
         }};",
        hosts[1].address()
    );
    let fleet = fleet(&stage, "configurations", &["p2", "n2"], &outputs);
    let rollout = fleet.deploy("plain @far").unwrap();
    assert_eq!(rollout.code, Some(0), "{}", rollout.said);
    assert_eq!(
        (rollout.end("plain"), rollout.end("named.otherwise")),
        ("kept", "kept")
    );
    for (host, version) in hosts.iter().zip(["p2", "n2"]) {
        let page = stage.page(host, "/version").unwrap();
        assert_eq!(page.as_deref(), Some(version));
        let active = host.active().unwrap();
        host.assert_kept(&active);
        // Where it came from is remembered.
        let record = host.wait_for_ending(1).record;
        let came = &record["request"]["provenance"];
        assert!(
            came["flake"]
                .as_str()
                .is_some_and(|f| f.contains("configurations")),
            "{record}"
        );
        assert!(
            came["source"]
                .as_str()
                .is_some_and(|s| s.starts_with("sha256-")),
            "{record}"
        );
    }
    let read = |option: &str| {
        fleet
            .say(&format!("option named.otherwise {option}"))
            .unwrap()
    };
    assert_eq!(read("services.web.port").1.trim(), "8080");
    let (code, said) = read("services.none");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("services.none"), "{said}");
}

#[test]
fn what_other_tools_say_in_a_flake() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let hosts = ["hived", "noded"].map(|name| stage.actor(name).unwrap());
    let outputs = "nixosConfigurations.laptop = system \"x\" { };
         colmenaHive.nodes.hived = system \"h2\" {
           deployment = { targetHost = \"hived\"; targetPort = 22; targetUser = \"root\"; replaceUnknownProfiles = true; };
         };
         colmenaHive.nodes.only-local = system \"x\" { deployment.targetHost = null; };
         deploy = {
           sshUser = \"root\";
           sshOpts = [ \"-4\" ];
           nodes.noded = {
             hostname = \"noded\";
             fastConnection = true;
             confirmTimeout = 45;
             profiles.system = { user = \"root\"; path = wrapped (system \"d2\" { }); };
           };
         };";
    let fleet = fleet(&stage, "others", &["h2", "d2", "x"], outputs);
    let rollout = fleet.deploy("").unwrap();
    assert_eq!(rollout.code, Some(0), "{}", rollout.said);
    let ends: Vec<_> = rollout.ends.keys().map(String::as_str).collect();
    assert_eq!(ends, ["hived", "noded"], "{}", rollout.said);
    for (host, version) in hosts.iter().zip(["h2", "d2"]) {
        assert_eq!(rollout.end(host.name()), "kept", "{}", rollout.said);
        let page = stage.page(host, "/version").unwrap();
        assert_eq!(page.as_deref(), Some(version));
        // The plain version, without any wrapper.
        assert!(host.profile().unwrap().contains("-nixos-system-"));
    }
}

#[test]
fn built_on_the_host() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("builder").unwrap();
    let outputs = "nixosConfigurations.builder = system \"b2\" {
           deployment = { targetUser = \"root\"; buildOnTarget = true; };
         };";
    let fleet = fleet(&stage, "remote", &["b2"], outputs);
    let rollout = fleet.deploy("").unwrap();
    assert_eq!(rollout.end("builder"), "kept", "{}", rollout.said);
    let version = host.active().unwrap();
    host.assert_kept(&version);
    assert_eq!(
        stage.page(&host, "/version").unwrap().as_deref(),
        Some("b2")
    );
    // It was never built here.
    assert!(!stage.operator().root().join(&version[1..]).exists());
    assert!(rollout.said.contains("building there"), "{}", rollout.said);
}

#[test]
fn substituted_on_the_host() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("fetcher").unwrap();
    let version = stage.build(&installed("2").payload(16 << 10)).unwrap();
    // What the host's substituters have need not be sent.
    stage
        .operator()
        .run(&format!(
            "nix copy --no-check-sigs --to 'file:///var/tmp/cache?compression=none' {version}"
        ))
        .unwrap();
    let cache = stage.operator().root().join("var/tmp/cache");
    std::fs::rename(cache, host.root().join("var/tmp/cache")).unwrap();
    host.run("printf 'substituters = file:///var/tmp/cache\\nrequire-sigs = false\\n' >>/etc/nix/nix.conf")
        .unwrap();
    // So nothing can be sent from here.
    let app = stage.operator().root().join(&version[1..]).join("app");
    let app = std::fs::read_link(app).unwrap();
    stage
        .operator()
        .run(&format!("rm -rf {}", app.display()))
        .unwrap();
    let settings = "[defaults]\ntarget_user = \"root\"\nsubstitute_on_destination = true\n";
    let hosts = [("fetcher", version.as_str())];
    let fleet = Fleet::describe(&stage, "fetcher", settings, &hosts).unwrap();
    let rollout = fleet.deploy("").unwrap();
    assert_eq!(rollout.end("fetcher"), "kept", "{}", rollout.said);
    host.assert_kept(&version);
}
