//! Cookies that are kept for a remote go with every request.

use ostree::{Cookie, RepoMode, Unsigned};

use crate::far::{Act, Far};
use crate::sandbox::{Sandbox, assert_has, options, pull, remote};

#[test]
fn they_are_sent_by_whatever_asks() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let far = Far::start(&origin.path, |asked, _| match asked.header("cookie") {
        Some("key=secret") => Act::Serve,
        _ => Act::Status(401),
    });
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let far_away = remote(&far.url());
    let verifier = Unsigned::new(&far_away).unwrap();
    let options = options(&["main"]);
    let resolve = |remote| {
        let silent = monitor::Silent;
        fetch::resolve(&repo, remote, "main", &options, &verifier, &silent)
    };
    let cookie = |path, value| Cookie::new("127.0.0.1", path, "key", value, 2_000_000_000).unwrap();
    // Those of another remote, host or path are none for this one.
    repo.add_cookie("another", cookie("/", "secret")).unwrap();
    repo.add_cookie("origin", cookie("/elsewhere", "secret"))
        .unwrap();
    assert!(resolve(&far_away).is_err());
    assert!(far.asked().iter().all(|a| a.header("cookie").is_none()));

    repo.add_cookie("origin", cookie("/", "secret")).unwrap();
    assert_eq!(resolve(&far_away).unwrap(), origin.second);
    // As `repo remote refs` and `list` do.
    let connection = fetch::Connection::open(&repo, &far_away, &options.net).unwrap();
    let found = connection.summary(&repo, &verifier, false, &monitor::Silent);
    let found = found.unwrap().unwrap().summary;
    let refs = connection.refs_of(Some(&found)).unwrap().unwrap();
    assert_eq!(refs.len(), 2);
    pull(&repo, &far_away, &options).unwrap();
    assert_has(&repo, "origin:main", origin.second);
}
