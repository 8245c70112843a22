//! The service that the demonstration's host runs: it answers HTTP requests with
//! what its deployment says.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A request line longer than this is no request of ours.
const LONGEST_REQUEST: u64 = 4096;
/// A page longer than this is cut.
const LONGEST_PAGE: u64 = 64 * 1024;

/// Where the page that the service answers with is, inside a tree. Its first
/// line is the HTTP status.
pub const PAGE: &str = "usr/share/shop/page";
/// Where the host's own greeting is: local configuration, kept over upgrades.
pub const GREETING: &str = "etc/shop/greeting";

/// A failure to serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken, or may not be used.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The deployment lacks the page.
    #[error("cannot read the page {}", path.display())]
    Page {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Serves the page of the deployment at `root` until killed.
///
/// # Errors
/// The page can't be read or the port can't be had.
pub fn serve(root: &Path, port: u16) -> Result<(), Error> {
    let page = read(&root.join(PAGE))?;
    let greeting = read(&root.join(GREETING)).unwrap_or_default();
    let (status, body) = page.split_once('\n').unwrap_or((&page, ""));
    let body = format!("{body}{greeting}");
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|source| Error::Listen { port, source })?;
    for stream in listener.incoming().flatten() {
        // A client that goes away early is its own affair.
        let _ = answer_one(stream, &answer);
    }
    Ok(())
}

fn answer_one(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut lines = BufReader::new((&stream).take(LONGEST_REQUEST)).lines();
    while lines
        .next()
        .transpose()?
        .is_some_and(|line| !line.is_empty())
    {}
    stream.write_all(answer.as_bytes())
}

fn read(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LONGEST_PAGE).read_to_string(&mut text))
        .map_err(|source| Error::Page {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

/// A port that is free now.
///
/// # Errors
/// No port can be had.
pub fn free_port() -> Result<u16, Error> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| Error::Listen { port: 0, source })
}
