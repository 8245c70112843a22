//! The summary: all refs of a repository in one file, for those who pull over HTTP.
//! `(a(s(taya{sv}))a{sv})`.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::RepoMode;
use crate::format::Metadata;
use crate::gvariant::{Layout, Malformed, Type, Value, Writer, array, text, tuple};
use crate::{Checksum, CollectionRef, Error, ObjectKind, ObjectName, Repo, Result, check_ref_name};

/// The longest summary that is read.
pub const MAX_SUMMARY: u64 = 128 << 20;

const PARTS: [Layout; 2] = [Layout::VARIANT; 2];
const ENTRY: [Layout; 2] = [Layout::BYTES, Layout::VARIANT];
const COMMIT: [Layout; 3] = [Layout::U64, Layout::BYTES, Layout::VARIANT];

const MODE: &str = "ostree.summary.mode";
const LAST_MODIFIED: &str = "ostree.summary.last-modified";
const EXPIRES: &str = "ostree.summary.expires";
const TOMBSTONES: &str = "ostree.summary.tombstone-commits";
const DELTAS: &str = "ostree.static-deltas";
const INDEXED_DELTAS: &str = "ostree.summary.indexed-deltas";
const COLLECTION: &str = "ostree.summary.collection-id";
const COLLECTION_MAP: &str = "ostree.summary.collection-map";
const TIMESTAMP: &str = "ostree.commit.timestamp";
const VERSION: &str = "ostree.commit.version";

/// What a summary says of one ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SummaryRef {
    /// The length of the commit object in bytes.
    pub commit_size: u64,
    /// The commit.
    pub commit: Checksum,
    /// More about the commit: `ostree.commit.timestamp`, `ostree.commit.version`.
    pub metadata: Metadata,
}

impl SummaryRef {
    /// When the commit was made, in seconds since 1970.
    #[must_use]
    pub fn timestamp(&self) -> Option<u64> {
        self.metadata.get(TIMESTAMP)?.as_u64_be()
    }

    /// The value in which collections are listed: `(taya{sv})`.
    pub(crate) fn to_value(&self) -> Value {
        Value::Tuple(vec![
            Value::Number(b't', self.commit_size.to_le_bytes().to_vec()),
            Value::Bytes(self.commit.as_bytes().to_vec()),
            self.metadata.to_value(),
        ])
    }

    fn from_value(value: &Value) -> std::result::Result<Self, Malformed> {
        let Value::Tuple(members) = value else {
            return Err(Malformed::Type);
        };
        let [Value::Number(b't', size), Value::Bytes(commit), said] = members.as_slice() else {
            return Err(Malformed::Type);
        };
        let size = size.as_slice().try_into().map_err(|_| Malformed::Length)?;
        Ok(Self {
            commit_size: u64::from_le_bytes(size),
            commit: Checksum::decode(commit)?,
            metadata: Metadata::from_value(said).ok_or(Malformed::Type)?,
        })
    }

    /// The type of that.
    pub(crate) fn value_type() -> Type {
        Type::Tuple(vec![
            Type::Number(b't'),
            Type::Array(Box::new(Type::Byte)),
            Metadata::default().to_value().value_type(),
        ])
    }

    /// The version name that the commit's maker gave it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.metadata.get(VERSION)?.as_text()
    }
}

/// All refs of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// The refs by name.
    pub refs: BTreeMap<String, SummaryRef>,
    /// About the repository: when this was written, in which mode it is.
    pub metadata: Metadata,
}

