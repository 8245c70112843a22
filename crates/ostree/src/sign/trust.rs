//! What is accepted: keys of one kind.

use std::fmt;

use super::{Gpg, GpgSignature, KeySet, PublicKey, Scheme, SignError, dummy, signatures_of};
use crate::format::Metadata;

/// The keys of one kind of which one must vouch.
#[derive(Debug, Clone)]
pub enum Trust {
    /// These Ed25519 keys.
    Ed25519(KeySet),
    /// The OpenPGP keys in these keyrings.
    Gpg(Gpg),
    /// See [`Scheme::Dummy`].
    Dummy(Vec<String>),
}

/// Who vouches.
#[derive(Debug, Clone)]
pub enum Vouched {
    /// The owner of this key.
    Ed25519(PublicKey),
    /// The makers of these signatures, of which one at least is good.
    Gpg(Vec<GpgSignature>),
    /// Nobody.
    Dummy,
}

impl fmt::Display for Vouched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ed25519(key) => write!(f, "the ed25519 key {key}"),
            Self::Gpg(signatures) => {
                let good = signatures.iter().find(|s| s.is_good());
                let (key, user) = good.map_or(("", ""), |s| (&s.key, &s.user));
                write!(f, "the OpenPGP key {key} ({user})")
            }
            Self::Dummy => write!(f, "a dummy"),
        }
    }
}

impl Trust {
    /// The kind of signature that it looks at.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Ed25519(_) => Scheme::Ed25519,
            Self::Gpg(_) => Scheme::Gpg,
            Self::Dummy(_) => Scheme::Dummy,
        }
    }

    /// Checks that a signature in `metadata` vouches for `data`.
    ///
    /// # Errors
    /// That none does, and why.
    pub fn verify(&self, data: &[u8], metadata: &Metadata) -> Result<Vouched, SignError> {
        let signatures = signatures_of(metadata, self.scheme())?;
        if signatures.is_empty() {
            return Err(SignError::Unsigned(vec![self.scheme()]));
        }
        match self {
            Self::Ed25519(keys) => keys.verify(data, &signatures).map(Vouched::Ed25519),
            Self::Gpg(gpg) => gpg.verify(data, &signatures).map(Vouched::Gpg),
            Self::Dummy(keys) => {
                dummy::check_enabled()?;
                let good = |key: &String| signatures.contains(&key.as_bytes());
                match keys.iter().any(good) {
                    true => Ok(Vouched::Dummy),
                    false => Err(SignError::NoneGood {
                        scheme: Scheme::Dummy,
                        found: signatures.len(),
                        why: "no key is the same text".to_owned(),
                        keys: keys.clone(),
                        signatures: Vec::new(),
                    }),
                }
            }
        }
    }
}
