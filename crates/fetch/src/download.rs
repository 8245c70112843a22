//! A session's requests, many at once.
//!
//! Each of a few threads has a runtime, a client and connections of its own, and
//! does with what arrives what is to be done (inflate, hash, write) right where it
//! arrives: so nothing is handed from thread to thread, and whoever cannot keep up
//! reads no more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ostree::session::{Next, PullSession, Receiver, Request, Scratch};
use reqwest::{Client, Version};
use tokio::sync::Notify;

use crate::attempt::{Failure, Outcome, Sink};
use crate::connection::{Connection, Place, runtime};
use crate::many::Many;
use crate::transfer::{Mirrors, is_wrong, transfer};
use crate::{NetOptions, Result, near};

/// Threads that download.
const THREADS: usize = 4;
/// Requests under way at once, where each needs a connection.
const IN_FLIGHT: usize = 16;
/// How many times more where they share one.
const SHARED: usize = 4;
/// The same of requests for many objects: one is read while the next ones come.
const BATCHES: usize = 4;

/// What the threads share.
struct Shared<'a, 'r> {
    session: &'a PullSession<'r>,
    connection: &'a Connection,
    metadata: &'a Mirrors,
    content: &'a Mirrors,
    stop: AtomicBool,
    changed: Notify,
    error: Mutex<Option<crate::Error>>,
}

/// Brings all that a session wants.
pub(crate) fn download(session: &PullSession<'_>, connection: &Connection) -> Result<()> {
    let (metadata, content) = match &connection.place {
        Place::Near(root) => return near::download(session, root),
        Place::Far { metadata, content } => (metadata, content),
    };
    let shared = Shared {
        session,
        connection,
        metadata,
        content,
        stop: AtomicBool::new(false),
        changed: Notify::new(),
        error: Mutex::new(None),
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get().min(THREADS));
    let in_flight = connection.net.in_flight.unwrap_or(IN_FLIGHT).max(1);
    let threads = cores.min(in_flight);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| shared.run(in_flight.div_ceil(threads)));
        }
    });
    let error = shared.error.into_inner();
    match error.unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

impl Shared<'_, '_> {
    /// A thread's work.
    fn run(&self, in_flight: usize) {
        if let Err(e) = self.work(in_flight) {
            let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
            error.get_or_insert(e);
            self.stop.store(true, Ordering::Relaxed);
        }
        self.changed.notify_waiters();
    }

    fn work(&self, in_flight: usize) -> Result<()> {
        let runtime = runtime(self.connection.remote().name())?;
        let lane = Lane {
            session: self.session,
            client: self.connection.settings.build()?,
            metadata: self.metadata,
            content: self.content,
            net: &self.connection.net,
            scratch: RefCell::new(Scratch::new()),
            shares: Cell::new(None),
            many: Cell::new(None),
        };
        runtime.block_on(self.pump(&lane, in_flight))
    }

    /// Keeps requests under way until all is done or something failed.
    async fn pump(&self, lane: &Lane<'_, '_>, in_flight: usize) -> Result<()> {
        let mut under_way = FuturesUnordered::new();
        let fixed = lane.net.in_flight.is_some();
        loop {
            // Made before the look at the queue, so that no change is missed.
            let changed = self.changed.notified();
            let most = match lane.shares.get() {
                // Each would open a connection, and all but one be for nothing.
                None => 1,
                Some(_) if lane.together() > 1 => in_flight.min(BATCHES),
                Some(true) if !fixed => in_flight * SHARED,
                Some(_) => in_flight,
            };
            let mut again = false;
            while under_way.len() < most && !again {
                if self.stop.load(Ordering::Relaxed) {
                    return Ok(());
                }
                match lane.next()? {
                    (requests, _) if !requests.is_empty() => under_way.push(lane.fetch(requests)),
                    (_, Next::Done) => {
                        self.changed.notify_waiters();
                        return Ok(());
                    }
                    (_, Next::Wait) => break,
                    _ => again = true,
                }
            }
            tokio::select! {
                biased;
                Some(done) = under_way.next() => {
                    done?;
                    if self.session.has_work() {
                        self.changed.notify_waiters();
                    }
                }
                () = std::future::ready(()), if again => tokio::task::yield_now().await,
                () = changed => {}
            }
        }
    }
}

/// What a thread downloads with.
struct Lane<'a, 'r> {
    session: &'a PullSession<'r>,
    client: Client,
    metadata: &'a Mirrors,
    content: &'a Mirrors,
    net: &'a NetOptions,
    scratch: RefCell<Scratch>,
    /// Whether requests share a connection, once the first answer told.
    shares: Cell<Option<bool>>,
    /// How many objects come in one answer, once the first one told.
    many: Cell<Option<usize>>,
}

