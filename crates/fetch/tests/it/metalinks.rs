//! Metalinks: what vouches for a summary, and says where it is.

use ostree::{Checksum, RepoMode, Unsigned};

use crate::far::{Act, Far};
use crate::sandbox::{
    Origin, Sandbox, assert_has, assert_untouched, options, pull, pull_main, remote, text,
};

/// A metalink of the summary of a repository, and where it may be.
fn metalink(origin: &Origin, urls: &[String]) -> String {
    let summary = std::fs::read(origin.path.join("summary")).unwrap();
    let (size, digest) = (summary.len(), Checksum::of(&summary));
    let url = |(at, url): (usize, &String)| {
        let preference = 100 - at;
        format!("<url preference=\"{preference}\">{url}</url>")
    };
    let urls: String = urls.iter().enumerate().map(url).collect();
    format!(
        "<?xml version=\"1.0\"?>\n<metalink version=\"3.0\"><files><file name=\"summary\">\
         <size>{size}</size><verification><hash type=\"sha256\">{digest}</hash></verification>\
         <resources>{urls}</resources></file></files></metalink>"
    )
}

fn serve(bytes: Vec<u8>) -> Far {
    let nowhere = std::path::Path::new("/nonexistent");
    Far::start(nowhere, move |_, _| Act::Bytes(bytes.clone()))
}

#[test]
fn the_first_good_mirror_is_used_and_the_others_stand_by() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let empty = sandbox.path("nothing");
    std::fs::create_dir(&empty).unwrap();
    let lacking = Far::start(&empty, |_, _| Act::Serve);
    let lying = serve(b"something else".to_vec());
    // It has refs and summary, and gives up before the objects.
    let failing = Far::start(&origin.path, |asked, _| {
        match asked.target.contains("objects") {
            true => Act::Status(404),
            false => Act::Serve,
        }
    });
    let good = Far::start(&origin.path, |_, _| Act::Serve);
    let all = [&lacking, &lying, &failing, &good];
    let urls = all.map(|far| format!("{}/summary", far.url()));
    let list = serve(metalink(&origin, &urls).into_bytes());
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let mut by_key = remote("http://nowhere.invalid/");
    by_key.set("metalink", Some(&format!("{}/m", list.url())));
    pull(&repo, &by_key, &options(&["main"])).unwrap();
    assert_has(&repo, "origin:main", origin.second);
    assert!(good.count("objects/") > 20);
    // The summary is not asked for again.
    assert_eq!(
        (failing.count("summary"), failing.count("summary.sig")),
        (2, 1)
    );

    // As an address, and for `resolve`.
    let by_url = remote(&format!("metalink={}/m", list.url()));
    let verifier = Unsigned::new(&by_url).unwrap();
    let silent = monitor::Silent;
    let found = fetch::resolve(&repo, &by_url, "main", &options(&[]), &verifier, &silent);
    assert_eq!(found.unwrap(), origin.second);
}

#[test]
fn nothing_but_what_it_vouches_for_is_taken() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let good = Far::start(&origin.path, |_, _| Act::Serve);
    let urls = [format!("{}/summary", good.url())];
    let right = metalink(&origin, &urls);
    let size = std::fs::metadata(origin.path.join("summary"))
        .unwrap()
        .len();
    let digest = Checksum::of(&std::fs::read(origin.path.join("summary")).unwrap()).to_string();
    let cases = [
        (right.replace(&digest, &"0".repeat(64)), "its digest is"),
        (
            right.replace(&format!("<size>{size}"), "<size>9999999"),
            "bytes long instead of",
        ),
        (
            right.replace(&format!("<size>{size}"), "<size>1"),
            "more than 1 bytes",
        ),
        (right.replace("/summary<", "/nothing<"), "does not have it"),
        (right.replace("http:", "ftp:"), "no address over HTTP"),
        ("bacon".into(), "begin with an element"),
        (format!("<!DOCTYPE x>{right}"), "document types"),
        (" ".repeat(2 << 20) + &right, "more than"),
    ];
    for (at, (text_of, why)) in cases.into_iter().enumerate() {
        let list = serve(text_of.into_bytes());
        let repo = sandbox.repo(&format!("to-{at}"), RepoMode::BareUser);
        let error = pull_main(&repo, &format!("metalink={}/m", list.url())).unwrap_err();
        assert!(text(&error).contains(why), "{why}: {}", text(&error));
        assert_untouched(&repo);
    }

    // A ref that the summary does not have is none, whatever the mirror says.
    let hidden = origin.path.join("refs/heads/hidden");
    std::fs::write(hidden, format!("{}\n", origin.first)).unwrap();
    let list = serve(right.into_bytes());
    let by_link = remote(&format!("metalink={}/m", list.url()));
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let unbound = fetch::PullOptions {
        verify_bindings: false,
        ..options(&["hidden"])
    };
    let error = pull(&repo, &by_link, &unbound).unwrap_err();
    assert!(error.to_string().contains("no ref \"hidden\""), "{error}");
    assert_untouched(&repo);
    pull(&repo, &remote(&good.url()), &unbound).unwrap();
}
