use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use health::{Baseline, BuiltIns, Checks, Report, Runner, Stage, Status, Verdict};
use monitor::{Recorded, Silent};

fn checks(root: &Path, files: &[(&str, &str)]) -> Checks {
    let dir = root.join("etc/backstop/checks.d");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(format!("{name}.toml")), text).unwrap();
    }
    Checks::load(root, BuiltIns::Without)
}

fn run(files: &[(&str, &str)], baseline: &Baseline) -> Report {
    let root = tempfile::tempdir().unwrap();
    let checks = checks(root.path(), files);
    Runner::new(root.path()).run(&checks, Stage::Boot, baseline, &Silent)
}

fn verdicts(report: &Report) -> Vec<(&str, Verdict)> {
    let pair = |r: &'_ health::CheckResult| r.verdict;
    report
        .results
        .iter()
        .map(|r| (r.name.as_str(), pair(r)))
        .collect()
}

#[test]
fn only_regressions_of_required_checks_count() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let word = |n: &str| format!("command = 'test -e {n}'");
    let fixed = word("/");
    let files = [
        ("always", "always = true\ncommand = ['false']"),
        ("before", "command = ['false']"),
        ("fine", fixed.as_str()),
        ("other-stage", "stage = 'live'\ncommand = ['false']"),
        ("regressed", "command = ['test', '-e', 'there']"),
        (
            "wanted",
            "need = 'wanted'\ncommand = ['test', '-e', 'there']",
        ),
    ];
    let checks = checks(root, &files);
    std::fs::write(root.join("there"), "").unwrap();
    let runner = Runner::new(root);
    let baseline = runner.baseline(&checks, &Silent);
    std::fs::remove_file(root.join("there")).unwrap();
    let report = runner.run(&checks, Stage::Boot, &baseline, &Silent);
    let wanted = [
        ("always", Verdict::Counts),
        ("before", Verdict::FailedBefore),
        ("fine", Verdict::Passed),
        ("regressed", Verdict::Counts),
        ("wanted", Verdict::OnlyWanted),
    ];
    assert_eq!(verdicts(&report), wanted);
    assert!(!report.healthy());
    assert_eq!(report.failures().count(), 2);
}

#[test]
fn a_new_check_counts_though_nothing_is_known_of_before() {
    let report = run(&[("new", "command = ['false']")], &Baseline::default());
    assert_eq!(verdicts(&report), [("new", Verdict::Counts)]);
}

#[test]
fn a_broken_file_fails_a_new_version_but_not_a_running_one() {
    let root = tempfile::tempdir().unwrap();
    let checks = checks(root.path(), &[("bad", "unit = 3")]);
    let runner = Runner::new(root.path());
    let nothing = Baseline::default();
    let preflight = runner.run(&checks, Stage::Preflight, &nothing, &Silent);
    assert!(!preflight.healthy());
    let boot = runner.run(&checks, Stage::Boot, &nothing, &Silent);
    assert!(boot.healthy());
    assert!(
        boot.results[0].status.to_string().contains("line 1"),
        "{boot:?}"
    );
}

#[test]
fn what_is_for_a_container_is_asked_there_and_at_its_stages() {
    let root = tempfile::tempdir().unwrap();
    let files = [
        ("both", "container = true\ncommand = ['true']"),
        ("here", "stage = 'preflight'\ncommand = ['true']"),
        (
            "there",
            "stage = 'preflight'\ncontainer = true\ncommand = ['true']",
        ),
    ];
    let all = checks(root.path(), &files);
    let runner = Runner::new(root.path());
    let asked = |checks: &Checks, stage| {
        let report = runner.run(checks, stage, &Baseline::default(), &Silent);
        let names = report.results.into_iter().map(|r| r.name);
        names.collect::<Vec<_>>()
    };
    let inside = all.in_container();
    assert_eq!(asked(&inside, Stage::Preflight), ["both", "there"]);
    assert_eq!(asked(&all, Stage::Preflight), ["here"]);
    assert_eq!(asked(&all, Stage::Live), ["both"]);
}

