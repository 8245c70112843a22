//! What an upgrade would change, told before it is done.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::host::{BACKSTOP, DemoHost, text};

/// A command on the repository with the demonstration's releases.
#[track_caller]
fn repo(host: &DemoHost, arguments: &[&str]) -> String {
    let output = Command::new(BACKSTOP)
        .args(["repo", "--repo"])
        .arg(host.dir().join("releases"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}\n{}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn put(tree: &Path, path: &str, text: &str) {
    let path = tree.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    // What is there may be linked to elsewhere.
    let _ = std::fs::remove_file(&path);
    std::fs::write(path, text).unwrap();
}

/// What dpkg says of packages at these versions.
fn status(packages: &[(&str, &str)]) -> String {
    let one = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\n\n")
    };
    packages.iter().map(one).collect()
}

/// Releases a tree that is made from version 1 by `change`.
fn release(host: &DemoHost, change: impl FnOnce(&Path)) -> String {
    host.release(1);
    let scratch = tempfile::tempdir_in(host.dir()).unwrap();
    let tree = scratch.path().join("tree");
    let tree_name = tree.to_str().unwrap();
    repo(host, &["checkout", "-U", "shop/stable", tree_name]);
    change(&tree);
    repo(host, &["commit", "--branch=shop/stable", tree_name]);
    repo(host, &["rev-parse", "shop/stable"]).trim().to_owned()
}

const DPKG: &str = "usr/lib/sysimage/dpkg/status";
const KARGS: &str = "usr/lib/backstop/kargs.d/10-quiet.toml";

fn first(tree: &Path) {
    put(
        tree,
        DPKG,
        &status(&[("libc6", "2.36"), ("nano", "7"), ("sed", "4.9")]),
    );
    put(tree, KARGS, "kargs = [\"quiet\", \"panic=5\"]\n");
}

fn second(tree: &Path) {
    put(
        tree,
        DPKG,
        &status(&[("libc6", "2.37"), ("sed", "4.9"), ("vim", "9")]),
    );
    put(tree, KARGS, "kargs = [\"quiet\", \"panic=10\"]\n");
    put(tree, "usr/lib/modules/6.1-demo/vmlinuz", "another kernel\n");
    put(tree, "usr/etc/shop/greeting", "Good day.\n");
    put(tree, "usr/share/new", "new\n");
}

#[test]
fn a_plan_tells_what_changes_and_changes_nothing() {
    let host = DemoHost::new();
    let running = release(&host, first);
    host.run(&["upgrade", "--live", "--wait"], 0);
    assert!(host.run(&["plan"], 0).contains("nothing would change"));
    let etc = host.dir().join("ostree/deploy");
    let etc = std::fs::read_dir(etc)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    put(
        &etc.join(format!("deploy/{running}.0/etc")),
        "shop/greeting",
        "Hello from here.\n",
    );
    let next = release(&host, second);
    let before = (host.status(), host.history());

    let plan: Value = serde_json::from_str(&host.run(&["--json", "plan"], 0)).unwrap();
    assert_eq!(
        (&plan["version"], &plan["running"]),
        (&json!(next), &json!(running))
    );
    assert_eq!(
        plan["needs_reboot"],
        Value::Null,
        "a directory restarts all there is"
    );
    assert_eq!(
        plan["packages"],
        json!([
            { "name": "libc6", "from": "2.36", "to": "2.37" },
            { "name": "nano", "from": "7", "to": null },
            { "name": "vim", "from": null, "to": "9" },
        ])
    );
    assert_eq!(
        plan["kernel"],
        json!({ "from": "6.1-demo", "to": "6.1-demo" })
    );
    assert_eq!(
        plan["kargs"],
        json!({ "added": ["panic=10"], "removed": ["panic=5"] })
    );
    assert_eq!(plan["etc"], json!(["shop/greeting"]));
    assert_eq!(plan["conflicts"][0][0], "shop/greeting", "{plan}");
    assert_eq!(plan["files"]["removed"], 0, "{plan}");
    assert!(plan["files"]["changed"].as_u64() >= Some(4), "{plan}");

    let said = host.run(
        &[
            "plan",
            &format!("{}:shop/stable", host.dir().join("releases").display()),
        ],
        0,
    );
    for line in [
        "libc6: 2.36 → 2.37",
        "nano: 7, removed",
        "vim: 9, new",
        "+panic=10",
        "-panic=5",
        "shop/greeting",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    assert_eq!((host.status(), host.history()), before);
    // And then it happens.
    host.run(&["upgrade", "--live", "--wait"], 0);
    assert!(host.run(&["plan"], 0).contains("nothing would change"));
}