impl<'a, 'r> Lane<'a, 'r> {
    /// How many objects are asked for together.
    fn together(&self) -> usize {
        self.many.get().unwrap_or(1)
    }

    /// The requests that go together next, and what there is after them.
    fn next(&self) -> Result<(Vec<Request>, Next)> {
        let mut requests = Vec::new();
        loop {
            let next = self.session.next(&mut self.scratch.borrow_mut())?;
            match next {
                Next::Fetch(request) => requests.push(request),
                other => return Ok((requests, other)),
            }
            if requests.len() >= self.together() {
                return Ok((requests, Next::Again));
            }
        }
    }

    async fn fetch(&self, requests: Vec<Request>) -> Result<()> {
        let (content, metadata): (Vec<_>, _) = requests.into_iter().partition(Request::is_content);
        let mut left: VecDeque<_> = content.into_iter().map(|r| self.arriving(r)).collect();
        if left.len() > 1 {
            self.fetch_many(&mut left).await?;
        }
        left.extend(metadata.into_iter().map(|r| self.arriving(r)));
        for sink in left {
            self.fetch_alone(sink).await?;
        }
        Ok(())
    }

    fn arriving(&self, request: Request) -> Arriving<'_, 'a, 'r> {
        Arriving {
            session: self.session,
            scratch: &self.scratch,
            receiver: Some(self.session.receive(request.clone())),
            request,
        }
    }

    /// Fetches what comes in one answer; the rest stays, with what has arrived of it.
    async fn fetch_many(&self, left: &mut VecDeque<Arriving<'_, 'a, 'r>>) -> Result<()> {
        let paths: Vec<String> = left.iter().map(|sink| sink.request.path()).collect();
        let Some(url) = self.content.best().many(&paths) else {
            self.many.set(Some(1));
            return Ok(());
        };
        let Ok(mut many) = Many::ask(&self.client, &url, self.net).await else {
            self.many.set(Some(1));
            return Ok(());
        };
        let mut absent = Vec::new();
        while let Some(mut sink) = left.pop_front() {
            match many.next(&mut sink).await {
                Ok(Outcome::Complete) => {}
                Ok(Outcome::Absent) => absent.push(sink),
                Err(Failure::Sink(e)) if !is_wrong(&e) => return Err(e.into()),
                Err(failure) => {
                    self.many.set(Some(1));
                    if matches!(failure, Failure::Sink(_)) {
                        sink.restart();
                    }
                    left.push_front(sink);
                    break;
                }
            }
        }
        left.extend(absent);
        Ok(())
    }

    async fn fetch_alone(&self, mut sink: Arriving<'_, 'a, 'r>) -> Result<()> {
        let path = sink.request.path();
        let from = match sink.request.is_content() {
            true => self.content,
            false => self.metadata,
        };
        let (outcome, peer) = transfer(&self.client, from, &path, &mut sink, self.net).await?;
        self.shares.set(Some(peer.version == Version::HTTP_2));
        if self.many.get().is_none() && sink.request.is_content() {
            self.many.set(Some(peer.many));
        }
        if outcome == Outcome::Absent {
            self.session.absent(&sink.request)?;
        }
        Ok(())
    }
}

/// A request's bytes, on their way into the session.
struct Arriving<'l, 'a, 'r> {
    session: &'a PullSession<'r>,
    scratch: &'l RefCell<Scratch>,
    receiver: Option<Receiver<'a, 'r>>,
    request: Request,
}

impl Sink for Arriving<'_, '_, '_> {
    fn arrived(&self) -> u64 {
        self.receiver.as_ref().map_or(0, Receiver::arrived)
    }

    fn expect(&mut self, len: u64) {
        if let Some(receiver) = &mut self.receiver {
            receiver.expect(len, &mut self.scratch.borrow_mut());
        }
    }

    fn write(&mut self, piece: &[u8]) -> std::result::Result<(), Failure> {
        match &mut self.receiver {
            Some(receiver) => receiver.write(piece).map_err(Failure::Sink),
            None => Ok(()),
        }
    }

    fn finish(&mut self) -> std::result::Result<(), Failure> {
        match self.receiver.take() {
            Some(receiver) => receiver
                .finish(&mut self.scratch.borrow_mut())
                .map_err(Failure::Sink),
            None => Ok(()),
        }
    }

    fn restart(&mut self) {
        // First the old one: it removes what it wrote.
        self.receiver = None;
        self.receiver = Some(self.session.receive(self.request.clone()));
    }
}