#[test]
fn checks_run_at_once() {
    let files: Vec<(String, &str)> = (0..6)
        .map(|i| (format!("c{i}"), "command = 'sleep 0.5'"))
        .collect();
    let files: Vec<_> = files.iter().map(|(n, t)| (n.as_str(), *t)).collect();
    let started = Instant::now();
    assert!(run(&files, &Baseline::default()).healthy());
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn a_check_is_tried_again_until_it_passes() {
    let root = tempfile::tempdir().unwrap();
    let text = "retries = 5\ninterval = '10ms'\n\
        command = 'echo x >> tries; test $(wc -l < tries) -ge 3'";
    let checks = checks(root.path(), &[("slow", text)]);
    let monitor = Recorded::default();
    let runner = Runner::new(root.path());
    let report = runner.run(&checks, Stage::Live, &Baseline::default(), &monitor);
    assert!(report.healthy());
    assert_eq!(report.results[0].tries, 3);
    let notes = monitor.notes.lock().unwrap();
    assert_eq!(*notes, ["slow: ended with status 1; trying again"]);
}

#[test]
fn a_check_that_hangs_is_cut_off() {
    let started = Instant::now();
    let files = [("hang", "timeout = '200ms'\ncommand = ['sleep', '1000']")];
    let report = run(&files, &Baseline::default());
    let status = &report.results[0].status;
    assert_eq!(*status, Status::TimedOut { after_ms: 200 });
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn commands_know_where_and_when_they_run() {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("bin/probe");
    std::fs::create_dir_all(bin.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/bin/sh", &bin).unwrap();
    let text = "command = ['/bin/probe', '-c', 'echo $BACKSTOP_STAGE; pwd; echo $PORT; exit 1']";
    let checks = checks(root.path(), &[("where", text)]);
    let runner = Runner::new(root.path()).with_env("PORT", "4711");
    let report = runner.run(&checks, Stage::Live, &Baseline::default(), &Silent);
    let wanted = format!("live\n{}\n4711", root.path().display());
    assert_eq!(report.results[0].output, wanted);
}

/// Answers each connection with one HTTP answer.
/// A launcher lost the first word of the command, so that every check before an
/// activation failed.
#[test]
fn a_launcher_stands_before_the_whole_command() {
    let root = tempfile::tempdir().unwrap();
    let files = [("said", "stage = 'preflight'\ncommand = ['echo', 'a', 'b']")];
    let checks = checks(root.path(), &files);
    let launcher = ["echo", "in", "there:"].map(str::to_owned).to_vec();
    let runner = Runner::new(root.path()).launched_by(launcher);
    let report = runner.run(&checks, Stage::Preflight, &Baseline::default(), &Silent);
    assert_eq!(report.results[0].output, "in there: echo a b");
}

fn serve(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

#[test]
fn http_answers_are_judged() {
    let ok = serve("HTTP/1.1 200 OK\r\nContent-Length: 8\r\nConnection: close\r\n\r\nall fine");
    let bad = serve("HTTP/1.1 500 No\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops");
    let moved = serve(
        "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    );
    let torn = serve("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\nhalf");
    let table = [
        (ok, "", None),
        (ok, ", status = 200, contains = 'fine'", None),
        (ok, ", contains = 'shop'", Some("does not contain `shop`")),
        (ok, ", status = 204", Some("answered 200")),
        (bad, "", Some("answered 500")),
        (bad, ", status = 500", None),
        (moved, ", status = 302", None),
        (torn, "", Some("broke off")),
    ];
    for (port, more, wanted) in table {
        let text = format!("http = {{ url = 'http://127.0.0.1:{port}/'{more} }}\ntimeout = '5s'");
        let report = run(&[("web", &text)], &Baseline::default());
        let result = &report.results[0];
        match wanted {
            None => assert_eq!(result.status, Status::Passed, "{text}"),
            Some(why) => {
                let status = result.status.to_string();
                assert!(status.contains(why), "{text}: {status}");
            }
        }
    }
}

#[test]
fn a_closed_port_is_found() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!("tcp = '{}'", listener.local_addr().unwrap());
    assert!(run(&[("port", &text)], &Baseline::default()).healthy());
    drop(listener);
    let report = run(&[("port", &text)], &Baseline::default());
    let status = report.results[0].status.to_string();
    assert!(status.contains("cannot connect"), "{status}");
}

/// Closes a listener as soon as the first check has passed, and lets the second end.
struct Closes {
    listener: std::sync::Mutex<Option<TcpListener>>,
    go: std::path::PathBuf,
}

impl monitor::Monitor for Closes {
    fn progress(&self, _: monitor::Progress<'_>) {
        self.listener.lock().unwrap().take();
        std::fs::write(&self.go, "").unwrap();
    }

    fn note(&self, _: &str) {}
}

/// A unit that failed after the first look at it was not seen, when others took longer.
#[test]
fn what_fails_while_others_are_waited_for_is_seen() {
    let root = tempfile::tempdir().unwrap();
    let waits = "timeout = '100s'\ncommand = 'while ! test -e go; do sleep 0.01; done'";
    let first = "listening = true\nretries = 1\ninterval = '10ms'";
    let checks = checks(root.path(), &[("first", first), ("second", waits)]);
    // Below the ports that come and go by themselves.
    let mut ports = 20_000..30_000;
    let listener = ports.find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let listener = listener.unwrap();
    let at = listener.local_addr().unwrap();
    let baseline = Baseline {
        listeners: [health::Listener {
            address: at.ip(),
            port: at.port(),
        }]
        .into(),
        ..Baseline::default()
    };
    let monitor = Closes {
        listener: Some(listener).into(),
        go: root.path().join("go"),
    };
    let report = Runner::new(root.path()).run(&checks, Stage::Boot, &baseline, &monitor);
    let wanted = [("first", Verdict::Counts), ("second", Verdict::Passed)];
    assert_eq!(verdicts(&report), wanted);
    assert_eq!(report.results[0].tries, 3);
}

/// A service that was broken stayed broken for a minute, because other checks were
/// given all of their tries though one had failed for good.
#[test]
fn a_failure_that_counts_ends_the_waiting() {
    let started = Instant::now();
    let files = [
        ("broken", "command = ['false']"),
        (
            "later",
            "retries = 1000\ninterval = '1s'\ncommand = ['false']",
        ),
        (
            "often",
            "retries = 1000\ninterval = '1ms'\ncommand = ['false']",
        ),
    ];
    let report = run(&files, &Baseline::default());
    assert!(!report.healthy());
    assert!(report.results[1..].iter().all(|r| r.tries < 1000));
    assert!(started.elapsed() < Duration::from_secs(60));
}

/// What only is wanted decides nothing, and what had failed before neither.
#[test]
fn only_a_failure_that_counts_ends_the_waiting() {
    let late = "retries = 3\ninterval = '100ms'\n\
        command = 'echo x >> tries; test $(wc -l < tries) -ge 3'";
    let files = [
        ("before", "command = ['false']"),
        ("wanted", "required = false\ncommand = ['false']"),
        ("late", late),
    ];
    let failed = Status::Failed { why: String::new() };
    let baseline = Baseline {
        results: [("before".to_owned(), failed)].into(),
        ..Baseline::default()
    };
    let report = run(&files, &baseline);
    assert!(report.healthy(), "{report:?}");
}

/// What had passed before must not be held for broken because something else was.
#[test]
fn the_baseline_gives_each_check_its_tries() {
    let root = tempfile::tempdir().unwrap();
    let late = "retries = 2\ninterval = '100ms'\n\
        command = 'echo x >> tries; test $(wc -l < tries) -ge 3'";
    let files = [("broken", "command = ['false']"), ("late", late)];
    let checks = checks(root.path(), &files);
    let baseline = Runner::new(root.path()).baseline(&checks, &Silent);
    assert!(!baseline.results["broken"].passed());
    assert!(baseline.results["late"].passed());
}

/// However many watch, those that they wait for are asked.
#[test]
fn watchers_do_not_keep_others_waiting() {
    let names: Vec<String> = (0..12).map(|n| format!("{n:02}")).collect();
    let watch = ("no_new_failed_units = true", "command = ['true']");
    let mut files: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), watch.0)).collect();
    files.push(("last", watch.1));
    assert!(run(&files, &Baseline::default()).results.len() == 13);
}
