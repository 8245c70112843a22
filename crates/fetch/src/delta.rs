//! Static deltas: one of them for many objects, where a remote offers one that fits.

use std::collections::BTreeMap;

use monitor::Monitor;
use ostree::delta::{DeltaName, MAX_SUPERBLOCK, PartHeader, PartSource};
use ostree::session::PullSession;
use ostree::{Checksum, Metadata, Summary};

use crate::{Connection, Error, Result};

const DELTAS: &str = "ostree.static-deltas";
const INDEXED: &str = "ostree.summary.indexed-deltas";

/// The longest list of the deltas to one commit that is read.
const MAX_INDEX: u64 = 16 << 20;

/// Whether to use static deltas.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Deltas {
    /// Where there is one that fits.
    #[default]
    Prefer,
    /// Not at all.
    Never,
    /// They must be used.
    Require,
}

/// Parts of a delta, from a remote.
struct Parts<'a> {
    connection: &'a Connection,
    name: DeltaName,
}

impl PartSource for Parts<'_> {
    fn part(&self, number: usize, header: &PartHeader) -> ostree::Result<Vec<u8>> {
        let path = self.name.part_path(number);
        let failed =
            |source: Box<dyn std::error::Error + Send + Sync>| ostree::Error::Unavailable {
                what: format!("part {number} of the delta {}", self.name),
                source,
            };
        let found = self.connection.get_content(&path, header.size);
        let found = found.map_err(|e| failed(e.into()))?;
        found.ok_or_else(|| failed("the remote does not have it".into()))
    }
}

/// The deltas that a dictionary lists, with the digests of their superblocks.
fn listed(metadata: &Metadata) -> BTreeMap<String, Checksum> {
    let list = metadata.get(DELTAS).and_then(Metadata::from_value);
    let mut found = BTreeMap::new();
    for (name, digest) in list.unwrap_or_default().iter() {
        let digest = digest.as_bytes().and_then(|bytes| bytes.try_into().ok());
        if let Some(digest) = digest {
            found.insert(name.to_owned(), Checksum::from_bytes(digest));
        }
    }
    found
}

impl Connection {
    /// The deltas to a commit: from the summary, or from the list of that commit.
    fn deltas_to(
        &self,
        name: &DeltaName,
        summary: Option<&Summary>,
    ) -> Result<BTreeMap<String, Checksum>> {
        let known = summary.map(|s| listed(&s.metadata)).unwrap_or_default();
        let indexed = summary.and_then(|s| s.metadata.get(INDEXED)?.as_bool());
        if !known.is_empty() || indexed == Some(false) {
            return Ok(known);
        }
        let bytes = self.get(&name.index_path(), MAX_INDEX)?;
        let index = bytes.and_then(|bytes| Metadata::decode(&bytes).ok());
        Ok(index.map(|index| listed(&index)).unwrap_or_default())
    }
}

/// Uses a delta for each wanted commit that one leads to.
///
/// # Errors
/// A delta that is there cannot be used; or none is, and must be.
pub(crate) fn apply(
    session: &PullSession<'_>,
    connection: &Connection,
    summary: Option<&Summary>,
    required: bool,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut missing = None;
    let mut done = Vec::new();
    for name in session.useful_deltas()? {
        if done.contains(&name.to) {
            continue;
        }
        let offered = connection.deltas_to(&name, summary)?;
        let Some(digest) = offered.get(&name.to_string()) else {
            missing = Some(name);
            continue;
        };
        let superblock = connection.get_content(&name.superblock_path(), MAX_SUPERBLOCK)?;
        let Some(superblock) = superblock else {
            missing = Some(name);
            continue;
        };
        monitor.note(&format!("using a delta to {}", name.to));
        let parts = Parts { connection, name };
        session.apply_delta(&name, superblock, Some(digest), &parts)?;
        done.push(name.to);
    }
    match missing.filter(|name| required && !done.contains(&name.to)) {
        Some(name) => Err(Error::NoDelta {
            remote: connection.remote().name().to_owned(),
            commit: name.to,
        }),
        None => Ok(()),
    }
}