impl Summary {
    /// Reads the file `summary`.
    ///
    /// # Errors
    /// Where it is not canonical, has a ref twice, or one whose name cannot be one.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Self, Malformed> {
        let [entries, metadata] = tuple(bytes, PARTS)?;
        let mut refs = BTreeMap::new();
        for entry in array(entries, Layout::VARIANT)? {
            let [name, commit] = tuple(entry, ENTRY)?;
            let name = text(name)?;
            check_ref_name(name).map_err(|_| Malformed::Name)?;
            let [size, commit, metadata] = tuple(commit, COMMIT)?;
            let size = size.try_into().map_err(|_| Malformed::Length)?;
            let found = SummaryRef {
                // The one number that is not big-endian.
                commit_size: u64::from_le_bytes(size),
                commit: Checksum::decode(commit)?,
                metadata: Metadata::decode(metadata)?,
            };
            if refs.insert(name.to_owned(), found).is_some() {
                return Err(Malformed::Order);
            }
        }
        let metadata = Metadata::decode(metadata)?;
        Ok(Self { refs, metadata })
    }

    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&PARTS, |w, part| match part {
            0 => w.array(Layout::VARIANT, &self.refs, |w, (name, found)| {
                w.tuple(&ENTRY, |w, i| match i {
                    0 => w.text(name),
                    _ => w.tuple(&COMMIT, |w, i| match i {
                        0 => w.raw(&found.commit_size.to_le_bytes()),
                        1 => w.raw(found.commit.as_bytes()),
                        _ => found.metadata.write(w),
                    }),
                });
            }),
            _ => self.metadata.write(w),
        });
        w.finish()
    }

    /// When it was written, in seconds since 1970.
    #[must_use]
    pub fn last_modified(&self) -> Option<u64> {
        self.metadata.get(LAST_MODIFIED)?.as_u64_be()
    }

    /// From when on it is not to be believed any more, in seconds since 1970.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.metadata.get(EXPIRES)?.as_u64_be()
    }

    /// The collection that the refs are of.
    #[must_use]
    pub fn collection_id(&self) -> Option<&str> {
        self.metadata.get(COLLECTION)?.as_text()
    }

    /// The refs of other collections.
    ///
    /// # Errors
    /// What is there is no list of them.
    pub fn collection_refs(
        &self,
    ) -> std::result::Result<BTreeMap<CollectionRef, SummaryRef>, Malformed> {
        let mut found = BTreeMap::new();
        for (id, refs) in entries(self.metadata.get(COLLECTION_MAP))? {
            for item in items(refs)? {
                let Value::Tuple(members) = item else {
                    return Err(Malformed::Type);
                };
                let [Value::Text(name), said] = members.as_slice() else {
                    return Err(Malformed::Type);
                };
                let of = CollectionRef::new(id, name).map_err(|_| Malformed::Name)?;
                if found.insert(of, SummaryRef::from_value(said)?).is_some() {
                    return Err(Malformed::Order);
                }
            }
        }
        Ok(found)
    }

    /// The mode of the repository.
    #[must_use]
    pub fn mode(&self) -> Option<RepoMode> {
        RepoMode::from_word(self.metadata.get(MODE)?.as_text()?)
    }
}

/// The elements of an array.
fn items(value: &Value) -> std::result::Result<&[Value], Malformed> {
    match value {
        Value::Array(_, items) => Ok(items),
        _ => Err(Malformed::Type),
    }
}

/// An entry of a dictionary whose keys are texts.
fn entry(item: &Value) -> std::result::Result<(&str, &Value), Malformed> {
    match item {
        Value::Entry(key, value) => Ok((key.as_text().ok_or(Malformed::Type)?, &**value)),
        _ => Err(Malformed::Type),
    }
}

/// The entries of a dictionary whose keys are texts; none where it is not there.
fn entries(value: Option<&Value>) -> std::result::Result<Vec<(&str, &Value)>, Malformed> {
    let all = value.map(items).transpose()?.unwrap_or_default();
    all.iter().map(entry).collect()
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}

impl Repo {
    /// What a summary would say now: each ref that is the repository's own, those of
    /// other collections, and `more` about the repository.
    ///
    /// # Errors
    /// The disk's, or a ref to a commit that is missing or damaged.
    pub fn summarize(&self, more: &Metadata) -> Result<Summary> {
        let mut summary = Summary::default();
        for (name, commit) in self.refs(None)? {
            if name.contains(':') {
                continue;
            }
            let found = self.summarize_ref(&name, commit)?;
            summary.refs.insert(name, found);
        }
        let metadata = &mut summary.metadata;
        metadata.set(MODE, Value::from(self.mode().as_str()));
        metadata.set(LAST_MODIFIED, Value::u64_be(now()));
        metadata.set(TOMBSTONES, Value::Bool(self.has_tombstones()?));
        metadata.set(INDEXED_DELTAS, Value::Bool(true));
        if let Some(id) = self.collection_id()? {
            metadata.set(COLLECTION, Value::from(id.as_str()));
        }
        if let Some(map) = self.collection_map()? {
            metadata.set(COLLECTION_MAP, map);
        }
        let no_deltas = self.config_value("core", "no-deltas-in-summary")?;
        let deltas = self.deltas()?;
        if !deltas.is_empty() && no_deltas.as_deref() != Some("true") {
            metadata.set(DELTAS, self.delta_digests(&deltas)?.to_value());
        }
        for (key, value) in more.iter() {
            metadata.set(key, value.clone());
        }
        Ok(summary)
    }

