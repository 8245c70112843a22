//! One response, read with a bound on patience.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::header::{CACHE_CONTROL, CONTENT_RANGE, COOKIE, RANGE, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url, Version};

use crate::NetOptions;
use crate::error::{Trouble, chain};
use crate::many;

/// The longest that a server may make us wait before we ask again.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All of it arrived.
    Complete,
    /// The server does not have it.
    Absent,
}

/// What a response tells of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The version of HTTP that it speaks.
    pub(crate) version: Version,
    /// How many objects it sends in one answer.
    pub(crate) many: usize,
}

impl Peer {
    fn of(response: &Response) -> Self {
        Self {
            version: response.version(),
            many: many::offered(response.headers()),
        }
    }
}

/// Why an attempt came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another one may go better, after so much time.
    Again(Trouble, Duration),
    /// Another one would go the same.
    Never(Trouble),
    /// What arrived does not do, or could not be stored.
    Sink(ostree::Error),
}

/// What takes in the bytes of a file.
pub(crate) trait Sink {
    /// How many there are already.
    fn arrived(&self) -> u64;
    /// So many are to come.
    fn expect(&mut self, len: u64);
    /// Takes in the next ones.
    fn write(&mut self, piece: &[u8]) -> Result<(), Failure>;
    /// All are there.
    fn finish(&mut self) -> Result<(), Failure>;
    /// They were wrong: begins anew.
    fn restart(&mut self);
}

/// Notices when next to nothing comes.
pub(crate) struct Pace {
    rate: u64,
    period: Duration,
    since: Instant,
    bytes: u64,
}

impl Pace {
    pub(crate) fn new(net: &NetOptions) -> Self {
        Self {
            rate: net.low_speed,
            period: net.patience,
            since: Instant::now(),
            bytes: 0,
        }
    }

    fn stalled(&self) -> Failure {
        let trouble = Trouble::Stalled {
            rate: self.rate,
            seconds: self.period.as_secs(),
        };
        Failure::Again(trouble, Duration::ZERO)
    }

    /// Waits for something, but not for ever.
    pub(crate) async fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, Failure> {
        let waited = tokio::time::timeout(self.period, what).await;
        waited.map_err(|_| self.stalled())
    }

    /// So many bytes came.
    pub(crate) fn count(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes as u64;
        let passed = self.since.elapsed();
        if passed < self.period {
            return Ok(());
        }
        if self.bytes < self.rate.saturating_mul(passed.as_secs()) {
            return Err(self.stalled());
        }
        (self.since, self.bytes) = (Instant::now(), 0);
        Ok(())
    }
}

/// A connection that does not do.
pub(crate) fn broken(error: reqwest::Error) -> Failure {
    let trouble = Trouble::Connection(chain(&error.without_url()));
    Failure::Again(trouble, Duration::ZERO)
}

/// Asks once for what the sink lacks. `fresh`: no cache on the way may answer.
pub(crate) async fn attempt(
    client: &Client,
    url: &Url,
    sink: &mut dyn Sink,
    net: &NetOptions,
    fresh: bool,
) -> Result<(Outcome, Peer), Failure> {
    let from = sink.arrived();
    let mut request = prepared(client, url, net);
    if from > 0 {
        request = request.header(RANGE, format!("bytes={from}-"));
    }
    if fresh {
        request = request.header(CACHE_CONTROL, "no-cache");
    }
    let mut pace = Pace::new(net);
    let mut response = pace.wait(request.send()).await?.map_err(broken)?;
    let peer = Peer::of(&response);
    let Some(mut skip) = start(&response, from)? else {
        return Ok((Outcome::Absent, peer));
    };
    if let Some(len) = response.content_length() {
        sink.expect(len.saturating_sub(skip));
    }
    while let Some(piece) = pace.wait(response.chunk()).await?.map_err(broken)? {
        pace.count(piece.len())?;
        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip -= known as u64;
        if known < piece.len() {
            sink.write(&piece[known..])?;
        }
    }
    match skip {
        0 => Ok((Outcome::Complete, peer)),
        // The whole file is shorter than the part of it that we have.
        _ => Err(Failure::Never(Trouble::OtherPart)),
    }
}

/// A request, with the cookies that are for its address.
pub(crate) fn prepared(client: &Client, url: &Url, net: &NetOptions) -> RequestBuilder {
    let request = client.get(url.clone());
    match cookies(url, net) {
        Some(cookies) => request.header(COOKIE, cookies),
        None => request,
    }
}

/// The cookies that are for an address.
fn cookies(url: &Url, net: &NetOptions) -> Option<String> {
    let host = url.host_str()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let all = net.cookies.iter();
    let wanted = all.filter(|c| c.is_for(host, url.path(), url.scheme() == "https", now));
    let pairs: Vec<_> = wanted.map(|c| format!("{}={}", c.name, c.value)).collect();
    (!pairs.is_empty()).then(|| pairs.join("; "))
}

/// What a response's head means: how many bytes to leave out, or that there is
/// nothing.
fn start(response: &Response, from: u64) -> Result<Option<u64>, Failure> {
    let status = response.status();
    let wait = || {
        let after = response.headers().get(RETRY_AFTER)?;
        let seconds = after.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds).min(MAX_WAIT))
    };
    match status {
        // The range was not heeded.
        StatusCode::OK => Ok(Some(from)),
        StatusCode::PARTIAL_CONTENT if begins_at(response, from) => Ok(Some(0)),
        StatusCode::PARTIAL_CONTENT => Err(Failure::Never(Trouble::OtherPart)),
        StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN => Ok(None),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            let trouble = Trouble::Status(status.as_u16());
            Err(Failure::Again(trouble, wait().unwrap_or_default()))
        }
        status if status.is_server_error() => {
            let trouble = Trouble::Status(status.as_u16());
            Err(Failure::Again(trouble, wait().unwrap_or_default()))
        }
        status => Err(Failure::Never(Trouble::Status(status.as_u16()))),
    }
}

/// Whether the part that was sent is the one that was asked for.
fn begins_at(response: &Response, from: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE);
    let range = range.and_then(|value| value.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")))
}
