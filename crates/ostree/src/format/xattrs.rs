//! Extended attributes: `a(ayay)`, sorted by name.

use std::collections::HashSet;
use std::fmt;

use durable::Xattr;

use crate::gvariant::{Layout, Malformed, Result, Type, Value, Writer, array, bytes, tuple};

/// Extended attributes in the order in which objects hold them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Xattrs(Vec<Xattr>);

/// The attribute that has a file's label.
const SELINUX: &[u8] = b"security.selinux";

impl Xattrs {
    /// The attributes of a file, as they go into an object: sorted, without
    /// those that have an empty value, which `ostree` leaves out as well.
    #[must_use]
    pub fn new(mut found: Vec<Xattr>) -> Self {
        found.retain(|(_, value)| !value.is_empty());
        found.sort();
        Self(found)
    }

    /// These, with this label of SELinux instead of the one they have.
    #[must_use]
    pub fn labelled(self, label: &str) -> Self {
        let mut all = self.0;
        all.retain(|(name, _)| name != SELINUX);
        // The value ends with a NUL, as the kernel's does.
        all.push((SELINUX.to_vec(), [label.as_bytes(), &[0]].concat()));
        Self::new(all)
    }

    /// Whether they are in the order in which a file's own attributes are read.
    pub(crate) fn are_sorted(&self) -> bool {
        self.0.is_sorted()
    }

    /// Names and values.
    #[must_use]
    pub fn as_slice(&self) -> &[Xattr] {
        &self.0
    }

    pub(crate) fn decode(data: &[u8]) -> Result<Self> {
        let mut found: Vec<Xattr> = Vec::new();
        let mut names = HashSet::new();
        for item in array(data, Layout::BYTES)? {
            let [name, value] = tuple(item, [Layout::BYTES, Layout::BYTES])?;
            let name = bytes(name)?;
            if name.is_empty() {
                return Err(Malformed::Name);
            }
            // In any order: `ostree` 2022.7 puts a label of SELinux last.
            if !names.insert(name) {
                return Err(Malformed::Order);
            }
            found.push((name.to_vec(), value.to_vec()));
        }
        Ok(Self(found))
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        w.array(Layout::BYTES, &self.0, |w, (name, value)| {
            w.tuple(&[Layout::BYTES, Layout::BYTES], |w, i| match i {
                0 => w.c_bytes(name),
                _ => w.raw(value),
            });
        });
    }
}

impl fmt::Display for Xattrs {
    /// As `ostree` prints them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let byte_array = || Type::Array(Box::new(Type::Byte));
        let items = self.0.iter().map(|(name, value)| {
            let name = [name.as_slice(), &[0]].concat();
            Value::Tuple(vec![Value::Bytes(name), Value::Bytes(value.clone())])
        });
        let of = Type::Tuple(vec![byte_array(), byte_array()]);
        Value::Array(of, items.collect()).fmt(f)
    }
}
