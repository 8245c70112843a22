//! Repositories over the network, by the real program: one serves, others pull.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::host::{BACKSTOP, DemoHost, text};

const GOOD: usize = 2;

/// `backstop repo serve` for as long as this lives.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(repo: &Path) -> Self {
        let mut child = Command::new(BACKSTOP)
            .args(["repo", "--repo"])
            .arg(repo)
            .args(["serve", "--port=0", "--address=127.0.0.1"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let url = line.split_whitespace().last().unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn repo(path: &Path, arguments: &[&str]) -> String {
    let output = Command::new(BACKSTOP)
        .args(["repo", "--repo"])
        .arg(path)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    text(&output)
}

#[test]
fn a_host_upgrades_from_a_remote() {
    let host = DemoHost::new();
    let version = host.release(GOOD);
    let scratch = tempfile::tempdir().unwrap();
    let served = scratch.path().join("served");
    let releases = host.dir().join("releases").display().to_string();
    repo(&served, &["init", "--mode=archive"]);
    repo(
        &served,
        &["pull-local", "--depth=-1", &releases, "shop/all"],
    );
    repo(&served, &["refs", "--create=shop/all", "--force", &version]);
    repo(&served, &["summary", "--update"]);
    let server = Server::start(&served);

    let add = [
        "repo",
        "remote",
        "add",
        "origin",
        &server.url,
        "--no-gpg-verify",
    ];
    host.run(&add, 0);
    assert!(
        host.run(&["repo", "remote", "list"], 0)
            .contains(&server.url)
    );
    assert!(
        host.run(&["repo", "remote", "refs", "origin"], 0)
            .contains("shop/all")
    );
    host.run(&["switch", "origin:shop/all", "--boot", "--wait"], 0);
    assert_eq!(host.status()["running"].as_str().unwrap(), version);
    let refs = host.run(&["repo", "refs", "-r"], 0);
    assert!(
        refs.contains(&format!("origin:shop/all\t{version}")),
        "{refs}"
    );

    // Without the server, nothing happens to the host.
    drop(server);
    let said = host.run(&["switch", "origin:shop/all", "--boot", "--wait"], 1);
    assert!(said.contains("cannot fetch"), "{said}");
    assert_eq!(host.status()["running"].as_str().unwrap(), version);
}

#[test]
fn pull_says_what_it_did() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    let tree = scratch.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("file"), "content").unwrap();
    repo(&from, &["init", "--mode=archive"]);
    let tree = tree.display().to_string();
    repo(&from, &["commit", "--branch=main", &tree]);
    assert!(repo(&from, &["summary", "-u"]).starts_with("main\t"));
    let server = Server::start(&from);
    repo(&to, &["init", "--mode=bare-user"]);
    let add = [
        "remote",
        "add",
        "origin",
        &server.url,
        "main",
        "--no-gpg-verify",
    ];
    repo(&to, &add);
    let said = repo(&to, &["pull", "origin"]);
    assert!(
        said.contains("main ") && said.contains("4 objects fetched"),
        "{said}"
    );
    assert!(repo(&to, &["pull", "origin"]).contains("0 objects fetched"));
    assert_eq!(repo(&to, &["cat", "origin:main", "/file"]), "content");
    // A repository that cannot be pulled from is not served.
    let output = Command::new(BACKSTOP)
        .args(["repo", "--repo"])
        .arg(&to)
        .args(["serve", "--port=0"])
        .output()
        .unwrap();
    assert!(text(&output).contains("only archives"), "{}", text(&output));
}
