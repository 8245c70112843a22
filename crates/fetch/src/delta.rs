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

/// A delta that would help, as far as its superblock tells.
struct Offer {
    name: DeltaName,
    digest: Checksum,
    superblock: Vec<u8>,
}

/// The offered delta that fits best: the one that is looked for; for a delta from
/// nothing, one from any commit that is here is better.
fn choose(
    session: &PullSession<'_>,
    name: DeltaName,
    offered: &BTreeMap<String, Checksum>,
) -> Result<Option<(DeltaName, Checksum)>> {
    if name.from.is_none() {
        for (text, digest) in offered {
            let Ok(other) = text.parse::<DeltaName>() else {
                continue;
            };
            let from = other.from.filter(|_| other.to == name.to);
            if let Some(from) = from
                && session.is_complete(&from)?
            {
                return Ok(Some((other, *digest)));
            }
        }
    }
    let digest = offered.get(&name.to_string());
    Ok(digest.map(|digest| (name, *digest)))
}

/// The best delta for each wanted commit that one leads to.
fn offers(
    session: &PullSession<'_>,
    connection: &Connection,
    summary: Option<&Summary>,
    required: bool,
) -> Result<Vec<Offer>> {
    let mut missing = None;
    let mut found: Vec<Offer> = Vec::new();
    let has = |found: &[Offer], to: &Checksum| found.iter().any(|o| o.name.to == *to);
    for name in session.useful_deltas()? {
        if has(&found, &name.to) {
            continue;
        }
        let offered = connection.deltas_to(&name, summary)?;
        let Some((name, digest)) = choose(session, name, &offered)? else {
            missing = Some(name);
            continue;
        };
        let superblock = connection.get_content(&name.superblock_path(), MAX_SUPERBLOCK)?;
        let Some(superblock) = superblock else {
            missing = Some(name);
            continue;
        };
        found.push(Offer {
            name,
            digest,
            superblock,
        });
    }
    match missing.filter(|name| required && !has(&found, &name.to)) {
        Some(name) => Err(Error::NoDelta {
            remote: connection.remote().name().to_owned(),
            commit: name.to,
        }),
        None => Ok(found),
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
    for offer in offers(session, connection, summary, required)? {
        let name = offer.name;
        monitor.note(&format!("using a delta to {}", name.to));
        let parts = Parts { connection, name };
        session.apply_delta(&name, offer.superblock, Some(&offer.digest), &parts)?;
    }
    Ok(())
}

/// What a pull by deltas would fetch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeltaPreview {
    /// Parts of deltas.
    pub parts: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of the objects that they make.
    pub unpacked: u64,
    /// Objects that the deltas leave out.
    pub fallbacks: usize,
}

/// Reads the superblocks of the deltas that [`apply`] would use.
pub(crate) fn preview(
    session: &PullSession<'_>,
    connection: &Connection,
    summary: Option<&Summary>,
) -> Result<DeltaPreview> {
    let mut found = DeltaPreview::default();
    for offer in offers(session, connection, summary, true)? {
        let block = session.read_delta(&offer.name, offer.superblock, Some(&offer.digest))?;
        found.parts += block.parts.len();
        found.fallbacks += block.fallbacks.len();
        for part in &block.parts {
            found.bytes = found.bytes.saturating_add(part.size);
            found.unpacked = found.unpacked.saturating_add(part.unpacked);
        }
    }
    Ok(found)
}
