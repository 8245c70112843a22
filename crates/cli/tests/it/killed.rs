//! `kill -9` at any time, and the power cut at any time: real processes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::host::{BACKSTOP, DemoHost, text};

/// How often each command is killed.
const KILLS: u32 = 6;

/// A repository that holds one version, another to pull from, and a tree.
struct Repos(tempfile::TempDir);

impl Repos {
    fn new() -> Self {
        let repos = Self(tempfile::tempdir().unwrap());
        repos.write_tree("old");
        for repo in ["repo", "other"] {
            repos.ok(repo, &["init", "--mode=archive"]);
            repos.ok(repo, &["commit", "-b", "main", &repos.path("tree")]);
        }
        repos
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// A tree of a few hundred files, of which most say `word`.
    fn write_tree(&self, word: &str) {
        for n in 0..240 {
            let dir = PathBuf::from(self.path("tree")).join(format!("dir{}", n % 12));
            std::fs::create_dir_all(&dir).unwrap();
            let text = format!("{word} {n}\n").repeat(n + 1);
            std::fs::write(dir.join(format!("file{n}")), text).unwrap();
        }
    }

    fn command(&self, repo: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(BACKSTOP);
        let repo = format!("--repo={}", self.path(repo));
        command.args(["repo", &repo]).args(arguments);
        command
    }

    #[track_caller]
    fn ok(&self, repo: &str, arguments: &[&str]) -> String {
        let output = self.command(repo, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// What `main` is.
    #[track_caller]
    fn main(&self, repo: &str) -> String {
        self.ok(repo, &["rev-parse", "main"])
    }
}

/// Starts a command and kills it after a while. Answers whether it was killed.
fn kill(mut command: Command, after: Duration) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

/// Times from none to a little more than `whole`, so that some kills come too
/// late.
fn times(whole: Duration) -> impl Iterator<Item = Duration> {
    (0..KILLS).map(move |n| whole * n * 11 / (KILLS * 10))
}

fn timed(what: impl FnOnce()) -> Duration {
    let started = Instant::now();
    what();
    started.elapsed()
}

#[test]
fn a_killed_commit_leaves_the_old_version_or_the_new_one() {
    let repos = Repos::new();
    let tree = repos.path("tree");
    let commit = ["commit", "-b", "main", &tree];
    repos.write_tree("first");
    let whole = timed(|| drop(repos.ok("repo", &commit)));
    let mut killed = 0;
    for (n, after) in times(whole).enumerate() {
        let before = repos.main("repo");
        repos.write_tree(&format!("round {n}"));
        killed += u32::from(kill(repos.command("repo", &commit), after));
        let now = repos.main("repo");
        repos.ok("repo", &["fsck"]);
        if now != before {
            assert_eq!(repos.ok("repo", &["rev-parse", "main^"]), before);
        }
        // What is left stands in nobody's way, and goes.
        repos.ok("repo", &commit);
        repos.ok("repo", &["fsck"]);
        let tmp = std::fs::read_dir(repos.path("repo/tmp")).unwrap();
        assert_eq!(tmp.count(), 1, "something is left in tmp");
    }
    println!("{killed} of {KILLS} commits were killed, {whole:?} each");
    assert!(killed > 0, "every kill came too late");
}

#[test]
fn a_killed_pull_leaves_the_old_version_or_the_new_one() {
    let repos = Repos::new();
    let (tree, other) = (repos.path("tree"), repos.path("other"));
    let pull = ["pull-local", &other, "main"];
    let next = |word: &str| {
        repos.write_tree(word);
        repos.ok("other", &["commit", "-b", "main", &tree])
    };
    next("first");
    let whole = timed(|| drop(repos.ok("repo", &pull)));
    let mut killed = 0;
    for (n, after) in times(whole).enumerate() {
        let before = repos.main("repo");
        next(&format!("round {n}"));
        killed += u32::from(kill(repos.command("repo", &pull), after));
        let now = repos.main("repo");
        assert!(now == before || now == repos.main("other"));
        repos.ok("repo", &["fsck"]);
        repos.ok("repo", &pull);
        assert_eq!(repos.main("repo"), repos.main("other"));
        repos.ok("repo", &["fsck"]);
    }
    println!("{killed} of {KILLS} pulls were killed, {whole:?} each");
    assert!(killed > 0, "every kill came too late");
}

#[test]
fn a_killed_checkout_harms_nothing() {
    let repos = Repos::new();
    let dest = repos.path("dest");
    let checkout = ["checkout", "-U", "main", &dest];
    let whole = timed(|| drop(repos.ok("repo", &checkout)));
    for after in times(whole) {
        let _ = std::fs::remove_dir_all(&dest);
        let killed = kill(repos.command("repo", &checkout), after);
        repos.ok("repo", &["fsck"]);
        if killed && Path::new(&dest).exists() {
            let output = repos.command("repo", &checkout).output().unwrap();
            let said = text(&output);
            assert!(!output.status.success(), "half a checkout passed for one");
            assert!(said.contains(&dest), "{said}");
        }
    }
}

/// The power is cut at any time of an upgrade by a boot trial: the host comes up
/// on the version that was good or on the new one, nothing is under way in the
/// end, and the next upgrade works.
#[test]
fn a_power_cut_at_any_time_of_an_upgrade_is_survived() {
    let host = DemoHost::new();
    let versions = [host.release(1), host.release(2)];
    let upgrade = ["upgrade", "--boot", "--force", "--wait"];
    let whole = timed(|| drop(host.run(&upgrade, 0)));
    for n in 0..4 {
        host.release(1 + n % 2);
        let after = whole * u32::try_from(n).unwrap() * 2 / 7;
        kill(host.command(&upgrade), after);
        host.run(&["power-cycle", "--force"], 0);
        host.wait_until_idle();
        let status = host.status();
        let running = status["running"].as_str().unwrap();
        assert!(versions.iter().any(|v| v == running), "{status}");
        // A reboot leads to the same version: it is the default.
        host.run(&["power-cycle"], 0);
        assert_eq!(host.status()["running"].as_str().unwrap(), running);
    }
    let wanted = host.release(2);
    let output: Output = host.command(&upgrade).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(host.status()["running"].as_str().unwrap(), wanted);
}
