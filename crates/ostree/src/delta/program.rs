//! The operations of a part, as a list of what is to be made of what.
//!
//! | operation | arguments | does |
//! | --- | --- | --- |
//! | `S` | length, offset (metadata); mode, attributes, length, offset (file) | makes an object of data |
//! | `o` | mode, attributes, size | begins a file |
//! | `w` | length, offset | adds data, or bytes of the source |
//! | `r` | offset of a digest in the data | makes a file of the old commit the source |
//! | `R` | | there is no source any more |
//! | `B` | offset, length | fills the file by a patch of the source |
//! | `c` | | ends the file, and its source |
//!
//! Reading the program checks all of it: that it makes the objects that the header
//! lists, in that order and nothing else, and that whatever it refers to is there.
//! What is read needs no further check but of digests.

use std::ops::Range;

use super::error::PartError;
use super::{Part, PartHeader, varint};
use crate::format::{FileHeader, TYPE_FILE, TYPE_MASK, TYPE_SYMLINK};
use crate::{Checksum, ObjectKind, ObjectName};

/// How one object is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The object.
    pub object: ObjectName,
    /// What it is made of.
    pub target: Target,
}

/// What an object is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A metadata object: this range of the data.
    Metadata(Range<usize>),
    /// A file with these attributes.
    File {
        /// Its attributes.
        header: FileHeader,
        /// The length of its content.
        size: u64,
        /// Its content.
        content: Content,
    },
}

/// What a file's content is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Pieces, one after the other.
    Pieces(Vec<Piece>),
    /// A patch (that range of the data) of another file.
    Patch(Checksum, Range<usize>),
}

/// A piece of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// This range of the data.
    Data(Range<usize>),
    /// Bytes of another file.
    Copy {
        /// The file.
        from: Checksum,
        /// Where the bytes begin.
        offset: u64,
        /// How many they are.
        len: u64,
    },
}

/// How often each operation is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Operations {
    /// `S`
    pub splice: u64,
    /// `o`
    pub open: u64,
    /// `w`
    pub write: u64,
    /// `r`
    pub set_source: u64,
    /// `R`
    pub unset_source: u64,
    /// `c`
    pub close: u64,
    /// `B`
    pub patch: u64,
}

/// A file that was begun.
struct Open {
    object: ObjectName,
    header: FileHeader,
    size: u64,
    written: u64,
    pieces: Vec<Piece>,
    patch: Option<(Checksum, Range<usize>)>,
}

/// What is wrong with an operation.
type Wrong = &'static str;

struct Machine<'a> {
    part: &'a Part,
    objects: std::slice::Iter<'a, ObjectName>,
    rest: &'a [u8],
    source: Option<Checksum>,
    open: Option<Open>,
    recipes: Vec<Recipe>,
    counts: Operations,
}

impl Part {
    /// Reads the program.
    ///
    /// # Errors
    /// The first operation that makes no sense.
    pub fn recipes(&self, header: &PartHeader) -> Result<(Vec<Recipe>, Operations), PartError> {
        let mut machine = Machine {
            part: self,
            objects: header.objects.iter(),
            rest: self.operations(),
            source: None,
            open: None,
            recipes: Vec::new(),
            counts: Operations::default(),
        };
        let mut number = 0;
        let fail = |number, why| PartError::Operation { number, why };
        while let Some((code, rest)) = machine.rest.split_first() {
            machine.rest = rest;
            machine.step(*code).map_err(|why| fail(number, why))?;
            number += 1;
        }
        if machine.open.is_some() {
            return Err(fail(number, "the program ends within a file"));
        }
        if machine.objects.next().is_some() {
            return Err(fail(
                number,
                "the program makes fewer objects than the part lists",
            ));
        }
        Ok((machine.recipes, machine.counts))
    }
}

