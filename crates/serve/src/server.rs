//! Connections: how many, and for how long.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};

use crate::answer::answer;
use crate::many;
use crate::place::Root;

/// What keeps the server from serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// There is no repository.
    #[error("cannot serve {}: it is no repository, or cannot be read", path.display())]
    Root {
        /// Where it was looked for.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The address cannot be had.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Threads or sockets are lacking.
    #[error("cannot accept connections")]
    Accept(#[source] std::io::Error),
}

/// What clients may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many may be connected; the next ones wait.
    pub connections: usize,
    /// How many objects an answer may hold; more than 64 are none.
    pub many: usize,
    /// After so long without anything asked or taken a connection is closed.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            many: many::MOST,
            idle: Duration::from_secs(60),
        }
    }
}

/// When a connection was last used.
#[derive(Debug, Clone)]
pub(crate) struct Activity {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::new(AtomicU64::new(0)),
        }
    }

    /// It is used now.
    pub(crate) fn note(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// For how long it has not been used.
    fn idle(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }
}

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    root: Arc<Root>,
    listener: TcpListener,
    address: SocketAddr,
    limits: Limits,
    stop: Arc<Notify>,
}

/// Stops a server that runs in another thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// Stops it; what is being sent is cut off.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

impl Server {
    /// Listens for those who want the files of the repository at `path`; port 0 is any
    /// that is free.
    ///
    /// # Errors
    /// There is no repository, or the address is taken.
    pub fn bind(path: &Path, address: SocketAddr, limits: Limits) -> Result<Self, ServerError> {
        let root = Root::open(path).map_err(|source| ServerError::Root {
            path: path.to_owned(),
            source,
        })?;
        let failed = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            root: Arc::new(root),
            address: listener.local_addr().map_err(failed)?,
            listener,
            limits,
            stop: Arc::new(Notify::new()),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What stops it.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.stop))
    }

    /// Serves until it is stopped.
    ///
    /// # Errors
    /// No connection can be accepted at all.
    pub fn run(self) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Accept)?;
        let stop = Arc::clone(&self.stop);
        runtime.block_on(async {
            tokio::select! {
                result = self.accept() => result,
                () = stop.notified() => Ok(()),
            }
        })
    }

    async fn accept(self) -> Result<(), ServerError> {
        let listener = tokio::net::TcpListener::from_std(self.listener);
        let listener = listener.map_err(ServerError::Accept)?;
        let places = Arc::new(Semaphore::new(self.limits.connections));
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (root, limits) = (Arc::clone(&self.root), self.limits);
                    tokio::spawn(async move {
                        serve(root, stream, limits).await;
                        drop(place);
                    });
                }
                // The client is gone already, or descriptors are short for now.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Ok(())
    }
}

/// Serves one connection to its end.
async fn serve(root: Arc<Root>, stream: TcpStream, limits: Limits) {
    let _ = stream.set_nodelay(true);
    let activity = Activity::new();
    let service = {
        let activity = activity.clone();
        service_fn(move |request| {
            let response = answer(&root, &request, limits.many.min(many::MOST), &activity);
            async move { Ok::<_, Infallible>(response) }
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(16 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .max_header_list_size(16 << 10)
        .max_send_buf_size(256 << 10);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let watch = async {
        while activity.idle() < limits.idle {
            let left = limits.idle.saturating_sub(activity.idle());
            tokio::time::sleep(left.max(Duration::from_millis(10))).await;
        }
    };
    tokio::select! {
        // How it ended is the client's affair.
        _ = connection => {}
        () = watch => {}
    }
}
