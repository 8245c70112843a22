//! Servers that lie, stall and flood. Whatever they do, the pull ends with an error in
//! good time, nothing of it is seen in the repository, and a good server is pulled
//! from as if nothing had been.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::DeflateEncoder;
use ostree::{Repo, RepoMode};

use crate::far::{Act, Asked, Far};
use crate::sandbox::{
    Origin, Sandbox, assert_has, assert_untouched, object_path, options, pull, pull_main, remote,
    summarize, text,
};

/// Runs a pull of `main` from a server that does what `rule` says, and expects an
/// error that says `want`.
fn refused(
    name: &str,
    sandbox: &Sandbox,
    origin: &Origin,
    want: &str,
    rule: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static,
) {
    let far = Far::start(&origin.path, rule);
    let repo = sandbox.repo(&format!("to {name}"), RepoMode::BareUser);
    let mut impatient = options(&["main"]);
    impatient.net.patience = Duration::from_secs(2);
    impatient.net.retries = 1;
    let start = Instant::now();
    let error = pull(&repo, &remote(&far.url()), &impatient).unwrap_err();
    let said = text(&error);
    assert!(said.contains(want), "{name}: {said}");
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "{name} took long"
    );
    assert_untouched(&repo);
    // A good one afterwards.
    let good = Far::start(&origin.path, |_, _| Act::Serve);
    pull_main(&repo, &good.url()).unwrap_or_else(|e| panic!("{name}: {}", text(&e)));
    assert_has(&repo, "origin:main", origin.second);
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(9));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An archived file that says it holds `size` bytes.
fn archived(size: u64, deflated: &[u8]) -> Vec<u8> {
    let header = ostree::FileHeader {
        uid: 0,
        gid: 0,
        mode: 0o100_644,
        target: String::new(),
        xattrs: ostree::Xattrs::default(),
    };
    let header = header.encode_archive(size);
    let mut out = (header.len() as u32).to_be_bytes().to_vec();
    out.extend([0; 4]);
    out.extend(header);
    out.extend(deflated);
    out
}

#[test]
fn wrong_bytes() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(std::sync::Arc::new(durable::RealFs), &origin.path).unwrap();
    let noise = object_path(&from, &origin.second, "usr/lib/deep/noise");
    let small = object_path(&from, &origin.second, "etc/conf");
    let other = std::fs::read(origin.path.join(&small)).unwrap();
    let bomb = archived(1 << 40, &deflate(&vec![0; 8 << 20]));
    let zeros = deflate(&vec![0; 64 << 20]);
    let bomb_of_zeros = archived(1000, &zeros);
    let long_zeros = archived(64 << 20, &zeros);
    let mut huge_header = 0xffff_ffff_u32.to_be_bytes().to_vec();
    huge_header.extend([0; 100]);
    let cases: [(&str, &str, Vec<u8>, &str); 13] = [
        ("another file", &noise, other.clone(), "its digest is"),
        ("nothing", &noise, Vec::new(), "is damaged"),
        (
            "text",
            &noise,
            b"<html>not found</html>".to_vec(),
            "is damaged",
        ),
        ("a bomb", &noise, bomb, "too large"),
        (
            "a bomb with a small size",
            &noise,
            bomb_of_zeros,
            "is damaged",
        ),
        ("much of little", &noise, long_zeros, "its digest is"),
        ("a huge header", &noise, huge_header, "too large"),
        (
            "more behind the end",
            &small,
            [&other[..], b"more"].concat(),
            "is damaged",
        ),
        (
            "cut within",
            &small,
            other[..other.len() - 1].to_vec(),
            "is damaged",
        ),
        ("an empty commit", ".commit", Vec::new(), "is damaged"),
        ("another commit", ".commit", vec![1; 200], "its digest is"),
        ("another directory", ".dirtree", vec![0], "its digest is"),
        ("other attributes", ".dirmeta", vec![0; 20], "its digest is"),
    ];
    for (name, path, bytes, want) in cases {
        let path = path.to_owned();
        refused(name, &sandbox, &origin, want, move |asked, _| {
            let target = asked.target.trim_end_matches('"');
            match target.ends_with(&path) {
                true => Act::Bytes(bytes.clone()),
                false => Act::Serve,
            }
        });
    }
}