impl Machine<'_> {
    fn step(&mut self, code: u8) -> Result<(), Wrong> {
        let counter = match code {
            b'S' => &mut self.counts.splice,
            b'o' => &mut self.counts.open,
            b'w' => &mut self.counts.write,
            b'r' => &mut self.counts.set_source,
            b'R' => &mut self.counts.unset_source,
            b'c' => &mut self.counts.close,
            b'B' => &mut self.counts.patch,
            _ => return Err("there is no such operation"),
        };
        *counter += 1;
        match code {
            b'S' => self.splice(),
            b'o' => self.begin(),
            b'w' => self.write(),
            b'r' => self.set_source(),
            b'B' => self.patch(),
            b'c' => self.close(),
            _ => {
                self.source = None;
                Ok(())
            }
        }
    }

    fn number(&mut self) -> Result<u64, Wrong> {
        varint::read(&mut self.rest).ok_or("a number is cut short or too large")
    }

    fn index(&mut self) -> Result<usize, Wrong> {
        usize::try_from(self.number()?).map_err(|_| "a number is too large")
    }

    /// A range of the data.
    fn range(&self, offset: u64, len: u64) -> Result<Range<usize>, Wrong> {
        let end = offset.checked_add(len);
        let end = end.filter(|end| *end <= self.part.data().len() as u64);
        // Both fit: they are not beyond a length that does.
        match end {
            Some(end) => Ok(offset as usize..end as usize),
            None => Err("it leads outside of the data"),
        }
    }

    fn next_object(&mut self) -> Result<ObjectName, Wrong> {
        if self.open.is_some() {
            return Err("it begins an object within a file");
        }
        let next = self.objects.next().copied();
        next.ok_or("it makes more objects than the part lists")
    }

    /// A mode and a set of extended attributes, each by its number.
    fn attributes(&mut self) -> Result<FileHeader, Wrong> {
        let (mode, xattrs) = (self.index()?, self.index()?);
        let mode = self.part.modes.get(mode).ok_or("there is no such mode")?;
        let xattrs = self.part.xattrs.get(xattrs);
        let xattrs = xattrs.ok_or("there are no such extended attributes")?;
        Ok(FileHeader {
            uid: mode.0,
            gid: mode.1,
            mode: mode.2,
            target: String::new(),
            xattrs: xattrs.clone(),
        })
    }

    fn splice(&mut self) -> Result<(), Wrong> {
        let object = self.next_object()?;
        if object.kind != ObjectKind::File {
            let (len, offset) = (self.number()?, self.number()?);
            let target = Target::Metadata(self.range(offset, len)?);
            self.recipes.push(Recipe { object, target });
            return Ok(());
        }
        let mut header = self.attributes()?;
        let (len, offset) = (self.number()?, self.number()?);
        let range = self.range(offset, len)?;
        let mut content = Content::Pieces(vec![Piece::Data(range.clone())]);
        let mut size = len;
        if header.mode & TYPE_MASK == TYPE_SYMLINK {
            let target = std::str::from_utf8(&self.part.data()[range]);
            header.target = target
                .map_err(|_| "a symlink's target is not UTF-8")?
                .to_owned();
            if header.target.contains('\0') {
                return Err("a symlink's target has a NUL in it");
            }
            (content, size) = (Content::Pieces(Vec::new()), 0);
        }
        let header = header.checked().map_err(|_| "a mode is not of a file")?;
        self.source = None;
        let target = Target::File {
            header,
            size,
            content,
        };
        self.recipes.push(Recipe { object, target });
        Ok(())
    }

    fn begin(&mut self) -> Result<(), Wrong> {
        let object = self.next_object()?;
        if object.kind != ObjectKind::File {
            return Err("it begins a file where the part lists another object");
        }
        let header = self.attributes()?;
        if header.mode & TYPE_MASK != TYPE_FILE {
            return Err("it begins a file that is no regular one");
        }
        let header = header.checked().map_err(|_| "a mode is not of a file")?;
        self.open = Some(Open {
            object,
            header,
            size: self.number()?,
            written: 0,
            pieces: Vec::new(),
            patch: None,
        });
        Ok(())
    }

    fn write(&mut self) -> Result<(), Wrong> {
        let (len, offset) = (self.number()?, self.number()?);
        let piece = match self.source {
            Some(from) => {
                offset.checked_add(len).ok_or("a number is too large")?;
                Piece::Copy { from, offset, len }
            }
            None => Piece::Data(self.range(offset, len)?),
        };
        let open = self
            .open
            .as_mut()
            .ok_or("it writes where no file is open")?;
        if open.patch.is_some() {
            return Err("it writes to a file that a patch has filled");
        }
        let written = open.written.checked_add(len);
        open.written = written
            .filter(|w| *w <= open.size)
            .ok_or("it writes beyond the size of the file")?;
        open.pieces.push(piece);
        Ok(())
    }

    fn set_source(&mut self) -> Result<(), Wrong> {
        let offset = self.number()?;
        let range = self.range(offset, 32)?;
        let digest = Checksum::decode(&self.part.data()[range]);
        self.source = Some(digest.map_err(|_| "it leads outside of the data")?);
        Ok(())
    }

    fn patch(&mut self) -> Result<(), Wrong> {
        let (offset, len) = (self.number()?, self.number()?);
        let range = self.range(offset, len)?;
        let source = self.source.ok_or("it patches without a source")?;
        let open = self
            .open
            .as_mut()
            .ok_or("it patches where no file is open")?;
        if !open.pieces.is_empty() || open.patch.is_some() {
            return Err("it patches a file that has content already");
        }
        open.patch = Some((source, range));
        open.written = open.size;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Wrong> {
        let open = self.open.take().ok_or("it closes where no file is open")?;
        if open.written != open.size {
            return Err("it ends a file before its size is reached");
        }
        let content = match open.patch {
            Some((source, range)) => Content::Patch(source, range),
            None => Content::Pieces(open.pieces),
        };
        self.source = None;
        self.recipes.push(Recipe {
            object: open.object,
            target: Target::File {
                header: open.header,
                size: open.size,
                content,
            },
        });
        Ok(())
    }
}
