//! The state sector: 512 bytes in which a bootloader counts attempts.
//!
//! It is a GRUB environment block of exactly one disk sector, so that a write
//! of it happens whole or not at all, and every value has a fixed width, so
//! that GRUB rewrites it without moving anything. `docs/formats/boot-state.md`
//! shows it byte by byte.

use std::fmt;

use crate::config::ConfigId;

/// Length of the sector in bytes.
pub const SIZE: usize = 512;
/// The most attempts that one digit can count.
pub const MAX_ATTEMPTS: u8 = 9;

const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";
/// The last line. Without it the file was cut.
const END: &[u8] = b"backstop_end=1\n";
/// What `backstop_failed` holds as long as nothing failed.
pub(crate) const NO_FAILURE: &str = "------";

/// Why a bootloader could not load the version on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LoadFailure {
    /// The kernel or an initrd is missing or empty.
    Missing,
    /// The digest of the kernel or of an initrd is not the published one.
    Digest,
    /// The bootloader refused the kernel.
    Kernel,
    /// The bootloader refused an initrd.
    Initrd,
}

impl LoadFailure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Missing, Self::Digest, Self::Kernel, Self::Initrd];

    /// The six letters that stand for it in the sector.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "absent",
            Self::Digest => "digest",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
        }
    }
}

impl fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "its kernel or initrd is missing",
            Self::Digest => "its kernel or initrd is damaged",
            Self::Kernel => "the bootloader refused its kernel",
            Self::Initrd => "the bootloader refused its initrd",
        })
    }
}

/// Why 512 bytes are no state sector. A bootloader boots the default then.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SectorError {
    /// Another length.
    #[error("the state sector is {0} bytes long, not 512")]
    Length(usize),
    /// No environment block at all.
    #[error("the state sector does not begin as a GRUB environment block")]
    Signature,
    /// A key is missing, there twice, or its value is none this version writes.
    #[error("the state sector has no valid {key}: {value:?}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What it holds, if it is there once.
        value: Option<String>,
    },
}

/// What the state sector says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateSector {
    /// The configuration it belongs to; for any other it means nothing.
    pub config: ConfigId,
    /// Attempts left, at most [`MAX_ATTEMPTS`].
    pub left: u8,
    /// How the last attempt failed to load, if the bootloader found out.
    pub failed: Option<LoadFailure>,
}

impl StateSector {
    /// The sector for a configuration whose trial may be attempted `left` times
    /// (more than [`MAX_ATTEMPTS`] count as that).
    #[must_use]
    pub fn fresh(config: ConfigId, left: u8) -> Self {
        let left = left.min(MAX_ATTEMPTS);
        Self {
            config,
            left,
            failed: None,
        }
    }

    /// The bytes to write, in place.
    #[must_use]
    pub fn encode(&self) -> [u8; SIZE] {
        let failed = self.failed.map_or(NO_FAILURE, LoadFailure::code);
        let text = format!(
            "backstop_version=1\nbackstop_config={}\nbackstop_left={}\nbackstop_failed={failed}\n",
            self.config,
            self.left.min(MAX_ATTEMPTS),
        );
        let mut sector = [b'#'; SIZE];
        let head = SIGNATURE.iter().chain(text.as_bytes());
        for (to, from) in sector.iter_mut().zip(head) {
            *to = *from;
        }
        let end = SIZE - END.len();
        sector[end - 1] = b'\n';
        sector[end..].copy_from_slice(END);
        sector
    }

    /// Reads the sector as GRUB reads it: keys in any order, unknown keys mean
    /// nothing. A key of ours may stand there once only: GRUB would read the
    /// last one and write the first, and so never count down.
    ///
    /// # Errors
    /// Another length, no environment block, or a value that is none of ours.
    pub fn parse(bytes: &[u8]) -> Result<Self, SectorError> {
        if bytes.len() != SIZE {
            return Err(SectorError::Length(bytes.len()));
        }
        let body = bytes
            .strip_prefix(SIGNATURE)
            .ok_or(SectorError::Signature)?;
        let variables = variables(body);
        let get = |key: &'static str| {
            let mut found = variables.iter().filter(|(k, _)| k == key.as_bytes());
            match (found.next(), found.next()) {
                (Some((_, v)), None) => Some(String::from_utf8_lossy(v).into_owned()),
                _ => None,
            }
        };
        expect("backstop_version", get("backstop_version"), "1")?;
        expect("backstop_end", get("backstop_end"), "1")?;
        Ok(Self {
            config: read("backstop_config", get("backstop_config"), |v| {
                v.parse().ok()
            })?,
            left: read("backstop_left", get("backstop_left"), digit)?,
            failed: read("backstop_failed", get("backstop_failed"), failure)?,
        })
    }
}

fn read<T>(
    key: &'static str,
    value: Option<String>,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, SectorError> {
    match value.as_deref().and_then(parse) {
        Some(parsed) => Ok(parsed),
        None => Err(SectorError::Value { key, value }),
    }
}

fn expect(key: &'static str, value: Option<String>, wanted: &str) -> Result<(), SectorError> {
    read(key, value, |v| (v == wanted).then_some(()))
}

fn digit(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [d @ b'0'..=b'9'] => Some(d - b'0'),
        _ => None,
    }
}