#[test]
fn what_never_ends_or_never_comes() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec();
    type Make = fn(&[u8]) -> Act;
    let cases: [(&str, &str, Make, &str); 12] = [
        (
            "endless commit",
            ".commit",
            |_| Act::Endless(1),
            "too large",
        ),
        (
            "endless signatures",
            ".commitmeta",
            |_| Act::Endless(1),
            "too large",
        ),
        (
            "endless attributes",
            ".dirmeta",
            |_| Act::Endless(0),
            "too large",
        ),
        // A file whose header is of zeros is no file; one that is announced, none either.
        ("endless file", ".filez", |_| Act::Endless(0), "is damaged"),
        (
            "endless signatures of the summary",
            "summary.sig",
            |_| Act::Endless(1),
            "more than",
        ),
        (
            "silent commit",
            ".commit",
            |_| Act::Stall(Vec::new()),
            "bytes a second",
        ),
        (
            "silent file",
            ".filez",
            |head| Act::Stall(head.to_vec()),
            "bytes a second",
        ),
        (
            "longer than it is",
            ".filez",
            |_| Act::Longer(100),
            "cannot fetch",
        ),
        (
            "no HTTP",
            ".dirtree",
            |_| Act::Raw(b"SSH-2.0-x\r\n\r\n".to_vec()),
            "cannot fetch",
        ),
        ("closed", ".dirtree", |_| Act::Close, "cannot fetch"),
        (
            "broken server",
            ".filez",
            |_| Act::Status(500),
            "answered 500",
        ),
        ("no right", ".filez", |_| Act::Status(401), "answered 401"),
    ];
    for (name, path, act, want) in cases {
        let head = head.clone();
        refused(name, &sandbox, &origin, want, move |asked, _| {
            match asked.target.ends_with(path) {
                true => act(&head),
                false => Act::Serve,
            }
        });
    }
}

#[test]
fn a_missing_object() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    for kind in [".filez", ".dirtree", ".dirmeta", ".commit"] {
        refused(
            kind,
            &sandbox,
            &origin,
            "does not have the object",
            move |asked, _| match asked.target.ends_with(kind) {
                true => Act::Status(404),
                false => Act::Serve,
            },
        );
    }
}

#[test]
fn headers_without_end_and_circles() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let mut many = b"HTTP/1.1 200 OK\r\n".to_vec();
    for i in 0..100_000 {
        many.extend(format!("X-{i}: y\r\n").bytes());
    }
    refused(
        "headers",
        &sandbox,
        &origin,
        "cannot fetch",
        move |asked, _| match asked.target.contains(".filez") {
            true => Act::Raw(many.clone()),
            false => Act::Serve,
        },
    );
    refused(
        "circles",
        &sandbox,
        &origin,
        "cannot fetch",
        |asked, _| match asked.target.contains(".filez") {
            true => Act::Raw(
                format!(
                    "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
                    asked.target
                )
                .into_bytes(),
            ),
            false => Act::Serve,
        },
    );
}

#[test]
fn refs_that_lead_elsewhere() {
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(std::sync::Arc::new(durable::RealFs), &origin.path).unwrap();
    let good = from.summarize(&ostree::Metadata::default()).unwrap();
    for bad in [
        "../../../../tmp/x",
        "/etc/passwd",
        "a/../../b",
        ".",
        "x\u{0}y",
    ] {
        let mut summary = good.clone();
        let found = summary.refs["main"].clone();
        summary.refs.insert(bad.into(), found);
        let bytes = summary.encode();
        let far = Far::start(&origin.path, move |asked, _| {
            match asked.target.ends_with("summary") {
                true => Act::Bytes(bytes.clone()),
                false => Act::Serve,
            }
        });
        let repo = sandbox.repo("to", RepoMode::Archive);
        let mirror = fetch::PullOptions {
            mirror: true,
            ..options(&[])
        };
        let error = pull(&repo, &remote(&far.url()), &mirror).unwrap_err();
        assert!(text(&error).contains("summary"), "{bad}: {error}");
        assert_untouched(&repo);
    }
    // The ref's own file.
    for bad in ["", "../../x", "zz", &"ab".repeat(40)] {
        let bad = bad.to_owned();
        let name = format!("ref file {bad:?}");
        refused(
            &name,
            &sandbox,
            &origin,
            "is no checksum",
            move |asked, _| match asked.target.as_str() {
                "/summary" => Act::Status(404),
                "/refs/heads/main" => Act::Bytes(bad.clone().into_bytes()),
                _ => Act::Serve,
            },
        );
    }
}

