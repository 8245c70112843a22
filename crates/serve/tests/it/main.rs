//! The server as its clients see it, byte by byte.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serve::{Limits, Server, Stopper};

struct Running {
    address: SocketAddr,
    stopper: Stopper,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(root: &Path, limits: Limits) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(root, any, limits).unwrap();
        let (address, stopper) = (server.address(), server.stopper());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self {
            address,
            stopper,
            thread: Some(thread),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    /// All that is answered to these bytes until the server closes.
    fn talk(&self, request: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    /// The answer to a `GET` with more headers: status line and headers, and body.
    fn get(&self, path: &str, headers: &str) -> (String, Vec<u8>) {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        split(&self.talk(request.as_bytes()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stopper.stop();
        let _ = self.thread.take().unwrap().join();
    }
}

fn split(answer: &[u8]) -> (String, Vec<u8>) {
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..at]).into_owned();
    (head, answer[at + 4..].to_vec())
}

/// A directory that looks like a repository, with a secret beside it.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let repo = dir.path().join("repo");
    for sub in ["objects/ab", "refs/heads", "tmp", "state"] {
        fs::create_dir_all(repo.join(sub)).unwrap();
    }
    fs::write(dir.path().join("secret"), "secret").unwrap();
    fs::write(repo.join("config"), "[core]\n").unwrap();
    fs::write(repo.join("summary"), "0123456789").unwrap();
    fs::write(repo.join("tmp/secret"), "secret").unwrap();
    fs::write(repo.join("origin.trustedkeys.gpg"), "secret").unwrap();
    fs::write(repo.join("refs/heads/main"), "abc\n").unwrap();
    symlink("main", repo.join("refs/heads/alias")).unwrap();
    symlink("../../../secret", repo.join("refs/heads/out")).unwrap();
    symlink("/etc/passwd", repo.join("objects/ab/absolute")).unwrap();
    symlink(dir.path(), repo.join("objects/up")).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    fs::write(repo.join("objects/ab/big.filez"), big).unwrap();
    dir
}

#[test]
fn files_ranges_and_tags() {
    let dir = repository();
    let server = Running::start(&dir.path().join("repo"), Limits::default());
    let (head, body) = server.get("/summary", "");
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains("no-cache"),
        "{head}"
    );
    assert_eq!(body, b"0123456789");
    let (head, body) = server.get("/objects/ab/big.filez", "");
    assert!(
        head.contains("immutable") && body.len() == 3_000_000,
        "{head}"
    );
    let cases = [
        ("bytes=2-4", "206", "bytes 2-4/10", "234"),
        ("bytes=7-", "206", "bytes 7-9/10", "789"),
        ("bytes=-2", "206", "bytes 8-9/10", "89"),
        ("bytes=10-", "416", "bytes */10", ""),
        ("bytes=1-2,5-6", "200", "", "0123456789"),
    ];
    for (range, status, content_range, want) in cases {
        let (head, body) = server.get("/summary", &format!("Range: {range}\r\n"));
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{range}: {head}"
        );
        assert!(head.contains(content_range), "{range}: {head}");
        assert_eq!(body, want.as_bytes(), "{range}");
    }
    let (head, _) = server.get("/summary", "");
    let tag = head.lines().find_map(|l| l.strip_prefix("etag: ")).unwrap();
    let (head, body) = server.get("/summary", &format!("If-None-Match: {tag}\r\n"));
    assert!(
        head.starts_with("HTTP/1.1 304") && body.is_empty(),
        "{head}"
    );
    // A range of another version of the file would be worth nothing.
    let changed = "If-Range: \"other\"\r\nRange: bytes=2-4\r\n";
    assert_eq!(server.get("/summary", changed).1, b"0123456789");
    fs::write(dir.path().join("repo/summary"), "changed").unwrap();
    let (head, _) = server.get("/summary", &format!("If-None-Match: {tag}\r\n"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let head = server.talk(b"HEAD /summary HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let (head, body) = split(&head);
    assert!(
        head.contains("content-length: 7") && body.is_empty(),
        "{head}"
    );
}

#[test]
fn many_objects_in_one_answer() {
    let dir = repository();
    let root = dir.path().join("repo");
    fs::write(root.join("objects/ab/empty"), "").unwrap();
    fs::write(root.join("objects/ab/small"), "0123").unwrap();
    let server = Running::start(&root, Limits::default());
    let get = |names: &str| {
        // HTTP/1.0 knows no chunks: the body is as it is.
        let request = format!("GET /objects?of={names} HTTP/1.0\r\n\r\n");
        split(&server.talk(request.as_bytes()))
    };
    let offer = server.get("/objects/ab/small", "").0;
    assert!(offer.contains("backstop-many: 64"), "{offer}");
    let (head, body) = get("ab/small,ab/gone,ab/empty,ab/big.filez,ab/absolute,up/secret,ab/small");
    assert!(
        head.contains(" 200 ") && head.contains("no-store"),
        "{head}"
    );
    let big = fs::read(root.join("objects/ab/big.filez")).unwrap();
    let mut wanted = Vec::new();
    for object in [
        Some(&b"0123"[..]),
        None,
        Some(b""),
        Some(&big),
        None,
        None,
        Some(b"0123"),
    ] {
        let length = object.map_or(u64::MAX, |bytes| bytes.len() as u64);
        wanted.extend(length.to_be_bytes());
        wanted.extend(object.unwrap_or_default());
    }
    assert!(
        body == wanted,
        "{} bytes, {} wanted",
        body.len(),
        wanted.len()
    );
    let too_many = vec!["ab/small"; 65].join(",");
    for bad in [
        "",
        "ab",
        &too_many,
        "../config",
        "ab/%2e%2e",
        ",",
        "/etc/passwd",
        "ab/",
    ] {
        let (head, body) = get(bad);
        let status = head.split(' ').nth(1).unwrap();
        let nothing = status == "200" && body == u64::MAX.to_be_bytes();
        assert!(
            (status == "400" && body.is_empty()) || nothing,
            "{bad}: {head}"
        );
    }
}

#[test]
fn one_object_an_answer_where_that_is_wanted() {
    let dir = repository();
    let limits = Limits {
        many: 1,
        ..Limits::default()
    };
    let server = Running::start(&dir.path().join("repo"), limits);
    let head = server.get("/objects/ab/big.filez", "").0;
    assert!(!head.contains("backstop-many"), "{head}");
    let head = server.get("/objects?of=ab/big.filez", "").0;
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[test]
fn nothing_else_is_shown() {
    let dir = repository();
    let server = Running::start(&dir.path().join("repo"), Limits::default());
    for path in [
        "/",
        "/tmp/secret",
        "/origin.trustedkeys.gpg",
        "/objects",
        "/objects/ab",
        "/objects/../tmp/secret",
        "/objects/%2e%2e/tmp/secret",
        "/refs/heads/out",
        "/objects/ab/absolute",
        "/objects/up/secret",
        "//etc/passwd",
        "/etc/passwd",
        "/objects/missing",
    ] {
        let (head, body) = server.get(path, "");
        let status = head.split(' ').nth(1).unwrap();
        assert!(matches!(status, "404" | "400"), "{path}: {head}");
        assert!(body.is_empty(), "{path}");
    }
    assert_eq!(server.get("/refs/heads/alias", "").1, b"abc\n");
    for method in ["PUT", "POST", "DELETE", "OPTIONS"] {
        let request = format!(
            "{method} /summary HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let (head, _) = split(&server.talk(request.as_bytes()));
        assert!(head.starts_with("HTTP/1.1 405"), "{method}: {head}");
    }
    let other = tempfile::tempdir().unwrap();
    let any = "127.0.0.1:0".parse().unwrap();
    assert!(Server::bind(other.path(), any, Limits::default()).is_err());
}

#[test]
fn connections_are_kept_and_pipelined() {
    let dir = repository();
    let server = Running::start(&dir.path().join("repo"), Limits::default());
    let one = "GET /summary HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /summary HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = server.talk(format!("{}{last}", one.repeat(20)).as_bytes());
    let text = String::from_utf8_lossy(&answer);
    assert_eq!(text.matches("0123456789").count(), 21);
}

#[test]
fn hundreds_of_clients_at_once() {
    let dir = repository();
    let server = Running::start(&dir.path().join("repo"), Limits::default());
    let mut streams: Vec<_> = (0..300).map(|_| server.connect()).collect();
    let request = b"GET /objects/ab/big.filez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    for stream in &mut streams {
        stream.write_all(request).unwrap();
    }
    // All have been asked before the first is read.
    for stream in &mut streams {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(split(&answer).1.len(), 3_000_000);
    }
}

#[test]
fn who_does_nothing_is_let_go() {
    let dir = repository();
    let limits = Limits {
        connections: 4,
        idle: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = Running::start(&dir.path().join("repo"), limits);
    // They fill all places: saying nothing, saying little, and not listening.
    let mut idle: Vec<_> = (0..4).map(|_| server.connect()).collect();
    idle[1].write_all(b"GET /summ").unwrap();
    let big = b"GET /objects/ab/big.filez HTTP/1.1\r\nHost: x\r\n\r\n";
    idle[2].write_all(&big.repeat(50)).unwrap();
    let start = Instant::now();
    assert_eq!(server.get("/summary", "").1, b"0123456789");
    assert!(start.elapsed() < Duration::from_secs(30));
    let mut rest = Vec::new();
    assert_eq!(idle[0].read_to_end(&mut rest).unwrap_or(0), 0);
}

#[test]
fn nonsense() {
    let dir = repository();
    let limits = Limits {
        idle: Duration::from_millis(500),
        ..Limits::default()
    };
    let server = Running::start(&dir.path().join("repo"), limits);
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(100_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(50_000));
    let cases: [&[u8]; 6] = [
        b"\r\n\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"GET /summary HTTP/1.1\r\nRange: bytes=99999999999999999999-\r\nHost: x\r\nConnection: close\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for case in cases {
        server.talk(case);
    }
    assert_eq!(server.get("/summary", "").1, b"0123456789");
}