    /// What a summary says of a ref.
    pub(crate) fn summarize_ref(&self, name: &str, checksum: Checksum) -> Result<SummaryRef> {
        let missing = |e| match e {
            Error::Missing(_) => Error::RefToNothing {
                name: name.to_owned(),
                checksum,
            },
            other => other,
        };
        let object = ObjectName::new(checksum, ObjectKind::Commit);
        let bytes = self.load(object).map_err(missing)?;
        let commit = crate::Commit::decode(&bytes);
        let commit = commit.map_err(|source| Error::Damaged { object, source })?;
        let mut metadata = Metadata::default();
        if let Some(version) = commit.version() {
            metadata.set(VERSION, Value::from(version));
        }
        metadata.set(TIMESTAMP, Value::u64_be(commit.timestamp));
        Ok(SummaryRef {
            commit_size: bytes.len() as u64,
            commit: checksum,
            metadata,
        })
    }

    fn has_tombstones(&self) -> Result<bool> {
        let value = self.config_value("core", "tombstone-commits")?;
        Ok(value.is_some_and(|v| matches!(v.as_str(), "true" | "1")))
    }

    /// Writes a summary, durably, without a signature.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_summary(&self, summary: &Summary) -> Result<()> {
        self.publish_summary(&summary.encode(), None)
    }

    /// Writes the bytes of a summary and of its signatures, durably. The old
    /// signatures go first: they would not fit.
    ///
    /// # Errors
    /// The disk's.
    pub fn publish_summary(&self, summary: &[u8], signatures: Option<&[u8]>) -> Result<()> {
        let signatures_path = self.path().join("summary.sig");
        self.remove(&signatures_path)?;
        let publish = |path: &Path, bytes| {
            let done = durable::publish_file(self.fs(), path, bytes, 0o644);
            done.map_err(|e| Error::from(e).explain_full(self.path()))
        };
        publish(&self.path().join("summary"), summary)?;
        match signatures {
            Some(bytes) => publish(&signatures_path, bytes),
            None => Ok(()),
        }
    }

    /// The bytes of the file `summary`, if it is there.
    ///
    /// # Errors
    /// The disk's, or that it is too long.
    pub fn summary_bytes(&self) -> Result<Option<Vec<u8>>> {
        self.summary_file("summary")
    }

    /// The bytes of the file `summary.sig`, if it is there.
    ///
    /// # Errors
    /// The disk's, or that it is too long.
    pub fn summary_signatures(&self) -> Result<Option<Vec<u8>>> {
        self.summary_file("summary.sig")
    }

    fn summary_file(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.path().join(name);
        match durable::read_bounded(self.fs(), &path, MAX_SUMMARY) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let mut summary = Summary::default();
        for name in ["main", "a/b", "zdev/x"] {
            let mut metadata = Metadata::default();
            metadata.set(TIMESTAMP, Value::u64_be(1_000_000_000));
            metadata.set(VERSION, Value::from(name));
            let found = SummaryRef {
                commit_size: 118,
                commit: Checksum::of(name.as_bytes()),
                metadata,
            };
            summary.refs.insert(name.into(), found);
        }
        summary.metadata.set(LAST_MODIFIED, Value::u64_be(7));
        summary.metadata.set(MODE, Value::from("archive-z2"));
        summary
    }

    #[test]
    fn reads_back() {
        let want = summary();
        let got = Summary::decode(&want.encode()).unwrap();
        assert_eq!(got, want);
        assert_eq!(got.last_modified(), Some(7));
        assert_eq!(got.mode(), Some(RepoMode::Archive));
        assert_eq!(got.refs["main"].timestamp(), Some(1_000_000_000));
        assert_eq!(got.refs["a/b"].version(), Some("a/b"));
        let empty = Summary::default();
        assert_eq!(Summary::decode(&empty.encode()), Ok(empty));
    }

    #[test]
    fn refuses_names_that_lead_elsewhere() {
        for bad in ["../x", "/etc/passwd", "a/../../b", "", "a b", "r:x", "a//b"] {
            let mut bytes = summary();
            let found = bytes.refs["main"].clone();
            bytes.refs.insert(bad.into(), found);
            assert_eq!(
                Summary::decode(&bytes.encode()),
                Err(Malformed::Name),
                "{bad}"
            );
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = summary().encode();
        for len in 0..bytes.len() {
            assert!(Summary::decode(&bytes[..len]).is_err(), "{len}");
        }
    }
}
