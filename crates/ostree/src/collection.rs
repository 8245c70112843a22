//! Collections: refs whose names hold wherever they are mirrored.
//!
//! A repository's own refs are those of the collection in `[core] collection-id`; those
//! of a remote with a `collection-id` are that one's; any other is
//! `refs/mirrors/COLLECTION/NAME`.

use std::collections::BTreeMap;
use std::fmt;

use durable::LockMode;

use crate::format::{Commit, Metadata};
use crate::gvariant::Type;
use crate::refs::{collect, list, read_ref_file};
use crate::sign::Signer;
use crate::summary::SummaryRef;
use crate::{
    Checksum, CommitOptions, CommitSummary, Error, Repo, Result, Source, Value, check_ref_name,
};

/// The ref whose commits say what the summaries said.
pub const METADATA_REF: &str = "ostree-metadata";
/// Where a commit says which collection it was made for.
pub(crate) const BINDING: &str = "ostree.collection-binding";
/// The longest name of a collection, in bytes.
const MAX_ID: usize = 255;

/// A ref of a collection.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CollectionRef {
    /// The collection.
    pub collection: String,
    /// The name in it.
    pub name: String,
}

impl CollectionRef {
    /// A ref of a collection.
    ///
    /// # Errors
    /// A name that cannot be one.
    pub fn new(collection: &str, name: &str) -> Result<Self> {
        check_collection_id(collection)?;
        check_ref_name(name)?;
        Ok(Self {
            collection: collection.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for CollectionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.collection, self.name)
    }
}

/// Checks the name of a collection: a reversed domain name of two parts or more, each of
/// letters, digits and `_`, not beginning with a digit.
///
/// # Errors
/// [`Error::CollectionId`].
pub fn check_collection_id(id: &str) -> Result<()> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let part =
        |part: &str| part.chars().all(word) && part.starts_with(|c: char| !c.is_ascii_digit());
    match id.len() <= MAX_ID && id.contains('.') && id.split('.').all(part) {
        true => Ok(()),
        false => Err(Error::CollectionId(id.to_owned())),
    }
}

/// Refuses a commit that was made for other refs, or for another collection. One that
/// says nothing of refs will do for any, save where a collection is to be had.
pub(crate) fn check_binding(
    metadata: &Metadata,
    checksum: &Checksum,
    collection: Option<&str>,
    name: &str,
) -> Result<()> {
    let bound = metadata.get("ostree.ref-binding");
    let other = |bound: String| Error::OtherBinding {
        commit: *checksum,
        name: name.to_owned(),
        bound,
    };
    match bound.map(|b| b.as_texts().unwrap_or_default()) {
        Some(bound) if !bound.contains(&name) => return Err(other(bound.join(", "))),
        None if collection.is_some() => return Err(other(String::new())),
        _ => {}
    }
    let Some(wanted) = collection else {
        return Ok(());
    };
    match metadata.get(BINDING).and_then(Value::as_text) {
        Some(found) if found == wanted => Ok(()),
        found => Err(Error::OtherCollection {
            commit: *checksum,
            wanted: wanted.to_owned(),
            bound: found.map(str::to_owned),
        }),
    }
}

impl Repo {
    /// The collection of this repository's own refs.
    ///
    /// # Errors
    /// The disk's; a name that cannot be one.
    pub fn collection_id(&self) -> Result<Option<String>> {
        let id = self.config_value("core", "collection-id")?;
        if let Some(id) = &id {
            check_collection_id(id)?;
        }
        Ok(id)
    }

    /// All refs that are of a collection: the repository's own, those of remotes, and
    /// those that it mirrors.
    ///
    /// # Errors
    /// The disk's; a damaged file.
    pub fn collection_refs(&self) -> Result<BTreeMap<CollectionRef, Checksum>> {
        let mut found = BTreeMap::new();
        let own = self.collection_id()?;
        let remotes = self.remotes()?;
        for (refspec, checksum) in self.refs(None)? {
            let (collection, name) = match refspec.split_once(':') {
                None => (own.as_deref(), refspec.as_str()),
                Some((remote, name)) => {
                    let remote = remotes.iter().find(|r| r.name() == remote);
                    (remote.and_then(|r| r.get("collection-id")), name)
                }
            };
            if let Some(Ok(key)) = collection.map(|id| CollectionRef::new(id, name)) {
                found.entry(key).or_insert(checksum);
            }
        }
        for (key, checksum) in self.mirrored_refs()? {
            found.entry(key).or_insert(checksum);
        }
        Ok(found)
    }

    /// The refs of other collections that are kept here.
    fn mirrored_refs(&self) -> Result<Vec<(CollectionRef, Checksum)>> {
        let files = self.mirrored_files()?.into_iter();
        let read = |(of, target): (_, Result<Option<_>>)| Some((of, target.transpose()?));
        let known = files.filter_map(read);
        known.map(|(of, target)| Ok((of, target?))).collect()
    }

    /// Their files (`refs/mirrors/COLLECTION/NAME`), and what is in them.
    pub(crate) fn mirrored_files(&self) -> Result<Vec<(CollectionRef, Result<Option<Checksum>>)>> {
        let mirrors = self.path().join("refs/mirrors");
        let mut found = Vec::new();
        for entry in list(self.fs(), &mirrors)? {
            let Some(id) = entry
                .name
                .to_str()
                .filter(|id| check_collection_id(id).is_ok())
            else {
                continue;
            };
            let mut names = Vec::new();
            collect(self.fs(), &mirrors.join(id), "", &mut names)?;
            for name in names {
                let path = mirrors.join(id).join(&name);
                let key = CollectionRef::new(id, &name)?;
                found.push((key, read_ref_file(self.fs(), &path, &name)));
            }
        }
        Ok(found)
    }

