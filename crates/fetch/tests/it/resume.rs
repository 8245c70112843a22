//! Cuts, kills and full disks: what arrived is kept, and the rest comes later.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostree::{Repo, RepoMode};

use crate::far::{Act, Far};
use crate::sandbox::{
    Sandbox, assert_has, assert_untouched, is_root, object_path, options, pull, pull_main, remote,
    text,
};

#[test]
fn connections_cut_after_every_k_bytes() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    for k in [97, 1000, 4096, 65_537, 1 << 20] {
        let repo = sandbox.repo(&format!("to {k}"), RepoMode::BareUser);
        // The two long files would be cut thousands of times.
        let far = Far::start(&origin.path, move |asked, _| {
            let long = asked.target.ends_with(".filez") && k < 1000;
            Act::CutAfter(if long { 20_000 } else { k })
        });
        pull_main(&repo, &far.url()).unwrap_or_else(|e| panic!("{k}: {}", text(&e)));
        assert_has(&repo, "origin:main", origin.second);
    }
}

#[test]
fn a_long_file_is_not_begun_anew() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(std::sync::Arc::new(durable::RealFs), &origin.path).unwrap();
    for (name, ranges) in [
        ("noise", true),
        ("noise", false),
        ("some", true),
        ("some", false),
    ] {
        let path = object_path(&from, &origin.second, &format!("usr/lib/deep/{name}"));
        let long = path.clone();
        let cuts = AtomicUsize::new(0);
        let far = Far::start(&origin.path, move |asked, _| {
            let mine = asked.target.ends_with(&long);
            match mine && cuts.fetch_add(1, Ordering::SeqCst) < 2 {
                true => Act::CutAfter(300_000),
                false if ranges => Act::Serve,
                false => Act::NoRanges,
            }
        });
        let repo = sandbox.repo(&format!("to {name} {ranges}"), RepoMode::BareUser);
        pull_main(&repo, &far.url()).unwrap();
        assert_has(&repo, "origin:main", origin.second);
        let asked = far.asked();
        let of_it: Vec<_> = asked
            .iter()
            .filter(|a| a.target.ends_with(&path))
            .map(|a| a.header("range").unwrap_or("all").to_owned())
            .collect();
        assert_eq!(of_it, ["all", "bytes=300000-", "bytes=600000-"], "{name}");
    }
}

#[test]
fn servers_that_go_away_after_every_nth_request() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let good = Far::start(&origin.path, |_, _| Act::Serve);
    let whole = sandbox.repo("whole", RepoMode::BareUser);
    pull_main(&whole, &good.url()).unwrap();
    let all = good.count("objects/");
    for n in (0..all + 3).step_by(4) {
        let repo = sandbox.repo(&format!("to {n}"), RepoMode::BareUser);
        let far = Far::start(&origin.path, move |_, nth| match nth < n {
            true => Act::Serve,
            false => Act::Close,
        });
        let mut options = options(&["main"]);
        options.net.retries = 0;
        options.net.in_flight = Some(1);
        let error = pull(&repo, &remote(&far.url()), &options).unwrap_err();
        assert!(error.is_network(), "{n}: {}", text(&error));
        assert_untouched(&repo);

        let before = good.count("objects/");
        let pulled = pull_main(&repo, &good.url()).unwrap();
        assert_has(&repo, "origin:main", origin.second);
        let asked = good.count("objects/") - before;
        // Signatures are always asked for anew; and objects that were being fetched.
        let kept = usize::try_from(pulled.objects_resumed).unwrap();
        assert!(asked + kept <= all + 3, "{n}: {asked} + {kept} of {all}");
        assert!(n < 8 || kept + 8 >= n, "{n}: only {kept} were kept");
        let left = std::fs::read_dir(repo.path().join("tmp")).unwrap();
        let left: Vec<_> = left.map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["cache"], "{n}");
    }
}

