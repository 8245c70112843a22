//! Who signs.

use super::{Gpg, Scheme, SecretKey, SignError, add_signature, dummy};
use crate::Metadata;

/// A key that signs, of whatever kind.
#[derive(Debug, Clone)]
pub enum Signer {
    /// An Ed25519 key.
    Ed25519(SecretKey),
    /// An OpenPGP key that `gpg` finds by this name.
    Gpg {
        /// How `gpg` is to be run.
        gpg: Gpg,
        /// The key: its fingerprint, identifier or owner.
        key: String,
    },
    /// See [`Scheme::Dummy`].
    Dummy(String),
}

impl Signer {
    /// The signer of a kind whose secret key, or whose name for `gpg`, is this text.
    ///
    /// # Errors
    /// That the text is no such key.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, SignError> {
        Ok(match scheme {
            Scheme::Ed25519 => Self::Ed25519(text.parse()?),
            Scheme::Gpg => Self::Gpg {
                gpg: Gpg::default(),
                key: text.to_owned(),
            },
            Scheme::Dummy => {
                dummy::check_enabled()?;
                Self::Dummy(text.to_owned())
            }
        })
    }

    /// The kind of its signatures.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Ed25519(_) => Scheme::Ed25519,
            Self::Gpg { .. } => Scheme::Gpg,
            Self::Dummy(_) => Scheme::Dummy,
        }
    }

    /// Signs.
    ///
    /// # Errors
    /// What `gpg` says.
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Ed25519(key) => Ok(key.sign(data)),
            Self::Gpg { gpg, key } => gpg.sign(key, data),
            Self::Dummy(text) => Ok(text.clone().into_bytes()),
        }
    }
}

/// Signs bytes by all of these; what a `summary.sig` holds. The signatures join those
/// in `before`.
///
/// # Errors
/// The signers'.
pub fn sign_data(
    data: &[u8],
    signers: &[Signer],
    before: Option<Metadata>,
) -> Result<Metadata, SignError> {
    let mut metadata = before.unwrap_or_default();
    for signer in signers {
        add_signature(&mut metadata, signer.scheme(), signer.sign(data)?)?;
    }
    Ok(metadata)
}
