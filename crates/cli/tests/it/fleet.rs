//! Rollouts to hosts in directories, over a real `ssh` and `sshd`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::host::{BACKSTOP, DemoHost, text};

const SSHD: &str = "/usr/sbin/sshd";

/// Hosts behind one sshd, and the deployer's own directory.
struct Site {
    scratch: tempfile::TempDir,
    sshd: Child,
    port: u16,
    hosts: Vec<(&'static str, DemoHost)>,
}

impl Site {
    /// A site with these hosts; `None` where there is no sshd.
    fn new(names: &[&'static str]) -> Option<Self> {
        if !testing::have(&[], &[SSHD]) {
            return None;
        }
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path();
        for key in ["host", "id"] {
            let path = dir.join(key);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(path)
                .status();
            assert!(made.unwrap().success());
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let key = std::fs::read_to_string(dir.join("host.pub")).unwrap();
        std::fs::write(dir.join("known"), format!("[127.0.0.1]:{port} {key}")).unwrap();
        let d = dir.display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nPidFile none\n\
             AuthorizedKeysFile {d}/id.pub\nStrictModes no\nUsePAM no\nMaxStartups 100\n"
        );
        std::fs::write(dir.join("sshd_config"), config).unwrap();
        if rustix::process::geteuid().is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let sshd = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(dir.join("sshd_config"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let hosts = names.iter().map(|name| (*name, DemoHost::new())).collect();
        let site = Self {
            scratch,
            sshd,
            port,
            hosts,
        };
        site.wait_for_sshd();
        Some(site)
    }

    fn wait_for_sshd(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn host(&self, name: &str) -> &DemoHost {
        &self.hosts.iter().find(|(n, _)| *n == name).unwrap().1
    }

    fn path(&self) -> PathBuf {
        self.scratch.path().join("fleet.toml")
    }

    /// Writes fleet.toml: for each host, which version it is to have, and more.
    fn describe(&self, rollout: &str, hosts: &[(&str, usize, &str)]) {
        let d = self.scratch.path().display();
        let mut toml = format!(
            "[rollout]\n{rollout}\n[defaults]\ntarget_host = '127.0.0.1'\ntarget_port = {}\n\
             ssh_options = ['-F', 'none', '-i', '{d}/id', '-o', 'UserKnownHostsFile={d}/known']\n\
             sudo = false\ntrial = 'live'\nconfirm_timeout = '60s'\nkind = 'image'\n",
            self.port
        );
        for (name, version, more) in hosts {
            let host = self.host(name);
            let commit = host.release(*version);
            let dir = host.dir().display();
            // Most hosts here fetch their version; one host is sent all it lacks.
            let way = if self.hosts.len() == 1 {
                "image"
            } else {
                "fetch"
            };
            toml.push_str(&format!(
                "[hosts.{name}]\nsysroot = '{dir}'\n{way} = '{dir}/releases:{commit}'\n{more}\n"
            ));
        }
        std::fs::write(self.path(), toml).unwrap();
    }

    fn fleet(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BACKSTOP);
        command
            .args(["fleet", "--file"])
            .arg(self.path())
            .args(arguments)
            .env("XDG_STATE_HOME", self.scratch.path().join("state"));
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> Output {
        let output = self.fleet(arguments).output().unwrap();
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
        output
    }

    /// Deploys, and answers with the events.
    #[track_caller]
    fn deploy(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let mut all = vec!["--json", "deploy"];
        all.extend(arguments);
        let output = self.run(&all, code);
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

/// How hosts ended, by the last event.
fn ends(events: &[Value]) -> Vec<(String, String)> {
    let hosts = events.last().unwrap()["hosts"].as_object().unwrap();
    let end =
        |(name, end): (&String, &Value)| (name.clone(), end["end"].as_str().unwrap().to_owned());
    hosts.iter().map(end).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

/// `(logins, fresh ones, programs brought along)` to a host.
fn logins(events: &[Value], host: &str) -> (usize, usize, usize) {
    let of = |e: &&Value| e["event"] == "login" && e["host"] == host;
    let count = |is: fn(&Value) -> bool| events.iter().filter(of).filter(|e| is(e)).count();
    (
        count(|_| true),
        count(|e| e["fresh"] == true),
        count(|e| e["brought_program"] == true),
    )
}

#[test]
fn a_bad_host_stops_the_waves_behind_it_and_the_rollout_can_be_resumed() {
    let Some(site) = Site::new(&["a", "b", "c"]) else {
        return;
    };
    site.describe("waves = [1]", &[("a", 2, ""), ("b", 3, ""), ("c", 2, "")]);
    let events = site.deploy(&[], 4);
    let expected = [("a", "kept"), ("b", "rolled-back"), ("c", "skipped")];
    assert_eq!(ends(&events), pairs(&expected), "{events:#?}");
    assert_eq!(
        logins(&events, "a"),
        (2, 1, 1),
        "one session, one fresh connection"
    );
    assert!(
        events
            .iter()
            .any(|e| e["event"] == "log" && e["host"] == "b"),
        "it says why"
    );

    site.describe("waves = [1]", &[("a", 2, ""), ("b", 2, ""), ("c", 2, "")]);
    let events = site.deploy(&["--resume"], 0);
    let expected = [("a", "kept"), ("b", "kept"), ("c", "kept")];
    assert_eq!(ends(&events), pairs(&expected), "{events:#?}");
    assert_eq!(logins(&events, "a").0, 0, "it had arrived");

    let events = site.deploy(&[], 0);
    for host in ["a", "b", "c"] {
        assert_eq!(
            logins(&events, host),
            (1, 0, 0),
            "nothing to do costs one login"
        );
        let history = site.host(host).history();
        let last = history.last().unwrap();
        assert_eq!(last["outcome"]["end"], "kept", "{last:#}");
        assert_eq!(last["request"]["confirm"]["by"], "deployer");
    }
}

#[test]
fn what_a_failed_rollout_changed_goes_back() {
    let Some(site) = Site::new(&["a", "b"]) else {
        return;
    };
    let before = site.host("a").status()["running"].clone();
    let check = "[hosts.b.checks.never]\ntcp = '{host}:1'\nretries = 0";
    site.describe(
        "waves = [1]\non_failure = 'put-back'",
        &[("a", 2, ""), ("b", 2, check)],
    );
    let events = site.deploy(&[], 4);
    let expected = [("a", "put-back"), ("b", "rolled-back")];
    assert_eq!(ends(&events), pairs(&expected), "{events:#?}");
    let why = events.last().unwrap()["hosts"]["b"]["reason"]
        .as_str()
        .unwrap();
    assert!(why.contains("check `never` from the deployer"), "{why}");
    assert_eq!(site.host("a").status()["running"], before);
}

#[test]
fn a_deployer_killed_in_the_trial_leaves_the_decision_to_the_host() {
    let Some(site) = Site::new(&["a"]) else {
        return;
    };
    let slow =
        "confirm_timeout = '3s'\n[hosts.a.checks.slow]\ncommand = ['sleep', '20']\ntimeout = '60s'";
    site.describe("", &[("a", 2, slow)]);
    let mut deployer = site
        .fleet(&["deploy"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    site.host("a")
        .wait_until("the version is on trial", |status| {
            status["under_way"]["phase"]["phase"] == "trial"
        });
    deployer.kill().unwrap();
    deployer.wait().unwrap();
    site.host("a").wait_until_idle();
    let history = site.host("a").history();
    assert_eq!(history.last().unwrap()["outcome"]["end"], "rolled-back");
    site.describe("", &[("a", 2, "")]);
    site.run(&["deploy", "--force"], 0);
}

#[test]
fn one_host_out_of_reach_does_not_hide_the_others() {
    let Some(site) = Site::new(&["a"]) else {
        return;
    };
    let key = "[hosts.a.keys.token]\nenv = 'TOKEN'\nmode = '0440'\npersistent = true\n";
    let own = std::fs::metadata(site.scratch.path()).unwrap();
    let (uid, gid) = {
        use std::os::unix::fs::MetadataExt;
        (own.uid(), own.gid())
    };
    let keys = site.scratch.path().join("keys");
    let key = format!(
        "{key}owner = '{uid}'\ngroup = '{gid}'\ndir = '{}'",
        keys.display()
    );
    let gone = "\n[hosts.gone]\ntarget_port = 1\nfetch = '/srv/repo:x'";
    site.describe("max_failures = 1", &[("a", 2, &format!("{key}{gone}"))]);
    let output = site
        .fleet(&["--json", "deploy"])
        .env("TOKEN", "hunter2hunter2")
        .output()
        .unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("unreachable") && said.contains("kept"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "a secret was printed: {said}");
    let token = std::fs::read_to_string(keys.join("token")).unwrap();
    assert_eq!(token, "hunter2hunter2");

    let said = text(&site.run(&["status"], 1));
    assert!(said.contains("cannot reach"), "{said}");
    let said = text(&site.run(&["exec", "a", "--", "echo", "from", "there"], 0));
    assert!(said.contains("from there"), "{said}");
    let said = text(&site.run(&["check", "a"], 0));
    assert!(said.contains("a: healthy"), "{said}");
    site.run(&["confirm", "a"], 5);
    site.run(&["list", "nobody"], 1);
}
