//! Where things are in the file.

use sha2::{Digest, Sha256};

/// The file's first bytes.
pub(crate) const MAGIC: &[u8; 16] = b"backstop-bundle\n";
/// The file's last bytes: the format's version.
pub(crate) const END: &[u8; 8] = b"bundle-1";
/// What a signature is made over begins so, so that it means nothing elsewhere.
const DOMAIN: &[u8] = b"backstop-bundle 1\n";
/// The content is cut into pieces of this length; the last may be shorter.
pub(crate) const PIECE: usize = 1 << 20;
/// A bundle has no more pieces: 128 GiB.
pub(crate) const MOST_PIECES: u32 = 1 << 17;
/// No description is longer.
pub(crate) const LONGEST_DESCRIPTION: u32 = 1 << 16;
/// A bundle has no more signatures.
pub(crate) const MOST_SIGNATURES: u32 = 16;
/// A digest's length.
pub(crate) const DIGEST: usize = 32;
/// A signature's length.
pub(crate) const SIGNATURE: usize = 64;

/// The fixed end of the file, which says where everything is. All numbers are
/// little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Length of the content as written.
    pub(crate) content: u64,
    /// Length of the description.
    pub(crate) description: u32,
    /// Number of pieces.
    pub(crate) pieces: u32,
    /// Number of signatures.
    pub(crate) signatures: u32,
}

impl Trailer {
    pub(crate) const LEN: usize = 32;

    pub(crate) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.content.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.description.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.pieces.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.signatures.to_le_bytes());
        bytes[24..].copy_from_slice(END);
        bytes
    }

    /// Reads the end of a file of this length. Exactly one trailer fits a file.
    pub(crate) fn parse(bytes: &[u8; Self::LEN], file: u64) -> Result<Self, String> {
        if bytes[24..] != END[..] {
            return Err("its end is not that of a bundle".to_owned());
        }
        let number = |at: usize| {
            let mut four = [0; 4];
            four.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(four)
        };
        let mut content = [0; 8];
        content.copy_from_slice(&bytes[..8]);
        let trailer = Self {
            content: u64::from_le_bytes(content),
            description: number(8),
            pieces: number(12),
            signatures: number(16),
        };
        trailer.check(number(20), file)?;
        Ok(trailer)
    }

    fn check(&self, reserved: u32, file: u64) -> Result<(), String> {
        let most = u64::from(MOST_PIECES) * PIECE as u64;
        if reserved != 0
            || self.content > most
            || self.description > LONGEST_DESCRIPTION
            || self.signatures > MOST_SIGNATURES
        {
            return Err("a length is beyond its limit".to_owned());
        }
        if u64::from(self.pieces) != self.content.div_ceil(PIECE as u64) {
            return Err("the number of pieces does not fit the content".to_owned());
        }
        let whole = self.index_at() + self.index_len() + Self::LEN as u64;
        if whole == file {
            Ok(())
        } else {
            Err(format!("it should be {whole} bytes long, and is {file}"))
        }
    }

    /// Where the index is: description, digests, signatures.
    pub(crate) fn index_at(&self) -> u64 {
        MAGIC.len() as u64 + self.content
    }

    pub(crate) fn index_len(&self) -> u64 {
        u64::from(self.description)
            + u64::from(self.pieces) * DIGEST as u64
            + u64::from(self.signatures) * SIGNATURE as u64
    }

    /// What is signed. The number of signatures is no part of it, so that one
    /// more can be added.
    pub(crate) fn signed(self, description: &[u8], digests: &[u8]) -> Vec<u8> {
        let unsigned = Self {
            signatures: 0,
            ..self
        };
        let mut hash = Sha256::new();
        hash.update(unsigned.to_bytes());
        hash.update(description);
        hash.update(digests);
        [DOMAIN, &hash.finalize()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: Trailer = Trailer {
        content: PIECE as u64 + 1,
        description: 10,
        pieces: 2,
        signatures: 1,
    };

    fn length(trailer: &Trailer) -> u64 {
        trailer.index_at() + trailer.index_len() + Trailer::LEN as u64
    }

    #[test]
    fn a_trailer_reads_back_and_fits_one_length() {
        let bytes = SOUND.to_bytes();
        assert_eq!(Trailer::parse(&bytes, length(&SOUND)), Ok(SOUND));
        assert!(Trailer::parse(&bytes, length(&SOUND) + 1).is_err());
    }

    #[test]
    fn limits() {
        let spoilt: &[fn(&mut Trailer)] = &[
            |t| t.pieces = 3,
            |t| t.pieces = 1,
            |t| t.content = u64::MAX,
            |t| t.description = u32::MAX,
            |t| t.signatures = MOST_SIGNATURES + 1,
        ];
        for spoil in spoilt {
            let mut trailer = SOUND;
            spoil(&mut trailer);
            assert!(Trailer::parse(&trailer.to_bytes(), length(&SOUND)).is_err());
        }
        for at in 20..32 {
            let mut bytes = SOUND.to_bytes();
            bytes[at] ^= 1;
            assert!(Trailer::parse(&bytes, length(&SOUND)).is_err(), "byte {at}");
        }
    }
}
