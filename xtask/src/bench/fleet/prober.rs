//! Asking a service from outside, again and again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The pause between two questions.
const EVERY: Duration = Duration::from_millis(5);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_millis(100);
/// What is asked.
const QUESTION: &[u8] = b"GET /version HTTP/1.0\r\n\r\n";

/// When a question was asked, and whether it was answered.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    answered: bool,
}

/// Asks until it is told to stop.
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Vec<Asked>>>,
}

impl Prober {
    /// Begins, in a network namespace.
    pub fn start(network: &Path, service: SocketAddr) -> anyhow::Result<Self> {
        let file = std::fs::File::open(network)
            .with_context(|| format!("cannot open {}", network.display()))?;
        let (stop, answers) = (Arc::default(), Arc::default());
        let (told, now): (Arc<AtomicBool>, Arc<AtomicBool>) =
            (Arc::clone(&stop), Arc::clone(&answers));
        let thread = std::thread::spawn(move || {
            // Only this thread moves.
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .context("cannot enter the operator's network")?;
            let mut all = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let at = Instant::now();
                let answered = ask(service).is_ok_and(|answer| is_good(&answer));
                now.store(answered, Ordering::Relaxed);
                all.push(Asked { at, answered });
                std::thread::sleep(EVERY);
            }
            Ok(all)
        });
        Ok(Self {
            stop,
            answers,
            thread,
        })
    }

    /// Waits until the service answers, for so long at most; whether it does.
    pub fn wait(&self, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        while !self.answers.load(Ordering::Relaxed) {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(EVERY);
        }
        true
    }

    /// Ends; for how long there was no answer, all in all.
    pub fn stop(self) -> anyhow::Result<Duration> {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.thread.join();
        let asked = asked.map_err(|_| anyhow!("the prober broke down"))??;
        ensure!(asked.iter().any(|a| a.answered), "it never answered");
        Ok(unanswered(&asked))
    }
}

fn ask(service: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&service, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(QUESTION)?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(answer)
}

fn is_good(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer);
    let status = text.split_whitespace().nth(1);
    status == Some("200") && text.contains("\r\n\r\n")
}

/// Each outage lasts from the last answer before it to the first one after it.
fn unanswered(asked: &[Asked]) -> Duration {
    let mut total = Duration::ZERO;
    let mut last = asked.first().map(|a| a.at);
    let mut out = false;
    for one in asked {
        if one.answered {
            if let (true, Some(last)) = (out, last) {
                total += one.at - last;
            }
            last = Some(one.at);
        }
        out = !one.answered;
    }
    if let (true, Some(last), Some(end)) = (out, last, asked.last()) {
        total += end.at - last;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_are_added_up() {
        let start = Instant::now();
        let total = |answers: &str| {
            let asked: Vec<_> = answers
                .bytes()
                .zip(0..)
                .map(|(letter, n)| Asked {
                    at: start + Duration::from_secs(n),
                    answered: letter == b'+',
                })
                .collect();
            unanswered(&asked).as_secs()
        };
        assert_eq!(total("+++++"), 0);
        assert_eq!(total("+-+++"), 2);
        assert_eq!(total("+--++-+"), 3 + 2);
        assert_eq!(total("++---"), 3);
        assert_eq!(total(""), 0);
    }

    #[test]
    fn only_a_page_is_an_answer() {
        assert!(is_good(b"HTTP/1.0 200 OK\r\nX: y\r\n\r\n2\n"));
        assert!(!is_good(b"HTTP/1.0 404 Not Found\r\n\r\n"));
        assert!(!is_good(b"HTTP/1.0 200 OK\r\n"));
        assert!(!is_good(b""));
    }

    #[test]
    fn a_server_is_asked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let service = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = vec![0; QUESTION.len()];
            stream.read_exact(&mut question).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n1\n").unwrap();
            assert_eq!(question, QUESTION);
        });
        assert!(is_good(&ask(service).unwrap()));
        server.join().unwrap();
        assert!(ask(service).is_err(), "nobody listens any more");
    }
}