    /// Points a ref of a collection to a commit, durably; `None` removes it. One of the
    /// repository's own collection is the ref of that name.
    ///
    /// # Errors
    /// The disk's; a commit that is not there.
    pub fn set_collection_ref(&self, of: &CollectionRef, target: Option<&Checksum>) -> Result<()> {
        check_collection_id(&of.collection)?;
        check_ref_name(&of.name)?;
        if self.collection_id()?.as_ref() == Some(&of.collection) {
            return self.set_ref(&of.name, target);
        }
        let mirrors = self.path().join("refs/mirrors");
        let path = mirrors.join(&of.collection).join(&of.name);
        let _lock = self.lock(LockMode::Shared, &monitor::Silent)?;
        self.set_ref_file(&path, target)
    }

    /// What a summary says of the refs of other collections than its own:
    /// `a{sa(s(taya{sv}))}`. `None` where there are none.
    pub(crate) fn collection_map(&self) -> Result<Option<Value>> {
        let own = self.collection_id()?;
        let mut map: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (of, commit) in self.collection_refs()? {
            if Some(&of.collection) != own.as_ref() {
                let said = self.summarize_ref(&of.name, commit)?;
                let refs = map.entry(of.collection).or_default();
                refs.push(Value::Tuple(vec![of.name.as_str().into(), said.to_value()]));
            }
        }
        if map.is_empty() {
            return Ok(None);
        }
        let kind = Type::Tuple(vec![Type::Text(b's'), SummaryRef::value_type()]);
        let key = Type::Text(b's');
        let value = Type::Array(Box::new(kind.clone()));
        let entries = map.into_iter().map(|(collection, refs)| {
            let refs = Value::Array(kind.clone(), refs);
            Value::Entry(Box::new(collection.as_str().into()), Box::new(refs))
        });
        let of = Type::Entry(Box::new(key), Box::new(value));
        Ok(Some(Value::Array(of, entries.collect())))
    }

    /// Commits what is said of the repository to [`METADATA_REF`], with an empty tree:
    /// so it is had, signed and by name, where the summary is another's. Only where the
    /// repository is of a collection.
    ///
    /// # Errors
    /// The disk's; the signers'.
    pub fn commit_metadata(
        &self,
        more: &Metadata,
        signers: &[Signer],
    ) -> Result<Option<CommitSummary>> {
        if self.collection_id()?.is_none() {
            return Ok(None);
        }
        let options = CommitOptions {
            branch: Some(METADATA_REF.to_owned()),
            metadata: more.clone(),
            signers: signers.to_vec(),
            ..CommitOptions::default()
        };
        self.commit(&[Source::Empty], &options, &monitor::Silent)
            .map(Some)
    }

    /// Refuses a commit that was not made for a ref, or for a collection.
    ///
    /// # Errors
    /// That; the disk's.
    pub fn check_binding(
        &self,
        commit: &Checksum,
        collection: Option<&str>,
        name: &str,
    ) -> Result<()> {
        let metadata = self.load_commit(commit)?.metadata;
        check_binding(&metadata, commit, collection, name)
    }

    /// Adds to a new commit which collection it is made for, unless it says so.
    pub(crate) fn bind_to_collection(&self, commit: &mut Commit) -> Result<()> {
        if let (Some(id), None) = (self.collection_id()?, commit.metadata.get(BINDING)) {
            commit.metadata.set(BINDING, Value::from(id.as_str()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["org.example.A", "a.b", "_x.y_1"] {
            assert!(check_collection_id(good).is_ok(), "{good}");
        }
        let long = format!("a.{}", "b".repeat(254));
        let bad = [
            "", "a", "a.", ".a", "a..b", "a.1b", "a.b/c", "../x.y", "a.b-c", &long,
        ];
        for bad in bad {
            assert!(check_collection_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bindings() {
        let commit = Checksum::of(b"");
        let metadata = |refs: Option<&[&str]>, collection: Option<&str>| {
            let mut metadata = Metadata::default();
            if let Some(refs) = refs {
                metadata.set("ostree.ref-binding", Value::texts(refs.iter().copied()));
            }
            if let Some(collection) = collection {
                metadata.set(BINDING, Value::from(collection));
            }
            metadata
        };
        let main: Option<&[&str]> = Some(&["main"]);
        let cases = [
            (None, None, None, true),
            (None, None, Some("a.b"), false),
            (main, None, None, true),
            (Some(&["other"]), None, None, false),
            (main, Some("a.b"), None, true),
            (main, Some("a.b"), Some("a.b"), true),
            (main, Some("a.c"), Some("a.b"), false),
            (main, Some(""), Some("a.b"), false),
            (main, None, Some("a.b"), false),
            (None, Some("a.b"), Some("a.b"), false),
        ];
        for (refs, collection, wanted, fits) in cases {
            let said = metadata(refs, collection);
            let judged = check_binding(&said, &commit, wanted, "main");
            assert_eq!(judged.is_ok(), fits, "{refs:?} {collection:?} {wanted:?}");
        }
    }
}
