//! OSTree repositories over the network.
//!
//! [`pull()`] brings commits from a remote; [`Connection`] is what it stands on, for
//! looking at a remote's refs and summary. What is asked for, and what becomes of
//! the bytes, is decided by [`ostree::session`]; here is the network: connections,
//! retries, mirrors, timeouts, proxies, certificates.
//!
//! | file | what |
//! | --- | --- |
//! | `address.rs` | where a remote is: addresses, mirror lists |
//! | `metalink.rs`, `xml.rs` | the same in a metalink, with the digests of the summary |
//! | `client.rs` | one HTTP client, set up for a remote |
//! | `attempt.rs` | one response, read with a bound on patience |
//! | `transfer.rs` | one file, however many attempts and mirrors that takes |
//! | `connection.rs` | small files: refs, summary |
//! | `many.rs` | several objects in one answer |
//! | `answer.rs` | what the bytes of such an answer mean |
//! | `summary.rs` | the summary: cached, and never an older one |
//! | `delta.rs` | static deltas instead of many objects |
//! | `download.rs` | a session's objects, many at once |
//! | `pull.rs` | all of it in order |

mod address;
mod answer;
mod attempt;
mod client;
mod connection;
mod delta;
mod download;
mod error;
mod many;
mod metalink;
mod near;
mod options;
mod pull;
mod summary;
mod transfer;
mod xml;

pub use address::file_url;
pub use answer::{ManyAnswer, ManyPart};
pub use connection::Connection;
pub use delta::{DeltaPreview, Deltas};
pub use error::{Error, Result};
pub use metalink::{BadMetalink, Metalink, NotTheFile};
pub use options::{NetOptions, PullOptions};
pub use pull::{Pulled, preview_deltas, pull, resolve};
pub use summary::RemoteSummary;
pub use xml::BadXml;
