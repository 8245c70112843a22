//! To the disk: how a file looks in each mode of repository, and as a copy.

use std::io::{self, Write};
use std::path::Path;

use durable::{Attributes, Doing, Fs, NewFile};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::reader::OSTREEMETA;
use crate::config::{Config, RepoMode};
use crate::format::FileHeader;
use crate::{Error, Result};

/// Writes the content of a file to what it is given.
pub(super) type Fill<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<io::Result<()>>;

/// Writes a file object at `path`, which must not exist.
pub(super) fn write_object(
    fs: &dyn Fs,
    config: &Config,
    path: &Path,
    header: &FileHeader,
    size: u64,
    fill: Fill<'_>,
) -> Result<()> {
    match config.mode {
        RepoMode::Bare => write_bare(fs, path, header, fill),
        RepoMode::BareUserOnly => write_bare_user_only(fs, path, header, fill),
        RepoMode::BareUser => write_bare_user(fs, path, header, fill),
        RepoMode::Archive => {
            let mut file = fs.create(path, 0o644).doing("create", path)?;
            let head = FileHeader::framed(&header.encode_archive(size));
            file.write_all(&head).doing("write", path)?;
            if !header.is_symlink() {
                let level = Compression::new(config.zlib_level);
                let mut deflate = DeflateEncoder::new(file, level);
                fill(&mut deflate)?.doing("write", path)?;
                file = deflate.finish().doing("write", path)?;
            }
            Ok(file.flush().doing("write", path)?)
        }
    }
}

/// Owner, mode and extended attributes as the header has them; no time.
fn true_attributes(header: &FileHeader) -> Attributes {
    Attributes {
        owner: Some((header.uid, header.gid)),
        mode: Some(header.mode & 0o7777),
        xattrs: header.xattrs.as_slice().to_vec(),
        mtime: None,
    }
}

/// A file has attributes in no order of its own: what is not sorted would be read back as
/// another object.
fn check_order(header: &FileHeader) -> Result<()> {
    match header.xattrs.are_sorted() {
        true => Ok(()),
        false => Err(Error::UnsortedXattrs),
    }
}

fn write_bare(fs: &dyn Fs, path: &Path, header: &FileHeader, fill: Fill<'_>) -> Result<()> {
    check_order(header)?;
    if header.is_symlink() {
        fs.symlink(Path::new(&header.target), path)
            .doing("create the symlink", path)?;
        return Ok(fs
            .set_attributes(path, &true_attributes(header))
            .doing("set the attributes of", path)?);
    }
    let mut file = create_as(fs, path, header)?;
    fill(&mut *file)?.doing("write", path)?;
    seal(&mut *file, RepoMode::Bare, header, path)
}

/// Creates a file with the mode that it is to have, mostly: so that it need not be
/// changed. Who may not write when it is whole may not before.
fn create_as(fs: &dyn Fs, path: &Path, header: &FileHeader) -> Result<Box<dyn NewFile>> {
    let mode = header.mode & 0o755;
    Ok(fs.create(path, mode).doing("create", path)?)
}

/// Gives a written file object what it has besides its content.
pub(super) fn seal(
    file: &mut dyn NewFile,
    mode: RepoMode,
    header: &FileHeader,
    path: &Path,
) -> Result<()> {
    match mode {
        RepoMode::Bare => {
            check_order(header)?;
            let mut attributes = true_attributes(header);
            attributes.mtime = Some(0);
            finish(file, &attributes, path)
        }
        RepoMode::BareUser => {
            // Attributes can only be set while the file is writable.
            let attributes = Attributes {
                xattrs: vec![(OSTREEMETA.to_vec(), header.ostreemeta())],
                ..Attributes::default()
            };
            finish(file, &attributes, path)?;
            let mode = match header.is_symlink() {
                true => 0o644,
                false => bare_user_mode(header.mode),
            };
            let attributes = Attributes {
                mode: Some(mode),
                mtime: Some(0),
                ..Attributes::default()
            };
            finish(file, &attributes, path)
        }
        RepoMode::BareUserOnly => {
            let attributes = Attributes {
                mode: Some(header.mode & BARE_USER_ONLY_BITS),
                mtime: Some(0),
                ..Attributes::default()
            };
            finish(file, &attributes, path)
        }
        RepoMode::Archive => {
            let attributes = Attributes {
                mode: Some(0o644),
                ..Attributes::default()
            };
            finish(file, &attributes, path)
        }
    }
}

/// The mode bits that a file in a bare-user-only repository may have.
pub(crate) const BARE_USER_ONLY_BITS: u32 = 0o775;

/// The mode of a file in a bare-user repository: readable and without the bits
/// that would matter to anybody else.
fn bare_user_mode(mode: u32) -> u32 {
    (mode & 0o775) | 0o400
}

fn write_bare_user(fs: &dyn Fs, path: &Path, header: &FileHeader, fill: Fill<'_>) -> Result<()> {
    let mut file = fs.create(path, 0o644).doing("create", path)?;
    if header.is_symlink() {
        file.write_all(header.target.as_bytes())
            .doing("write", path)?;
        file.write_all(&[0]).doing("write", path)?;
    } else {
        fill(&mut *file)?.doing("write", path)?;
    }
    seal(&mut *file, RepoMode::BareUser, header, path)
}

/// Writes a file without owner and attributes.
fn write_bare_user_only(
    fs: &dyn Fs,
    path: &Path,
    header: &FileHeader,
    fill: Fill<'_>,
) -> Result<()> {
    if header.is_symlink() {
        return Ok(fs
            .symlink(Path::new(&header.target), path)
            .doing("create the symlink", path)?);
    }
    let mut file = create_as(fs, path, header)?;
    fill(&mut *file)?.doing("write", path)?;
    seal(&mut *file, RepoMode::BareUserOnly, header, path)
}

fn finish(file: &mut dyn NewFile, attributes: &Attributes, path: &Path) -> Result<()> {
    file.flush().doing("write", path)?;
    Ok(file.set(attributes).doing("set the attributes of", path)?)
}

/// Writes a checked-out file at `path`: with its owner and attributes, or in user
/// mode with neither.
pub(crate) fn write_copy(
    fs: &dyn Fs,
    path: &Path,
    header: &FileHeader,
    user_mode: bool,
    fill: Fill<'_>,
) -> Result<()> {
    let mut attributes = true_attributes(header);
    if user_mode {
        // Set-user-id of another owner would be one of ours.
        attributes.mode = Some(header.mode & 0o1777);
        attributes.owner = None;
        attributes.xattrs.clear();
    }
    if header.is_symlink() {
        fs.symlink(Path::new(&header.target), path)
            .doing("create the symlink", path)?;
        return Ok(fs
            .set_attributes(path, &attributes)
            .doing("set the attributes of", path)?);
    }
    attributes.mtime = Some(0);
    let mut file = create_as(fs, path, header)?;
    fill(&mut *file)?.doing("write", path)?;
    finish(&mut *file, &attributes, path)
}

/// Whether a checkout may consist of hard links to the objects.
pub(crate) fn link_allowed(mode: RepoMode, user_mode: bool) -> bool {
    match mode {
        RepoMode::Bare => !user_mode,
        RepoMode::BareUser | RepoMode::BareUserOnly => user_mode,
        RepoMode::Archive => false,
    }
}