fn failure(text: &str) -> Option<Option<LoadFailure>> {
    if text == NO_FAILURE {
        return Some(None);
    }
    let known = LoadFailure::ALL.into_iter().find(|f| f.code() == text);
    known.map(Some)
}

/// The variables of an environment block in the order in which GRUB sets them:
/// a name runs to the next `=`, whatever it holds; a backslash takes the next
/// byte as it is; a value without a line end is no value; a NUL ends both.
fn variables(body: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        if rest[0] != b'#' {
            let Some(equals) = rest.iter().position(|b| *b == b'=') else {
                break;
            };
            let (value, taken) = value(&rest[equals + 1..]);
            let Some(value) = value else { break };
            found.push((until_nul(&rest[..equals]), until_nul(&value)));
            rest = &rest[equals + 1 + taken..];
        }
        let line_end = rest.iter().position(|b| *b == b'\n');
        rest = line_end.map_or(&[], |at| &rest[at + 1..]);
    }
    found
}

/// An unescaped value and how many bytes it took, up to its line end.
fn value(bytes: &[u8]) -> (Option<Vec<u8>>, usize) {
    let mut plain = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\n' => return (Some(plain), at),
            b'\\' => {
                plain.extend(bytes.get(at + 1));
                at += 2;
            }
            other => {
                plain.push(*other);
                at += 1;
            }
        }
    }
    (None, at)
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|b| *b != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(byte: u8) -> ConfigId {
        ConfigId::of(&[byte])
    }

    fn all_sectors() -> Vec<StateSector> {
        let failures = [None].into_iter().chain(LoadFailure::ALL.map(Some));
        failures
            .flat_map(|failed| {
                (0..=MAX_ATTEMPTS).map(move |left| StateSector {
                    config: id(left),
                    left,
                    failed,
                })
            })
            .collect()
    }

    #[test]
    fn every_sector_reads_back_and_is_one_sector_of_text() {
        for sector in all_sectors() {
            let bytes = sector.encode();
            assert_eq!(bytes.len(), 512);
            assert!(bytes.is_ascii());
            assert_eq!(StateSector::parse(&bytes).unwrap(), sector);
        }
    }

    #[test]
    fn every_value_has_a_fixed_place() {
        // Else GRUB would move bytes about when it counts.
        let shape = |s: &StateSector| {
            let bytes = s.encode();
            let at = |b: u8| (0..512).filter(|i| bytes[*i] == b).collect::<Vec<_>>();
            (at(b'='), at(b'\n'))
        };
        let all = all_sectors();
        assert!(all.iter().all(|s| shape(s) == shape(&all[0])));
    }

    #[test]
    fn cutting_anywhere_is_noticed() {
        let bytes = all_sectors()[3].encode();
        for len in 0..512 {
            assert!(StateSector::parse(&bytes[..len]).is_err(), "{len}");
            // A filesystem may as well leave zeros.
            let mut zeroed = bytes;
            zeroed[len..].fill(0);
            assert!(StateSector::parse(&zeroed).is_err(), "{len}");
        }
    }

    #[test]
    fn foreign_values_are_refused() {
        let good = String::from_utf8(StateSector::fresh(id(1), 3).encode().to_vec()).unwrap();
        let table = [
            ("version=1", "version=2"),
            ("left=3", "left=x"),
            ("left=3", "left= "),
            ("failed=------", "failed=-----x"),
            ("backstop_end=1", "backstop_end=0"),
            ("backstop_left", "backstop_lift"),
            ("# GRUB", "# grub"),
        ];
        for (from, to) in table {
            let bad = good.replacen(from, to, 1);
            assert_eq!(bad.len(), 512);
            assert!(StateSector::parse(bad.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn a_key_stands_there_once() {
        let mut bytes = StateSector::fresh(id(1), 3).encode();
        let line = b"\nbackstop_left=7\n";
        bytes[300..300 + line.len()].copy_from_slice(line);
        assert!(StateSector::parse(&bytes).is_err());
    }

    #[test]
    fn order_other_keys_and_escapes_are_read_as_in_grub() {
        let text = String::from_utf8(StateSector::fresh(id(1), 3).encode().to_vec()).unwrap();
        let moved = text.replacen("backstop_left=3\n", "", 1);
        let mut moved =
            moved.replacen("####################", "\nother=x\nbackstop_left=\\3\n#", 1);
        let end = moved.find("##\nbackstop_end").unwrap();
        while moved.len() < 512 {
            moved.insert(end, '#');
        }
        moved.replace_range(end..end + moved.len() - 512, "");
        let read = StateSector::parse(moved.as_bytes());
        assert_eq!(read, Ok(StateSector::fresh(id(1), 3)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 512)) {
            let mut with_head = bytes;
            let _ = StateSector::parse(&with_head);
            with_head[..SIGNATURE.len()].copy_from_slice(SIGNATURE);
            let _ = StateSector::parse(&with_head);
        }

        #[test]
        fn one_flipped_bit_never_gives_attempts(at in 0usize..512 * 8) {
            let before = StateSector::fresh(id(1), 0);
            let mut bytes = before.encode();
            bytes[at / 8] ^= 1 << (at % 8);
            if let Ok(after) = StateSector::parse(&bytes) {
                let digit = String::from_utf8_lossy(&before.encode()).find("left=").unwrap() + 5;
                // Only the digit itself can do that; a disk's own checksum guards it.
                prop_assert!(after.left == 0 || at / 8 == digit);
            }
        }
    }
}