#[test]
fn what_was_left_is_not_believed() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    for mode in [RepoMode::BareUser, RepoMode::Archive] {
        let repo = sandbox.repo(&format!("to {mode}"), mode);
        let far = Far::start(&origin.path, |_, nth| match nth < 24 {
            true => Act::Serve,
            false => Act::Close,
        });
        let mut cut = options(&["main"]);
        cut.net.retries = 0;
        pull(&repo, &remote(&far.url()), &cut).unwrap_err();
        // The power went, and what was written lately is zeros or shorter.
        let mut spoilt = 0;
        let tmp = repo.path().join("tmp");
        for dir in std::fs::read_dir(&tmp).unwrap().map(|e| e.unwrap().path()) {
            let name = dir.file_name().unwrap().to_string_lossy().into_owned();
            if !dir.is_dir() || !name.starts_with("backstop-pull") {
                continue;
            }
            for sub in std::fs::read_dir(&dir).unwrap() {
                for file in std::fs::read_dir(sub.unwrap().path()).unwrap() {
                    let path = file.unwrap().path();
                    spoilt += 1;
                    let len = std::fs::metadata(&path).unwrap().len();
                    match spoilt % 3 {
                        0 => std::fs::write(&path, vec![0; len as usize]).unwrap(),
                        1 => std::fs::write(&path, b"").unwrap(),
                        _ => {}
                    }
                }
            }
        }
        assert!(spoilt > 10);
        let good = Far::start(&origin.path, |_, _| Act::Serve);
        let pulled = pull_main(&repo, &good.url()).unwrap();
        assert!(pulled.objects_resumed > 0, "{pulled:?}");
        assert_has(&repo, "origin:main", origin.second);
    }
}

/// The process that is killed: not a test by itself.
#[test]
fn a_pull_for_another_test() {
    let (Ok(url), Ok(repo)) = (std::env::var("PULL_FROM"), std::env::var("PULL_INTO")) else {
        return;
    };
    let repo = Repo::open(std::sync::Arc::new(durable::RealFs), repo.as_ref()).unwrap();
    pull_main(&repo, &url).unwrap();
}

#[test]
fn killed_at_any_moment() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let repo = sandbox.repo("to", RepoMode::BareUser);
    for n in [1, 5, 12, 20, 28, 35, 40] {
        // It holds still at the n-th request, and is killed there.
        let far = Far::start(&origin.path, move |_, nth| match nth < n {
            true => Act::Serve,
            false => Act::Stall(Vec::new()),
        });
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "resume::a_pull_for_another_test"])
            .env("PULL_FROM", far.url())
            .env("PULL_INTO", repo.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while far.asked().len() <= n && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "it never asked {n} times");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if repo.refs(None).unwrap().is_empty() {
            assert_untouched(&repo);
        }
    }
    let good = Far::start(&origin.path, |_, _| Act::Serve);
    pull_main(&repo, &good.url()).unwrap();
    assert_has(&repo, "origin:main", origin.second);
}

#[test]
fn a_full_disk() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let small = sandbox.path("small");
    std::fs::create_dir(&small).unwrap();
    if !is_root() && !testing::nothing_lacks(&["root, to mount a small filesystem"]) {
        return;
    }
    let mount = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=3m", "tmpfs"])
        .arg(&small)
        .status();
    let mounted = mount.is_ok_and(|status| status.success());
    if !mounted && !testing::nothing_lacks(&["the right to mount a small filesystem"]) {
        return;
    }
    let result = std::panic::catch_unwind(|| {
        let repo = sandbox.repo("small/repo", RepoMode::BareUser);
        let far = Far::start(&origin.path, |_, _| Act::Serve);
        let error = pull_main(&repo, &far.url()).unwrap_err();
        let said = text(&error);
        assert!(
            said.contains("free some space") || said.contains("not enough space"),
            "{said}"
        );
        assert_untouched(&repo);
        let command = ["-o", "remount,size=64m"];
        let grown = Command::new("mount").args(command).arg(&small).status();
        assert!(grown.unwrap().success());
        let repo = Repo::open(std::sync::Arc::new(durable::RealFs), repo.path()).unwrap();
        pull_main(&repo, &far.url()).unwrap();
        assert_has(&repo, "origin:main", origin.second);
    });
    let _ = Command::new("umount").arg("-l").arg(&small).status();
    result.unwrap();
}

#[test]
fn two_at_once() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| pull_main(&repo, &far.url()).unwrap());
        }
    });
    assert_has(&repo, "origin:main", origin.second);
}
