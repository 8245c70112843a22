//! What a pull brings, and how it is told to.

use std::sync::{Arc, Mutex};

use ostree::{RepoMode, Value};
use serve::{Limits, Server};

use crate::far::{Act, Far};
use crate::sandbox::{
    LONG, MIDDLE, Sandbox, assert_clean, assert_has, commit, is_root, noise, options, pull,
    pull_main, remote, summarize, text,
};

/// Our own server for as long as this lives.
pub struct Ours {
    pub url: String,
    stopper: serve::Stopper,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ours {
    pub fn start(path: &std::path::Path) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(path, any, Limits::default()).unwrap();
        let url = format!("http://{}", server.address());
        let stopper = server.stopper();
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self {
            url,
            stopper,
            thread: Some(thread),
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.stopper.stop();
        let _ = self.thread.take().unwrap().join();
    }
}

#[test]
fn into_every_mode() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let server = Ours::start(&origin.path);
    let mut modes = vec![RepoMode::BareUser, RepoMode::Archive];
    if is_root() {
        modes.push(RepoMode::Bare);
    }
    for mode in modes {
        let repo = sandbox.repo(&format!("to-{mode}"), mode);
        let pulled = pull_main(&repo, &server.url).unwrap();
        assert_eq!(pulled.commits, [("main".into(), origin.second)]);
        assert!(pulled.objects_written > 20 && pulled.bytes_fetched > u64::from(LONG + MIDDLE));
        assert_has(&repo, "origin:main", origin.second);
        for (name, len) in [("noise", LONG), ("some", MIDDLE)] {
            let path = std::path::Path::new("usr/lib/deep").join(name);
            let content = repo.read_file(&origin.second, &path, 4 << 20).unwrap();
            assert_eq!(content.unwrap(), noise(len), "{name}");
        }
        assert_eq!(
            std::fs::read_dir(repo.path().join("tmp")).unwrap().count(),
            1
        );

        // Again: nothing but the refs and the signatures is asked for.
        let again = pull_main(&repo, &server.url).unwrap();
        assert_eq!((again.objects_written, again.bytes_fetched), (0, 0));
    }
}

#[test]
fn only_what_is_new_is_asked_for() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let first = origin.first.to_string();
    pull(&repo, &remote(&far.url()), &options(&[&first])).unwrap();
    let before = far.count("objects/");
    pull_main(&repo, &far.url()).unwrap();
    // The big files are the same in both.
    let path = crate::sandbox::object_path(
        &ostree::Repo::open(Arc::new(durable::RealFs), &origin.path).unwrap(),
        &origin.second,
        "usr/lib/deep/noise",
    );
    assert_eq!(far.count(&path), 1);
    assert!(far.count("objects/") < before * 2);
    assert_has(&repo, "origin:main", origin.second);
}

#[test]
fn history_as_deep_as_wanted() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    for (depth, has_first) in [(Some(0), false), (Some(1), true), (None, true)] {
        let repo = sandbox.repo(&format!("to-{depth:?}"), RepoMode::BareUser);
        let options = fetch::PullOptions {
            depth,
            ..options(&["main"])
        };
        pull(&repo, &remote(&far.url()), &options).unwrap();
        assert_eq!(
            repo.load_commit(&origin.first).is_ok(),
            has_first,
            "{depth:?}"
        );
        assert_has(&repo, "origin:main", origin.second);
    }
}

#[test]
fn parts_of_a_commit() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let mark = repo
        .path()
        .join(format!("state/{}.commitpartial", origin.second));
    let read = |path: &str| {
        let content = repo.read_file(&origin.second, path.as_ref(), 1 << 20);
        content.ok().flatten()
    };
    let steps = [
        fetch::PullOptions {
            commit_metadata_only: true,
            ..options(&["main"])
        },
        fetch::PullOptions {
            subpaths: vec!["/etc".into()],
            ..options(&["main"])
        },
        options(&["main"]),
    ];
    for (step, options) in steps.iter().enumerate() {
        pull(&repo, &remote(&far.url()), options).unwrap();
        assert_eq!(repo.resolve("origin:main").unwrap(), origin.second);
        assert_clean(&repo);
        assert_eq!(mark.exists(), step < 2, "step {step}");
        assert_eq!(read("etc/conf").is_some(), step > 0, "step {step}");
        assert_eq!(read("usr/lib/file3").is_some(), step > 1, "step {step}");
    }
}

