//! Metalinks: a small file that says how long another is, what its digests are, and
//! where it lies. `docs/pull.md` has the parts of the format that count.

use std::cmp::Reverse;

use ostree::MAX_SUMMARY;
use reqwest::Url;
use sha2::{Digest as _, Sha256, Sha512};

use crate::address::Base;
use crate::xml::{BadXml, Document, Event};

/// The longest metalink that is read, in bytes.
pub(crate) const MAX_METALINK: u64 = 1 << 20;
/// The most addresses that are used.
const MAX_URLS: usize = 32;

/// Why a metalink cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMetalink {
    /// It is not text.
    #[error("it is not UTF-8")]
    Text,
    /// It is no XML that is taken.
    #[error(transparent)]
    Xml(#[from] BadXml),
    /// It is another kind of document.
    #[error("it is a document of another kind")]
    Kind,
    /// It says nothing of the file.
    #[error("it names no file {0:?}")]
    NoFile(&'static str),
    /// The length is no number, is missing, or is more than is read.
    #[error("it does not say how long the file is, up to {MAX_SUMMARY} bytes")]
    Size,
    /// A digest is none.
    #[error("what it has for the digest {0} is none")]
    Digest(&'static str),
    /// There is no digest that can be checked.
    #[error("it has neither a SHA-256 nor a SHA-512 digest of the file")]
    NoDigest,
    /// There is no address that can be used.
    #[error("it names no address over HTTP")]
    NoUrl,
}

/// Why a file is not that of a metalink.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotTheFile {
    /// It is not there.
    #[error("the server does not have it")]
    Absent,
    /// It is longer or shorter.
    #[error("it is {found} bytes long instead of {wanted}")]
    Size {
        /// Bytes that were to come.
        wanted: u64,
        /// Bytes that came.
        found: u64,
    },
    /// It has another digest.
    #[error("its digest is {found} instead of {wanted}")]
    Digest {
        /// The one that it was to have.
        wanted: String,
        /// The one that it has.
        found: String,
    },
}

/// What a metalink says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metalink {
    /// Its length in bytes.
    pub(crate) size: u64,
    sha256: Option<String>,
    sha512: Option<String>,
    /// Where it is, the preferred address first.
    pub(crate) urls: Vec<Url>,
}

/// What has been read of it.
#[derive(Debug, Default)]
struct Found {
    size: Option<u64>,
    sha256: Option<String>,
    sha512: Option<String>,
    urls: Vec<(u32, Url)>,
}

impl Metalink {
    /// Reads what it says of a file.
    ///
    /// # Errors
    /// It is no metalink, or says too little of the file.
    pub fn parse(bytes: &[u8], file: &'static str) -> Result<Self, BadMetalink> {
        let text = std::str::from_utf8(bytes).map_err(|_| BadMetalink::Text)?;
        let mut document = Document::new(text);
        let mut found: Option<Found> = None;
        // The elements that are open; the attributes and text of the last one.
        let mut path: Vec<String> = Vec::new();
        let (mut attributes, mut content) = (Vec::new(), String::new());
        let mut inside = false;
        while let Some(event) = document.next()? {
            match event {
                Event::Open(name, of_it) => {
                    path.push(name);
                    (attributes, content) = (of_it, String::new());
                    if path[0] != "metalink" {
                        return Err(BadMetalink::Kind);
                    }
                    if path == ["metalink", "files", "file"] {
                        inside = found.is_none() && get(&attributes, "name") == Some(file);
                        found = found.or_else(|| inside.then(Found::default));
                    }
                }
                Event::Text(text) => content += &text,
                Event::Close => {
                    if let (true, Some(found)) = (inside, &mut found) {
                        found.take(&path, &attributes, content.trim())?;
                    }
                    path.pop();
                    inside &= path.len() > 2;
                    content.clear();
                }
            }
        }
        found.ok_or(BadMetalink::NoFile(file))?.whole()
    }

    /// The repositories that the file lies in, from this one of the addresses on.
    pub(crate) fn bases(&self, first: usize) -> Vec<Base> {
        let (before, from_it) = self.urls.split_at(first);
        from_it.iter().chain(before).map(Base::of_file).collect()
    }

    /// Whether this is the file.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), NotTheFile> {
        let (wanted, found) = (self.size, bytes.len() as u64);
        if found != wanted {
            return Err(NotTheFile::Size { wanted, found });
        }
        if let Some(wanted) = &self.sha512 {
            same(wanted, &Sha512::digest(bytes))?;
        }
        match &self.sha256 {
            Some(wanted) => same(wanted, &Sha256::digest(bytes)),
            None => Ok(()),
        }
    }
}

fn get<'a>(attributes: &'a [(String, String)], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|(k, _)| *k == key);
    found.map(|(_, value)| value.as_str())
}

fn same(wanted: &str, found: &[u8]) -> Result<(), NotTheFile> {
    let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
    match found == wanted {
        true => Ok(()),
        false => Err(NotTheFile::Digest {
            wanted: wanted.to_owned(),
            found,
        }),
    }
}

/// A digest in lower case, if it is one of so many bytes.
fn digest(text: &str, bytes: usize, kind: &'static str) -> Result<Option<String>, BadMetalink> {
    let is_hex = text.len() == 2 * bytes && text.bytes().all(|b| b.is_ascii_hexdigit());
    match is_hex {
        true => Ok(Some(text.to_ascii_lowercase())),
        false => Err(BadMetalink::Digest(kind)),
    }
}

