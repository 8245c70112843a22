//! A commit: `(a{sv}aya(say)sstayay)`, the time big-endian.

use super::Metadata;
use crate::Checksum;
use crate::checksum::Hasher;
use crate::gvariant::{Layout, Result, Type, Value, Writer, array, text, tuple, u64_be};

const MEMBERS: [Layout; 8] = [
    Layout::VARIANT,
    Layout::BYTES,
    Layout::BYTES,
    Layout::BYTES,
    Layout::BYTES,
    Layout::U64,
    Layout::BYTES,
    Layout::BYTES,
];
const RELATED: [Layout; 2] = [Layout::BYTES; 2];

/// One version of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Named values: `version`, `ostree.ref-binding`, …
    pub metadata: Metadata,
    /// The version before.
    pub parent: Option<Checksum>,
    /// Named other commits; in the format since ever, never written today.
    pub related: Vec<(String, Checksum)>,
    /// One line that says what it is.
    pub subject: String,
    /// More about it.
    pub body: String,
    /// When, in seconds since 1970.
    pub timestamp: u64,
    /// The root directory's content.
    pub root_tree: Checksum,
    /// The root directory's attributes.
    pub root_meta: Checksum,
}

impl Commit {
    /// Reads a `commit` object.
    ///
    /// # Errors
    /// Where it is not canonical.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let [metadata, parent, related, subject, body, time, tree, meta] = tuple(bytes, MEMBERS)?;
        let parent = match parent {
            [] => None,
            digest => Some(Checksum::decode(digest)?),
        };
        let related = array(related, Layout::BYTES)?
            .into_iter()
            .map(|item| {
                let [name, checksum] = tuple(item, RELATED)?;
                Ok((text(name)?.to_owned(), Checksum::decode(checksum)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            metadata: Metadata::decode(metadata)?,
            parent,
            related,
            subject: text(subject)?.to_owned(),
            body: text(body)?.to_owned(),
            timestamp: u64_be(time)?,
            root_tree: Checksum::decode(tree)?,
            root_meta: Checksum::decode(meta)?,
        })
    }

    /// The object's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.tuple(&MEMBERS, |w, i| match i {
            0 => self.metadata.write(w),
            1 => w.raw(
                self.parent
                    .as_ref()
                    .map_or(&[], |p| p.as_bytes().as_slice()),
            ),
            2 => w.array(Layout::BYTES, &self.related, |w, (name, checksum)| {
                w.tuple(&RELATED, |w, i| match i {
                    0 => w.text(name),
                    _ => w.raw(checksum.as_bytes()),
                });
            }),
            3 => w.text(&self.subject),
            4 => w.text(&self.body),
            5 => w.u64_be(self.timestamp),
            6 => w.raw(self.root_tree.as_bytes()),
            _ => w.raw(self.root_meta.as_bytes()),
        });
        w.finish()
    }

    /// The object as a value, as it is stored.
    ///
    /// # Errors
    /// Metadata that cannot be a value.
    pub fn value(&self) -> Result<Value> {
        Value::decode_typed(&self.encode(), &Type::parse(b"(a{sv}aya(say)sstayay)")?)
    }

    /// The version name that its maker gave it.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.metadata.get("version")?.as_text()
    }

    /// Whether its maker marked it as a bootable system.
    #[must_use]
    pub fn bootable(&self) -> bool {
        self.metadata
            .get("ostree.bootable")
            .and_then(|v| v.as_bool())
            == Some(true)
    }

    /// The digest of its content alone: equal for commits that differ only in
    /// what is said about them.
    #[must_use]
    pub fn content_checksum(&self) -> Checksum {
        let mut hasher = Hasher::new();
        hasher.update(self.root_tree.as_bytes());
        hasher.update(self.root_meta.as_bytes());
        hasher.finish()
    }
}