#[test]
fn mirrors_have_all_and_the_summary() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let server = Ours::start(&origin.path);
    let repo = sandbox.repo("to", RepoMode::Archive);
    let mirror = fetch::PullOptions {
        mirror: true,
        ..options(&[])
    };
    pull(&repo, &remote(&server.url), &mirror).unwrap();
    assert_has(&repo, "main", origin.second);
    assert_has(&repo, "other/branch", origin.other);
    let summary = |path: &std::path::Path| std::fs::read(path.join("summary")).unwrap();
    assert_eq!(summary(repo.path()), summary(&origin.path));
    // A mirror of the mirror is the same.
    let second = Ours::start(repo.path());
    let repo = sandbox.repo("to-2", RepoMode::Archive);
    pull(&repo, &remote(&second.url), &mirror).unwrap();
    assert_has(&repo, "main", origin.second);
}

#[test]
fn refs_in_all_ways() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    // By commit, without a ref.
    let commit = origin.other.to_string();
    let pulled = pull(&repo, &remote(&far.url()), &options(&[&commit])).unwrap();
    assert_eq!(pulled.commits, [(String::new(), origin.other)]);
    assert!(repo.refs(None).unwrap().is_empty());
    // A ref at a commit of ours.
    let at = format!("main@{}", origin.first);
    pull(&repo, &remote(&far.url()), &options(&[&at])).unwrap();
    assert_has(&repo, "origin:main", origin.first);
    // Those that the remote's settings name.
    let mut with_branches = remote(&far.url());
    with_branches.set("branches", Some("main;other/branch"));
    pull(&repo, &with_branches, &options(&[])).unwrap();
    assert_has(&repo, "origin:main", origin.second);
    assert_has(&repo, "origin:other/branch", origin.other);
    // None.
    let error = pull(&repo, &remote(&far.url()), &options(&[])).unwrap_err();
    assert!(matches!(error, fetch::Error::NoRefs(_)), "{error}");
    let error = pull(&repo, &remote(&far.url()), &options(&["missing"])).unwrap_err();
    assert!(error.to_string().contains("no ref \"missing\""), "{error}");
    for bad in ["../main", "a b", "main@x", "-x", ""] {
        let error = pull(&repo, &remote(&far.url()), &options(&[bad])).unwrap_err();
        assert!(
            text(&error).contains("cannot be the name of a ref"),
            "{bad}: {error}"
        );
    }
    // Without a summary, the ref's own file tells.
    std::fs::remove_file(origin.path.join("summary")).unwrap();
    let repo = sandbox.repo("to-2", RepoMode::BareUser);
    pull_main(&repo, &far.url()).unwrap();
    assert_has(&repo, "origin:main", origin.second);
    let mirror = fetch::PullOptions {
        mirror: true,
        ..options(&[])
    };
    let error = pull(&repo, &remote(&far.url()), &mirror).unwrap_err();
    assert!(error.to_string().contains("has no summary"), "{error}");
}

#[test]
fn what_other_repositories_here_have_is_not_asked_for() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let cache = sandbox.repo("cache", RepoMode::BareUser);
    pull_main(&cache, &far.url()).unwrap();
    let before = far.count(".filez");
    let repo = sandbox.repo("to", RepoMode::Archive);
    let cached = fetch::PullOptions {
        local_caches: vec![cache.path().to_owned()],
        ..options(&["main"])
    };
    let pulled = pull(&repo, &remote(&far.url()), &cached).unwrap();
    assert_eq!(far.count(".filez"), before);
    assert!(pulled.objects_cached > 20, "{pulled:?}");
    assert_has(&repo, "origin:main", origin.second);
}

#[test]
fn a_directory_is_a_remote_too() {
    let sandbox = Sandbox::new();
    let from = sandbox.repo("from", RepoMode::BareUser);
    let commit = commit(&from, &sandbox.tree("tree", "x"), "main", 1000);
    let url = format!("file://{}", from.path().display());
    for mode in [RepoMode::BareUser, RepoMode::Archive] {
        let repo = sandbox.repo(&format!("to-{mode}"), mode);
        pull_main(&repo, &url).unwrap();
        assert_has(&repo, "origin:main", commit);
    }
    // What is broken there does not come along.
    let path = from.object_path(&ostree::ObjectName::new(
        from.load_commit(&commit).unwrap().root_tree,
        ostree::ObjectKind::DirTree,
    ));
    std::fs::write(path, b"broken").unwrap();
    let repo = sandbox.repo("to-3", RepoMode::BareUser);
    assert!(pull_main(&repo, &url).is_err());
    crate::sandbox::assert_untouched(&repo);
}

