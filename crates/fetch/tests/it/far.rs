//! A server that does what a test tells it to: serve files, lie, stall, cut.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What to do about one request.
pub enum Act {
    /// Send the file, or 404.
    Serve,
    /// The same, with one more line in the head of the answer.
    ServeWith(&'static str),
    /// Send the file without heeding ranges.
    NoRanges,
    /// Answer with this status and nothing more.
    Status(u16),
    /// Send these bytes as the file.
    Bytes(Vec<u8>),
    /// Send so many bytes of what was asked for, then close.
    CutAfter(usize),
    /// Say that the file is so much longer than it is.
    Longer(u64),
    /// Send this byte for ever.
    Endless(u8),
    /// Send these bytes, then nothing for ever.
    Stall(Vec<u8>),
    /// Send these bytes instead of an answer, then close.
    Raw(Vec<u8>),
    /// Close without an answer.
    Close,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The target: a path, or an address for a proxy.
    pub target: String,
    /// All headers, in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

type Rule = dyn Fn(&Asked, usize) -> Act + Send + Sync;

struct Shared {
    root: PathBuf,
    rule: Box<Rule>,
    stop: AtomicBool,
    count: AtomicUsize,
    asked: Mutex<Vec<Asked>>,
    open: Mutex<Vec<TcpStream>>,
}

/// A running server; it ends with this.
pub struct Far {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

impl Far {
    /// Serves files below `root` as the rule says; it is called with each request and
    /// its number.
    pub fn start(root: &Path, rule: impl Fn(&Asked, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            rule: Box::new(rule),
            stop: AtomicBool::new(false),
            count: AtomicUsize::new(0),
            asked: Mutex::default(),
            open: Mutex::default(),
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let _ = stream.set_nodelay(true);
                    shared
                        .open
                        .lock()
                        .unwrap()
                        .push(stream.try_clone().unwrap());
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || {
                        let _ = shared.connection(stream);
                    });
                }
            })
        };
        Self {
            port,
            shared,
            accepting: Some(accepting),
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// How many of the requests were for something that this is in the path of.
    pub fn count(&self, part: &str) -> usize {
        let asked = self.asked();
        asked.iter().filter(|a| a.target.contains(part)).count()
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for stream in self.shared.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(asked) = read_request(&mut reader)? {
            let n = self.count.fetch_add(1, Ordering::SeqCst);
            self.asked.lock().unwrap().push(asked.clone());
            let act = (self.rule)(&asked, n);
            if !self.act(act, &asked, &mut stream)? {
                return stream.shutdown(Shutdown::Both);
            }
        }
        Ok(())
    }

    fn file(&self, asked: &Asked) -> Option<Vec<u8>> {
        let path = asked.target.split('?').next().unwrap();
        // For a proxy, the target is a whole address.
        let path = path
            .strip_prefix("http://")
            .map_or(path, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
        let mut bytes = Vec::new();
        let mut file = std::fs::File::open(self.root.join(&path[1..])).ok()?;
        file.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Answers; `false` when the connection is to be closed.
    fn act(&self, act: Act, asked: &Asked, stream: &mut TcpStream) -> std::io::Result<bool> {
        let ranged = !matches!(act, Act::NoRanges);
        match act {
            Act::Serve | Act::NoRanges => {
                match self.file(asked) {
                    Some(bytes) => send(stream, asked, &bytes, bytes.len() as u64, ranged)?,
                    None => status(stream, 404)?,
                }
                Ok(true)
            }
            Act::ServeWith(line) => {
                match self.file(asked) {
                    Some(bytes) => {
                        let len = bytes.len();
                        let head =
                            format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: {len}\r\n\r\n");
                        stream.write_all(&[head.as_bytes(), &bytes].concat())?;
                    }
                    None => status(stream, 404)?,
                }
                Ok(true)
            }
            Act::Status(code) => status(stream, code).map(|()| true),
            Act::Bytes(bytes) => {
                send(stream, asked, &bytes, bytes.len() as u64, false).map(|()| true)
            }
            Act::CutAfter(k) => {
                let Some(bytes) = self.file(asked) else {
                    return status(stream, 404).map(|()| true);
                };
                let from = range_start(asked).min(bytes.len());
                let end = (from + k).min(bytes.len());
                send(stream, asked, &bytes[..end], bytes.len() as u64, true)?;
                Ok(end == bytes.len())
            }
            Act::Longer(by) => {
                let bytes = self.file(asked).unwrap_or_default();
                send(stream, asked, &bytes, bytes.len() as u64 + by, false)?;
                Ok(false)
            }
            Act::Endless(byte) => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let mut chunk = b"10000\r\n".to_vec();
                chunk.extend(std::iter::repeat_n(byte, 0x10000));
                chunk.extend(b"\r\n");
                while !self.stop.load(Ordering::SeqCst) {
                    stream.write_all(&chunk)?;
                }
                Ok(false)
            }
            Act::Stall(bytes) => {
                stream.write_all(&bytes)?;
                while !self.stop.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Ok(false)
            }
            Act::Raw(bytes) => stream.write_all(&bytes).map(|()| false),
            Act::Close => Ok(false),
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Some(Asked { target, headers }));
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
}

fn range_start(asked: &Asked) -> usize {
    let range = asked.header("range").unwrap_or_default();
    let start = range
        .strip_prefix("bytes=")
        .and_then(|r| r.split('-').next());
    start.and_then(|s| s.parse().ok()).unwrap_or(0)
}

fn status(stream: &mut TcpStream, code: u16) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {code} Because\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Sends what is there of a body that is said to be `len` bytes long.
fn send(
    stream: &mut TcpStream,
    asked: &Asked,
    bytes: &[u8],
    len: u64,
    ranged: bool,
) -> std::io::Result<()> {
    let from = if ranged { range_start(asked) } else { 0 };
    let rest = bytes.get(from..).unwrap_or_default();
    let left = len - from as u64;
    let mut head = match from {
        0 => String::from("HTTP/1.1 200 OK\r\n"),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{len}\r\n",
            len - 1
        ),
    };
    head.push_str(&format!("Content-Length: {left}\r\n\r\n"));
    stream.write_all(&[head.as_bytes(), rest].concat())
}
