//! Several objects in one answer: `GET /objects?of=AB/CDEF.filez,…`.
//!
//! The layout is in `docs/formats/many-objects.md`.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::body::{PIECE, Part};
use crate::place::{Root, relative};

/// The most names in a request: its line stays below 8 KiB.
pub(crate) const MOST: usize = 64;
/// The header that tells a client how many names it may send.
pub(crate) const HEADER: &str = "backstop-many";
/// What such an answer is.
pub(crate) const TYPE: &str = "application/x-backstop-objects";
/// Stands for the length of what is not there.
const ABSENT: u64 = u64::MAX;

/// The objects that a request's query names, as paths in the repository; `None` where it
/// is none of ours, or they are more than `most`.
pub fn object_names(query: &str, most: usize) -> Option<Vec<String>> {
    let list = query.strip_prefix("of=")?;
    let path = |name: &str| relative(&format!("/objects/{name}"));
    let names: Option<Vec<String>> = list.split(',').map(path).collect();
    names.filter(|names| names.len() <= most)
}

/// The answer: each object with its length before it, in the order of the names.
#[derive(Debug)]
pub(crate) struct Many {
    root: Arc<Root>,
    names: std::vec::IntoIter<String>,
    /// What is left of the one that is being sent.
    open: Option<Part>,
}

impl Many {
    pub(crate) fn new(root: Arc<Root>, names: Vec<String>) -> Self {
        Self {
            root,
            names: names.into_iter(),
            open: None,
        }
    }

    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// The disk's; a file became shorter. The client must notice that this is not all.
    pub(crate) fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::with_capacity(PIECE);
        while piece.len() < PIECE {
            if self.open.is_none() && !self.begin(&mut piece)? {
                break;
            }
            if let Some(part) = &mut self.open {
                part.fill(&mut piece)?;
            }
            self.open.take_if(|part| part.is_over());
        }
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    /// Opens the next one; whether there is one.
    fn begin(&mut self, piece: &mut Vec<u8>) -> io::Result<bool> {
        let Some(name) = self.names.next() else {
            return Ok(false);
        };
        let length = match self.root.file(&name) {
            Ok((file, is)) => {
                self.open = Some(Part::new(file, 0, is.len()));
                is.len()
            }
            Err(e) if crate::answer::is_absent(&e) => ABSENT,
            Err(e) => return Err(e),
        };
        piece.extend_from_slice(&length.to_be_bytes());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let two = ["objects/ab/c.filez", "objects/de/f.dirtree"].map(str::to_owned);
        assert_eq!(
            object_names("of=ab/c.filez,de/f.dirtree", 2).as_deref(),
            Some(&two[..])
        );
        let many = |n: usize| format!("of={}", vec!["ab/c.filez"; n].join(","));
        assert_eq!(object_names(&many(MOST), MOST).map(|n| n.len()), Some(MOST));
        assert_eq!(object_names(&many(MOST + 1), MOST), None);
        for bad in [
            "",
            "of",
            "of=",
            "of=a,,b",
            "of=../config",
            "of=ab/%2e%2e/x",
            "of=/etc/passwd",
            "x=1&of=ab/c.filez",
            "of=ab/c.filez,",
        ] {
            assert_eq!(object_names(bad, MOST), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_leads_out(query in "(of=)?(/|\\.|,|%2e|%2f|\\\\|config|objects|a){0,12}") {
            for name in object_names(&query, MOST).unwrap_or_default() {
                proptest::prop_assert!(name.starts_with("objects/"));
                proptest::prop_assert!(!name.split('/').any(|p| p.is_empty() || p.starts_with('.')));
            }
        }
    }
}