#[test]
fn names_in_a_tree_that_lead_elsewhere() {
    // The digests are right: whoever can make commits tries to write elsewhere.
    let sandbox = Sandbox::new();
    let origin = sandbox.origin("origin");
    let from = Repo::open(std::sync::Arc::new(durable::RealFs), &origin.path).unwrap();
    let good = from.load_commit(&origin.second).unwrap();
    let tree = from.load_dirtree(&good.root_tree).unwrap();
    for bad in ["..", ".", "a/b", "", "/"] {
        let mut tree = tree.clone();
        tree.files.push(ostree::FileRef {
            name: bad.into(),
            checksum: ostree::Checksum::of(b"x"),
        });
        tree.files.sort();
        let tree = tree.encode();
        let mut commit = good.clone();
        commit.root_tree = ostree::Checksum::of(&tree);
        let commit = commit.encode();
        let checksum = ostree::Checksum::of(&commit);
        let far = Far::start(&origin.path, move |asked, _| {
            match asked.target.rsplit('.').next() {
                Some("commit") => Act::Bytes(commit.clone()),
                Some("dirtree") => Act::Bytes(tree.clone()),
                _ => Act::Serve,
            }
        });
        let repo = sandbox.repo("to", RepoMode::BareUser);
        let at = format!("main@{checksum}");
        let error = pull(&repo, &remote(&far.url()), &options(&[&at])).unwrap_err();
        assert!(text(&error).contains("is damaged"), "{bad}: {error}");
        assert_untouched(&repo);
    }
}

#[test]
fn deep_and_wide_trees() {
    // A thousand directories in each other, and ten thousand times the same file.
    let sandbox = Sandbox::new();
    let from = sandbox.repo("from", RepoMode::Archive);
    let base = sandbox.origin("base");
    let base = Repo::open(std::sync::Arc::new(durable::RealFs), &base.path).unwrap();
    let mut commit = base.load_commit(&base.resolve("main").unwrap()).unwrap();
    let all = ["main".to_owned()];
    from.pull_local(
        &base,
        &all,
        &ostree::PullOptions::default(),
        &monitor::Silent,
    )
    .unwrap();
    let root = base.load_dirtree(&commit.root_tree).unwrap();
    let file = base
        .load_dirtree(&root.dir("etc").unwrap().tree)
        .unwrap()
        .files[0]
        .checksum;
    let files = (0..10_000).map(|i| ostree::FileRef {
        name: format!("{i:05}"),
        checksum: file,
    });
    let mut tree = ostree::DirTree {
        files: files.collect(),
        dirs: Vec::new(),
    };
    let store = |bytes: &[u8], kind| {
        let checksum = ostree::Checksum::of(bytes);
        let path = from.object_path(&ostree::ObjectName::new(checksum, kind));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        checksum
    };
    for _ in 0..1000 {
        let checksum = store(&tree.encode(), ostree::ObjectKind::DirTree);
        tree = ostree::DirTree {
            files: Vec::new(),
            dirs: vec![ostree::DirRef {
                name: "d".into(),
                tree: checksum,
                meta: commit.root_meta,
            }],
        };
    }
    commit.root_tree = store(&tree.encode(), ostree::ObjectKind::DirTree);
    let checksum = store(&commit.encode(), ostree::ObjectKind::Commit);
    let far = Far::start(from.path(), |_, _| Act::Serve);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let wanted = checksum.to_string();
    let pulled = pull(&repo, &remote(&far.url()), &options(&[&wanted])).unwrap();
    // The file was asked for once.
    assert_eq!(far.count(".filez"), 1, "{pulled:?}");
    repo.load_commit(&checksum).unwrap();
    summarize(&from);
}
