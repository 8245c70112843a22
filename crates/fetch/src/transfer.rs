//! One file, however many attempts and mirrors that takes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use reqwest::Client;

use crate::address::Base;
use crate::attempt::{Failure, Outcome, Peer, Sink, attempt};
use crate::error::Trouble;
use crate::{Error, NetOptions, Result};

/// However little each of them brings, no file is asked for more often.
const MAX_TRIES: u32 = 10_000;

/// The addresses under which the same files are, and the one that did best.
#[derive(Debug)]
pub(crate) struct Mirrors {
    bases: Vec<Base>,
    preferred: AtomicUsize,
}

impl Mirrors {
    pub(crate) fn new(bases: Vec<Base>) -> Self {
        Self {
            bases,
            preferred: AtomicUsize::new(0),
        }
    }

    fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    fn prefer(&self, at: usize) {
        self.preferred
            .store(at % self.bases.len(), Ordering::Relaxed);
    }

    /// The one that did best.
    pub(crate) fn best(&self) -> &Base {
        self.get(self.preferred())
    }

    fn get(&self, at: usize) -> &Base {
        &self.bases[at % self.bases.len()]
    }
}

/// How long to wait before the next try: longer each time, and not as long as
/// everybody else.
fn backoff(tries: u32) -> Duration {
    let most = Duration::from_millis(100 << tries.min(6));
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let dice = clock.unwrap_or_default().subsec_nanos() % 1000;
    most / 2 + most * dice / 2000
}

/// What is kept of a transfer from try to try.
struct Tries {
    /// The mirror.
    at: usize,
    /// All of them.
    all: u32,
    /// Those since the last that brought something.
    idle: u32,
    /// Mirrors that do not have it.
    absent: usize,
    /// Mirrors that had something else.
    wrong: usize,
    /// Mirrors that refused.
    denied: usize,
}

/// Fetches a file into a sink; answers from what kind of server it came.
///
/// # Errors
/// What failed for good.
pub(crate) async fn transfer(
    client: &Client,
    mirrors: &Mirrors,
    path: &str,
    sink: &mut dyn Sink,
    net: &NetOptions,
) -> Result<(Outcome, Peer)> {
    let mut tries = Tries {
        at: mirrors.preferred(),
        all: 0,
        idle: 0,
        absent: 0,
        wrong: 0,
        denied: 0,
    };
    loop {
        let url = mirrors.get(tries.at).join(path);
        let before = sink.arrived();
        tries.all += 1;
        let result = attempt(client, &url, sink, net, tries.wrong > 0).await;
        let result = match result {
            Ok((Outcome::Complete, peer)) => sink.finish().map(|()| (Outcome::Complete, peer)),
            other => other,
        };
        let failure = match result {
            Ok((Outcome::Complete, peer)) => {
                mirrors.prefer(tries.at);
                return Ok((Outcome::Complete, peer));
            }
            Ok(absent) => {
                tries.absent += 1;
                if tries.absent >= mirrors.bases.len() {
                    return Ok(absent);
                }
                tries.at += 1;
                continue;
            }
            Err(failure) => failure,
        };
        let progress = sink.arrived() > before;
        let pause = tries.next(failure, progress, mirrors, url.as_str(), sink, net)?;
        tokio::time::sleep(pause).await;
    }
}

impl Tries {
    /// Decides what comes after a failure: how long to wait for the next try.
    fn next(
        &mut self,
        failure: Failure,
        progress: bool,
        mirrors: &Mirrors,
        url: &str,
        sink: &mut dyn Sink,
        net: &NetOptions,
    ) -> Result<Duration> {
        let url = url.to_owned();
        match failure {
            Failure::Sink(source) if is_wrong(&source) => {
                self.wrong += 1;
                // A single server gets a second chance: a cache may be to blame.
                if self.wrong > mirrors.bases.len() {
                    return Err(Error::Wrong { url, source });
                }
                sink.restart();
                self.at += 1;
                Ok(Duration::ZERO)
            }
            Failure::Sink(source) => Err(source.into()),
            Failure::Never(source) => {
                self.denied += 1;
                if self.denied >= mirrors.bases.len() {
                    return Err(Error::Denied { url, source });
                }
                sink.restart();
                self.at += 1;
                Ok(Duration::ZERO)
            }
            Failure::Again(source, wait) => {
                self.idle = if progress { 0 } else { self.idle + 1 };
                if self.idle > net.retries || self.all >= MAX_TRIES {
                    let tries = self.all;
                    return Err(Error::Network { url, tries, source });
                }
                self.at += 1;
                match progress {
                    true => Ok(wait),
                    false => Ok(wait.max(backoff(self.idle))),
                }
            }
        }
    }
}

/// Whether it is the bytes that are to blame.
pub(crate) fn is_wrong(error: &ostree::Error) -> bool {
    error.is_damage() || matches!(error, ostree::Error::DamagedDetached { .. })
}

/// A small file, in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) bytes: Vec<u8>,
    limit: u64,
}

impl Memory {
    /// For at most `limit` bytes.
    pub(crate) fn new(limit: u64) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
        }
    }
}

impl Sink for Memory {
    fn arrived(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn expect(&mut self, _: u64) {}

    fn write(&mut self, piece: &[u8]) -> std::result::Result<(), Failure> {
        if (self.bytes.len() + piece.len()) as u64 > self.limit {
            return Err(Failure::Never(Trouble::TooMuch(self.limit)));
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn finish(&mut self) -> std::result::Result<(), Failure> {
        Ok(())
    }

    fn restart(&mut self) {
        self.bytes.clear();
    }
}
