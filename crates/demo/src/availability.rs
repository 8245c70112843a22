//! How long a machine's ssh does not answer, seen from outside.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is asked, and how long it may take to answer.
const EVERY: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(1);

/// Asks until told to finish.
#[derive(Debug)]
pub(crate) struct Availability {
    finish: Arc<AtomicBool>,
    thread: JoinHandle<Duration>,
}

impl Availability {
    /// Begins to watch the ssh that is forwarded to this port of 127.0.0.1.
    pub(crate) fn watch(port: u16) -> Self {
        let finish = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&finish);
        let thread = std::thread::spawn(move || {
            let mut down = Duration::ZERO;
            let mut last = Instant::now();
            while !stop.load(Ordering::Relaxed) {
                let answers = greets(port);
                let now = Instant::now();
                if !answers {
                    down += now - last;
                }
                last = now;
                std::thread::sleep(EVERY);
            }
            down
        });
        Self { finish, thread }
    }

    /// For how long it did not answer.
    pub(crate) fn finish(self) -> Duration {
        self.finish.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

/// Whether an ssh server sends its greeting.
fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let greeting = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting)?;
        Ok::<_, std::io::Error>(greeting == *b"SSH-")
    };
    greeting().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn only_a_greeting_counts() {
        for (said, counts) in [("SSH-2.0-x\r\n", true), ("HTTP", false), ("", false)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let server = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(said.as_bytes()).unwrap();
            });
            assert_eq!(greets(port), counts, "{said}");
            server.join().unwrap();
        }
    }
}
