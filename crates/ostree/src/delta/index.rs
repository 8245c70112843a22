//! Which deltas lead to a commit: `delta-indexes/XX/YYY….index`, for clients that
//! fetch the summary of a repository with many.

use std::collections::BTreeMap;

use durable::LockMode;

use super::DeltaName;
use super::name::{index_path, of_index};
use crate::format::Metadata;
use crate::{Checksum, Repo, Result, Value};

/// The key of the deltas, in an index as in a summary.
const DELTAS: &str = "ostree.static-deltas";

impl Repo {
    /// The commits that have a list of the deltas to them.
    ///
    /// # Errors
    /// The disk's.
    pub fn delta_indexes(&self) -> Result<Vec<Checksum>> {
        let names = self.below("delta-indexes")?;
        let mut found: Vec<_> = names.iter().filter_map(|(d, n)| of_index(d, n)).collect();
        found.sort();
        Ok(found)
    }

    /// Brings the lists up to date, all or that of one commit; lists of commits that
    /// no delta leads to go.
    ///
    /// # Errors
    /// The disk's.
    pub fn reindex_deltas(&self, only: Option<&Checksum>) -> Result<()> {
        let _lock = self.lock(LockMode::Shared, &monitor::Silent)?;
        let mut lists: BTreeMap<Checksum, Vec<DeltaName>> = BTreeMap::new();
        for old in self.delta_indexes()? {
            lists.insert(old, Vec::new());
        }
        for delta in self.deltas()? {
            lists.entry(delta.to).or_default().push(delta);
        }
        for (to, deltas) in lists {
            if only.is_none_or(|only| *only == to) {
                self.write_index(&to, &deltas)?;
            }
        }
        Ok(())
    }

    fn write_index(&self, to: &Checksum, deltas: &[DeltaName]) -> Result<()> {
        let path = self.path().join(index_path(to));
        if deltas.is_empty() {
            return self.remove(&path);
        }
        let mut index = Metadata::default();
        index.set(DELTAS, self.delta_digests(deltas)?.to_value());
        let bytes = index.encode();
        if durable::read_bounded(self.fs(), &path, 1 << 20).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        if let Some(dir) = path.parent() {
            durable::create_dir_all(self.fs(), dir, 0o755)?;
        }
        Ok(durable::publish_file(self.fs(), &path, &bytes, 0o644)?)
    }

    /// The digests of the superblocks of these deltas by their names, as a summary
    /// and an index list them.
    ///
    /// # Errors
    /// The disk's.
    pub fn delta_digests(&self, deltas: &[DeltaName]) -> Result<Metadata> {
        let mut found = Metadata::default();
        for delta in deltas {
            let digest = self.delta_digest(delta)?.as_bytes().to_vec();
            found.set(&delta.to_string(), Value::Bytes(digest));
        }
        Ok(found)
    }
}
