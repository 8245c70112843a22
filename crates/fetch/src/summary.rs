//! A remote's summary: judged, cached, and never an older one than before.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use monitor::Monitor;
use ostree::{FetchedSummary, MAX_SUMMARY, Repo, Summary, Trust, Verifier};

use crate::{Connection, Error, Result};

/// The longest signatures of a summary that are read.
const MAX_SIGNATURES: u64 = 16 << 20;

/// A summary that may be believed.
#[derive(Debug, Clone)]
pub struct RemoteSummary {
    /// What it says.
    pub summary: Summary,
    /// The file `summary`.
    pub bytes: Vec<u8>,
    /// The file `summary.sig`.
    pub signatures: Option<Vec<u8>>,
    /// How far it is believed.
    pub trust: Trust,
}

/// The files in which a repository remembers a remote's summary.
struct Memory<'a> {
    repo: &'a Repo,
    remote: &'a str,
    /// Where summaries are kept.
    dir: PathBuf,
}

impl Memory<'_> {
    fn cached(&self, suffix: &str) -> PathBuf {
        self.dir.join(format!("{}{suffix}", self.remote))
    }

    /// The time of the newest summary that was believed.
    fn seen_path(&self) -> PathBuf {
        let name = format!("state/summary-{}.seen", self.remote);
        self.repo.path().join(name)
    }

    fn seen(&self) -> Option<u64> {
        let text = durable::read_to_string(self.repo.fs(), &self.seen_path()).ok()?;
        text.trim_end().parse().ok()
    }

    fn remember(&self, time: u64) -> Result<()> {
        let path = self.seen_path();
        let text = format!("{time}\n");
        let written = durable::publish_file(self.repo.fs(), &path, text.as_bytes(), 0o644);
        Ok(written.map_err(ostree::Error::from)?)
    }

    /// What was fetched last, if the signatures are these.
    fn with_signatures(&self, signatures: &[u8]) -> Option<Vec<u8>> {
        let read = |suffix| {
            let path = self.cached(suffix);
            durable::read_bounded(self.repo.fs(), &path, MAX_SUMMARY).ok()
        };
        match read(".sig") {
            Some(known) if known == signatures => read(""),
            _ => None,
        }
    }

    /// Keeps it for the next time. A cache that cannot be written is no reason to
    /// fail.
    fn keep(&self, summary: &[u8], signatures: Option<&[u8]>) {
        let fs = self.repo.fs();
        let same = |suffix, want| {
            let known = durable::read_bounded(fs, &self.cached(suffix), MAX_SUMMARY).ok();
            known.as_deref() == want
        };
        if same("", Some(summary)) && same(".sig", signatures) {
            return;
        }
        let keep = || {
            durable::create_dir_all(fs, &self.dir, 0o755)?;
            let _ = fs.remove_file(&self.cached(".sig"));
            durable::publish_file(fs, &self.cached(""), summary, 0o644)?;
            match signatures {
                Some(bytes) => durable::publish_file(fs, &self.cached(".sig"), bytes, 0o644),
                None => Ok(()),
            }
        };
        let _ = keep();
    }
}

impl Connection {
    /// The remote's summary, if it has one. `repo` remembers it.
    ///
    /// # Errors
    /// The network's; it is refused, damaged, expired, or older than one seen
    /// before.
    pub fn summary(
        &self,
        repo: &Repo,
        verifier: &dyn Verifier,
        older: bool,
        monitor: &dyn Monitor,
    ) -> Result<Option<RemoteSummary>> {
        let name = self.remote().name();
        let memory = Memory {
            repo,
            remote: name,
            dir: match &self.net.summaries {
                Some(dir) => dir.clone(),
                None => repo.path().join("tmp/cache/summaries"),
            },
        };
        let Some(found) = self.consistent(&memory, verifier)? else {
            return Ok(None);
        };
        let damaged = |source| Error::DamagedSummary {
            remote: name.to_owned(),
            source,
        };
        let summary = Summary::decode(&found.bytes).map_err(damaged)?;
        let found = RemoteSummary { summary, ..found };
        if let Some(error) = stale(&found, name, memory.seen()) {
            // Whoever can write an unsigned one can date it as well.
            if found.trust == Trust::Signed && !older {
                return Err(error);
            }
            monitor.note(&error.to_string());
        }
        match found.summary.last_modified() {
            Some(time) if memory.seen().is_none_or(|seen| seen < time || older) => {
                memory.remember(time)?;
            }
            _ => {}
        }
        memory.keep(&found.bytes, found.signatures.as_deref());
        Ok(Some(found))
    }

    /// Summary and signatures that belong together. Between the two fetches they may
    /// have been replaced: then once more.
    fn consistent(
        &self,
        memory: &Memory<'_>,
        verifier: &dyn Verifier,
    ) -> Result<Option<RemoteSummary>> {
        let mut again = true;
        loop {
            let signatures = self.get("summary.sig", MAX_SIGNATURES)?;
            let cached = signatures
                .as_deref()
                .filter(|_| again && self.vouched.is_none());
            let cached = cached.and_then(|s| memory.with_signatures(s));
            let from_cache = cached.is_some();
            let bytes = match cached.or_else(|| self.vouched.clone()) {
                Some(bytes) => Some(bytes),
                None => self.get("summary", MAX_SUMMARY)?,
            };
            let Some(bytes) = bytes else {
                return Ok(None);
            };
            let judged = verifier.verify_summary(&FetchedSummary {
                bytes: &bytes,
                signatures: signatures.as_deref(),
            });
            match judged {
                Ok(trust) => {
                    return Ok(Some(RemoteSummary {
                        summary: Summary::default(),
                        bytes,
                        signatures,
                        trust,
                    }));
                }
                // The test suite of `ostree` wants to see it.
                Err(_) if again && from_cache && wants_failure() => {
                    let why = "OSTREE_REPO_TEST_ERROR_INVALID_CACHE specified";
                    return Err(ostree::Error::Wanted(why).into());
                }
                Err(_) if again && signatures.is_some() => again = false,
                Err(source) => {
                    let what = format!("the summary of the remote {}", memory.remote);
                    return Err(ostree::Error::Refused { what, source }.into());
                }
            }
        }
    }
}

/// Whether a summary in the cache that is refused is to be told, not mended.
fn wants_failure() -> bool {
    std::env::var_os("OSTREE_REPO_TEST_ERROR").is_some_and(|v| v == "invalid-cache")
}

/// Why a summary is too old to be believed.
fn stale(found: &RemoteSummary, remote: &str, seen: Option<u64>) -> Option<Error> {
    let remote = remote.to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    if let (Some(time), Some(seen)) = (found.summary.last_modified(), seen)
        && time < seen
    {
        return Some(Error::OlderSummary {
            remote,
            found: time,
            seen,
        });
    }
    match found.summary.expires() {
        Some(expires) if expires < now => Some(Error::ExpiredSummary {
            remote,
            ago: now - expires,
        }),
        _ => None,
    }
}