#[test]
fn mirror_lists_and_content_elsewhere() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let good = Far::start(&origin.path, |_, _| Act::Serve);
    let empty = sandbox.path("nothing");
    std::fs::create_dir(&empty).unwrap();
    let lacking = Far::start(&empty, |_, _| Act::Serve);
    let broken = Far::start(&origin.path, |_, _| Act::Status(503));
    let list = format!("{}\n{}\n{}\n", lacking.url(), broken.url(), good.url());
    let lists = Far::start(&empty, move |_, _| Act::Bytes(list.clone().into_bytes()));
    let repo = sandbox.repo("to", RepoMode::BareUser);
    pull_main(&repo, &format!("mirrorlist={}/list", lists.url())).unwrap();
    assert_has(&repo, "origin:main", origin.second);
    assert!(lacking.count("") > 0 && good.count("objects/") > 20);

    let metadata = Far::start(&origin.path, |asked, _| {
        // What was added to a commit later is not content.
        let content = asked.target.contains("objects") && !asked.target.ends_with(".commitmeta");
        match content {
            true => Act::Status(500),
            false => Act::Serve,
        }
    });
    let content = Far::start(&origin.path, |_, _| Act::Serve);
    let mut split = remote(&metadata.url());
    split.set("contenturl", Some(&content.url()));
    let repo = sandbox.repo("to-2", RepoMode::BareUser);
    pull(&repo, &split, &options(&["main"])).unwrap();
    assert_has(&repo, "origin:main", origin.second);
    assert_eq!(metadata.count("objects/"), metadata.count(".commitmeta"));
    assert_eq!(content.count(".commitmeta"), 0);
}

#[test]
fn proxies_headers_and_passwords() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    // A proxy is asked with whole addresses; the host needs not be known here.
    let proxy = Far::start(&origin.path, |asked, _| {
        match asked.target.starts_with("http://repo.invalid/") {
            true => Act::Serve,
            false => Act::Status(400),
        }
    });
    let mut through = remote("http://repo.invalid/");
    through.set("proxy", Some(&proxy.url()));
    let repo = sandbox.repo("to", RepoMode::BareUser);
    pull(&repo, &through, &options(&["main"])).unwrap();
    assert_has(&repo, "origin:main", origin.second);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let far = {
        let seen = Arc::clone(&seen);
        Far::start(&origin.path, move |asked, _| {
            let of = |name| asked.header(name).unwrap_or_default().to_owned();
            let all = [of("x-one"), of("user-agent"), of("authorization")];
            seen.lock().unwrap().push(all);
            Act::Serve
        })
    };
    let mut options = options(&["main"]);
    options.net.headers = vec![("X-One".into(), "yes".into())];
    options.net.user_agent = Some("fleet/7".into());
    let url = far.url().replace("http://", "http://user:secret@");
    let repo = sandbox.repo("to-2", RepoMode::BareUser);
    pull(&repo, &remote(&url), &options).unwrap();
    for [one, agent, authorization] in seen.lock().unwrap().iter() {
        assert_eq!(one, "yes");
        assert!(
            agent.starts_with("backstop/") && agent.ends_with(" fleet/7"),
            "{agent}"
        );
        assert_eq!(authorization, "Basic dXNlcjpzZWNyZXQ=");
    }
}

#[test]
fn commits_for_other_refs_and_from_the_past_are_refused() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    // Somebody serves one branch's commit as another's.
    let at = format!("main@{}", origin.other);
    let error = pull(&repo, &remote(&far.url()), &options(&[&at])).unwrap_err();
    assert!(
        text(&error).contains("not meant for the ref \"main\""),
        "{error}"
    );
    crate::sandbox::assert_untouched(&repo);
    let lax = fetch::PullOptions {
        verify_bindings: false,
        ..options(&[&at])
    };
    pull(&repo, &remote(&far.url()), &lax).unwrap();

    pull_main(&repo, &far.url()).unwrap();
    let back = fetch::PullOptions {
        timestamp_check: true,
        ..options(&[&format!("main@{}", origin.first)])
    };
    let error = pull(&repo, &remote(&far.url()), &back).unwrap_err();
    assert!(text(&error).contains("is older than"), "{error}");
    let from = fetch::PullOptions {
        timestamp_check_from: Some(origin.second.to_string()),
        ..options(&[&origin.first.to_string()])
    };
    let error = pull(&repo, &remote(&far.url()), &from).unwrap_err();
    assert!(text(&error).contains("is older than"), "{error}");
    assert_has(&repo, "origin:main", origin.second);
}

#[test]
fn only_archives_are_pulled_over_http() {
    let sandbox = Sandbox::new();
    let from = sandbox.repo("from", RepoMode::BareUser);
    commit(&from, &sandbox.tree("tree", "x"), "main", 1000);
    let far = Far::start(from.path(), |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    for with_summary in [false, true] {
        if with_summary {
            summarize(&from);
        }
        let error = pull_main(&repo, &far.url()).unwrap_err();
        assert!(error.to_string().contains("in mode bare-user"), "{error}");
    }
}

#[test]
fn detached_metadata_comes_along() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = ostree::Repo::open(Arc::new(durable::RealFs), &origin.path).unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    for text in ["one", "two"] {
        let mut metadata = ostree::Metadata::default();
        metadata.set("note", Value::from(text));
        from.set_detached_metadata(&origin.second, Some(&metadata))
            .unwrap();
        pull_main(&repo, &far.url()).unwrap();
        let got = repo.detached_metadata(&origin.second).unwrap();
        assert_eq!(got, Some(metadata));
    }
    // It is not forgotten when the other side forgets it.
    from.set_detached_metadata(&origin.second, None).unwrap();
    pull_main(&repo, &far.url()).unwrap();
    assert!(repo.detached_metadata(&origin.second).unwrap().is_some());
}

