//! From the path of a request to a file of the repository.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// What of a repository anybody may see; the rest (keys, state, what is being
/// written) is nobody's business.
const SERVED: [&str; 8] = [
    "config",
    "summary",
    "summary.sig",
    "summaries",
    "objects",
    "refs",
    "deltas",
    "delta-indexes",
];

/// The repository's directory, from which all files are opened.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = Self(rustix::fs::open(path, flags, Mode::empty())?);
        root.file("config").map(|_| root)
    }

    /// Opens a regular file below. Symlinks are followed, but not out of here.
    pub(crate) fn file(&self, relative: &str) -> io::Result<(File, Metadata)> {
        // Without NONBLOCK, opening a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let fd = rustix::fs::openat2(&self.0, relative, flags, Mode::empty(), within)?;
        let file = File::from(fd);
        let metadata = file.metadata()?;
        match metadata.is_file() {
            true => Ok((file, metadata)),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The path in the repository that a URL's path means; `None` for what is not served.
pub(crate) fn relative(url_path: &str) -> Option<String> {
    let decoded = decode(url_path.strip_prefix('/')?)?;
    let mut parts = decoded.split('/');
    if !parts.clone().all(is_plain) || !SERVED.contains(&parts.next()?) {
        return None;
    }
    Some(decoded)
}

/// Whether a part of a path is a name in its directory, and not hidden.
fn is_plain(part: &str) -> bool {
    !part.is_empty() && !part.starts_with('.') && !part.bytes().any(|b| b < b' ' || b == 0x7f)
}

/// Replaces `%XX`.
fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let served = [
            ("/summary", "summary"),
            ("/objects/ab/cd.filez", "objects/ab/cd.filez"),
            ("/refs/heads/a%2Db", "refs/heads/a-b"),
            (
                "/deltas/Wa/x_y-z+w/superblock",
                "deltas/Wa/x_y-z+w/superblock",
            ),
        ];
        for (url, path) in served {
            assert_eq!(relative(url).as_deref(), Some(path));
        }
        for bad in [
            "",
            "/",
            "summary",
            "/tmp/x",
            "/state/x",
            "/origin.trustedkeys.gpg",
            "/.lock",
            "/objects/../config",
            "/objects/%2e%2e/config",
            "/objects/%2E%2E%2Fconfig",
            "/objects//x",
            "/objects/",
            "/objects/.x",
            "/objects/a%00",
            "/objects/a%0a",
            "/objects/%",
            "/objects/%4",
            "/objects/%+4",
            "/objects/%ff",
            "//etc/passwd",
        ] {
            assert_eq!(relative(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_leads_out(path in "(/|\\.|%2e|%2f|%5c|\\\\|refs|objects|a){0,12}") {
            if let Some(found) = relative(&path) {
                proptest::prop_assert!(!found.split('/').any(|p| p.is_empty() || p.starts_with('.')));
            }
        }
    }
}