impl Found {
    /// Takes in an element of the file that has ended.
    fn take(
        &mut self,
        path: &[String],
        attributes: &[(String, String)],
        text: &str,
    ) -> Result<(), BadMetalink> {
        let below: Vec<&str> = path.iter().skip(3).map(String::as_str).collect();
        match below[..] {
            ["size"] => {
                let size = text.parse().ok().filter(|size| *size <= MAX_SUMMARY);
                self.size = Some(size.ok_or(BadMetalink::Size)?);
            }
            ["verification", "hash"] => match get(attributes, "type") {
                Some("sha256") => self.sha256 = digest(text, 32, "sha256")?,
                Some("sha512") => self.sha512 = digest(text, 64, "sha512")?,
                _ => {}
            },
            ["resources", "url"] => {
                let preference = get(attributes, "preference").and_then(|p| p.parse().ok());
                let url = Url::parse(text).ok();
                let usable = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
                if let Some(url) = url.filter(usable) {
                    self.urls.push((preference.unwrap_or(0), url));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn whole(mut self) -> Result<Metalink, BadMetalink> {
        if self.sha256.is_none() && self.sha512.is_none() {
            return Err(BadMetalink::NoDigest);
        }
        if self.urls.is_empty() {
            return Err(BadMetalink::NoUrl);
        }
        self.urls
            .sort_by_key(|(preference, _)| Reverse(*preference));
        let urls = self.urls.into_iter().map(|(_, url)| url);
        Ok(Metalink {
            size: self.size.ok_or(BadMetalink::Size)?,
            sha256: self.sha256,
            sha512: self.sha512,
            urls: urls.take(MAX_URLS).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
<file name="summary">
  <size>3</size>
  <verification>
    <hash type="md5">x</hash>
    <hash type="sha256">2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae</hash>
  </verification>
  <resources maxconnections="1">
    <url type="http" preference="7">http://b/r/summary</url>
    <url type="http" preference="100" > https://a/r/summary?x=1&amp;y=2 </url>
    <url>http://c/summary</url>
    <url type="rsync" preference="99">rsync://d/summary</url>
  </resources>
</file>"#;

    fn metalink(files: &str) -> String {
        format!("<?xml version='1.0'?>\n<metalink version='3.0'><files>{files}</files></metalink>")
    }

    fn parse(text: &str) -> Result<Metalink, BadMetalink> {
        Metalink::parse(text.as_bytes(), "summary")
    }

    #[test]
    fn what_counts_is_read() {
        let other = FILE
            .replace("\"summary\"", "\"other\"")
            .replace("<size>3", "<size>9");
        let nested = "<deeply><nested><size>7</size></nested></deeply>";
        let all = metalink(&format!(
            "{nested}{other}{FILE}{}",
            FILE.replace("<size>3", "<size>4")
        ));
        let found = parse(&all).unwrap();
        assert_eq!(found.size, 3);
        let urls: Vec<_> = found.urls.iter().map(Url::as_str).collect();
        assert_eq!(
            urls,
            [
                "https://a/r/summary?x=1&y=2",
                "http://b/r/summary",
                "http://c/summary"
            ]
        );
        assert_eq!(found.check(b"foo"), Ok(()));
        let short = found.check(b"fo");
        assert_eq!(
            short,
            Err(NotTheFile::Size {
                wanted: 3,
                found: 2
            })
        );
        assert!(matches!(
            found.check(b"bar"),
            Err(NotTheFile::Digest { .. })
        ));
    }

    #[test]
    fn both_digests_must_fit() {
        let sha512 = format!(
            "</verification><verification><hash type='sha512'>{}</hash>",
            "0".repeat(128)
        );
        let found = parse(&metalink(&FILE.replacen(
            "</verification>",
            &(sha512 + "</verification>"),
            1,
        )));
        assert!(found.unwrap().check(b"foo").is_err());
    }

    #[test]
    fn what_is_refused() {
        use BadMetalink as Bad;
        let without = |from: &str, to: &str| metalink(&FILE.replace(from, to));
        let cases = [
            ("<files/>".to_owned(), Bad::Kind),
            (metalink(""), Bad::NoFile("summary")),
            (without("<size>3</size>", ""), Bad::Size),
            (without("<size>3", "<size>-3"), Bad::Size),
            (without("<size>3", "<size>999999999999"), Bad::Size),
            (without("2c26", "bacon"), Bad::Digest("sha256")),
            (without("2c26", ""), Bad::Digest("sha256")),
            (without("sha256", "sha1"), Bad::NoDigest),
            (without("url", "link"), Bad::NoUrl),
            (without("http", "gopher"), Bad::NoUrl),
        ];
        for (text, why) in cases {
            assert_eq!(parse(&text), Err(why), "{text}");
        }
        assert_eq!(Metalink::parse(b"\xff", "summary"), Err(Bad::Text));
    }

    #[test]
    fn many_addresses_are_bounded() {
        let many = "<url>http://a/summary</url>".repeat(1000);
        let text = metalink(&FILE.replace("<url>http://c/summary</url>", &many));
        assert_eq!(parse(&text).unwrap().urls.len(), MAX_URLS);
    }

    /// Every cut and every byte changed: an answer, and never another length.
    #[test]
    fn any_damage_is_survived() {
        let text = metalink(FILE);
        for len in 0..text.len() {
            assert!(parse(&text[..len]).is_err(), "{len}");
        }
        let mut bytes = text.clone().into_bytes();
        for at in 0..bytes.len() {
            for with in *b"<>/&;\"' a0\x00\xff" {
                let was = std::mem::replace(&mut bytes[at], with);
                if let Ok(found) = Metalink::parse(&bytes, "summary") {
                    assert!(found.size <= MAX_SUMMARY && !found.urls.is_empty());
                }
                bytes[at] = was;
            }
        }
    }
}
