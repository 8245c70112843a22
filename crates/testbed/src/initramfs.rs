//! Initramfs images, changed without unpacking them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Result;
use crate::error::Doing;

/// What a header of a `newc` archive's member begins with.
const MAGIC: &str = "070701";
/// A regular file, for its owner to run too.
const MODE: u32 = 0o100_755;

/// Puts one more file into the initramfs of a prepared tree, or another in its place: the
/// kernel unpacks archives that follow each other, and the last one wins. The image is
/// replaced, since other trees share it.
///
/// # Errors
/// The disk's.
pub(crate) fn extend(tree: &Path, path: &str, text: &str) -> Result<()> {
    let image = find(tree)?;
    let mut bytes = fs::read(&image).doing("read", &image)?;
    // The kernel looks for the next archive at multiples of four.
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    member(&mut bytes, path, text.as_bytes(), MODE);
    member(&mut bytes, "TRAILER!!!", b"", 0);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    fs::remove_file(&image).doing("remove", &image)?;
    fs::write(&image, bytes).doing("write", &image)
}

fn find(tree: &Path) -> Result<PathBuf> {
    let modules = tree.join("usr/lib/modules");
    let entries = fs::read_dir(&modules).doing("list", &modules)?;
    let images = entries.filter_map(|e| Some(e.ok()?.path().join("initramfs.img")));
    let none = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let mut images = images.filter(|image| image.exists());
    images
        .next()
        .ok_or_else(none)
        .doing("find an initramfs in", &modules)
}

/// Appends one member; its parent directories must be there already.
fn member(archive: &mut Vec<u8>, name: &str, content: &[u8], mode: u32) {
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let fields = [
        0,
        mode,
        0,
        0,
        1,
        0,
        length(content.len()),
        0,
        0,
        0,
        0,
        length(name.len() + 1),
        0,
    ];
    archive.extend(MAGIC.as_bytes());
    for field in fields {
        archive.extend(format!("{field:08x}").as_bytes());
    }
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_found_by_cpio() {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join("usr/lib/modules/6.1");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("initramfs.img"), [7; 1001]).unwrap();
        extend(tmp.path(), "etc/x", "hello\n").unwrap();
        let bytes = fs::read(dir.join("initramfs.img")).unwrap();
        assert_eq!(bytes[..1001], [7; 1001]);
        assert_eq!(bytes.len() % 512, 0);
        assert_eq!(&bytes[1024..1030], MAGIC.as_bytes());
        if !testing::have(&["cpio"], &[]) {
            return;
        }
        let archive = tmp.path().join("more.cpio");
        fs::write(&archive, &bytes[1024..]).unwrap();
        let mut cpio = std::process::Command::new("cpio");
        cpio.args(["-i", "--quiet", "--to-stdout", "etc/x"]);
        let out = cpio.stdin(fs::File::open(&archive).unwrap()).output();
        assert_eq!(out.unwrap().stdout, b"hello\n");
    }
}