#[test]
fn a_signature_that_is_demanded_is_not_done_without() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    for (key, value, what) in [
        ("gpg-verify", "true", "the commit"),
        ("sign-verify", "true", "the commit"),
        ("sign-verify", "ed25519", "the commit"),
        ("gpg-verify-summary", "true", "the summary"),
        ("sign-verify-summary", "true", "the summary"),
    ] {
        let mut strict = remote(&far.url());
        strict.set(key, Some(value));
        let error = pull(&repo, &strict, &options(&["main"])).unwrap_err();
        let text = text(&error);
        assert!(
            text.contains(what) && text.contains("is refused"),
            "{key}: {text}"
        );
        crate::sandbox::assert_untouched(&repo);
    }
    assert_eq!(
        far.count(".dirtree"),
        0,
        "it was asked for before it was judged"
    );
}

#[test]
fn a_commit_without_a_parent_at_the_other_side() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = ostree::Repo::open(Arc::new(durable::RealFs), &origin.path).unwrap();
    let first = ostree::ObjectName::new(origin.first, ostree::ObjectKind::Commit);
    std::fs::remove_file(from.object_path(&first)).unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let to = sandbox.repo("to", RepoMode::BareUser);
    let all = fetch::PullOptions {
        depth: None,
        ..options(&["main"])
    };
    pull(&to, &remote(&far.url()), &all).unwrap();
    assert_has(&to, "origin:main", origin.second);
}

#[test]
fn files_with_odd_modes_can_be_refused() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("from", RepoMode::Archive);
    let tree = sandbox.tree("tree", "x");
    let odd = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(tree.join("etc/empty"), odd).unwrap();
    let commit = commit(&repo, &tree, "main", 1000);
    let far = Far::start(repo.path(), |_, _| Act::Serve);
    let near = format!("file://{}", repo.path().display());
    let strict = fetch::PullOptions {
        plain_modes_only: true,
        ..options(&["main"])
    };
    let to = sandbox.repo("to", RepoMode::BareUser);
    for url in [far.url(), near] {
        let error = pull(&to, &remote(&url), &strict).unwrap_err();
        assert!(text(&error).contains("the mode 104755"), "{}", text(&error));
        crate::sandbox::assert_untouched(&to);
    }
    pull_main(&to, &far.url()).unwrap();
    assert_has(&to, "origin:main", commit);
}

#[test]
fn an_archive_may_take_files_over_unread() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = ostree::Repo::open(Arc::new(durable::RealFs), &origin.path).unwrap();
    let path = crate::sandbox::object_path(&from, &origin.second, "usr/lib/file3");
    let mut bytes = std::fs::read(origin.path.join(&path)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(origin.path.join(&path), bytes).unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let lax = fetch::PullOptions {
        unverified_files: true,
        ..options(&["main"])
    };
    // Only from archive to archive; all else is verified.
    let bare = sandbox.repo("bare", RepoMode::BareUser);
    assert!(pull(&bare, &remote(&far.url()), &lax).is_err());
    let archive = sandbox.repo("archive", RepoMode::Archive);
    assert!(pull_main(&archive, &far.url()).is_err());
    pull(&archive, &remote(&far.url()), &lax).unwrap();
    assert_eq!(archive.resolve("origin:main").unwrap(), origin.second);
}

#[test]
fn a_remote_of_another_program_and_one_that_waits() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("to", RepoMode::BareUser);
    for (key, value) in [
        ("custom-backend", "other"),
        ("unconfigured-state", "pay first"),
    ] {
        let mut odd = remote("http://127.0.0.1:9/");
        odd.set(key, Some(value));
        let error = pull(&repo, &odd, &options(&["main"])).unwrap_err();
        assert!(error.to_string().contains(value), "{error}");
    }
}

#[test]
fn a_summary_that_is_not_needed_is_not_asked_for() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    std::fs::write(origin.path.join("summary"), "broken").unwrap();
    let far = Far::start(&origin.path, |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    assert!(pull_main(&repo, &far.url()).is_err());
    let at = format!("main@{}", origin.second);
    let many = [at.as_str(), &at, &origin.second.to_string()];
    pull(&repo, &remote(&far.url()), &options(&many)).unwrap();
    assert_has(&repo, "origin:main", origin.second);
}
