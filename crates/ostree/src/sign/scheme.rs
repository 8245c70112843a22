//! The kinds of signature, and how signatures lie in metadata.

use std::fmt;
use std::str::FromStr;

use super::SignError;
use crate::format::Metadata;
use crate::gvariant::{Malformed, Type, Value};

/// A kind of signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Ed25519, in this process.
    Ed25519,
    /// OpenPGP, by the programs `gpg` and `gpgv`.
    Gpg,
    /// None at all: the text of the "key" itself. Only where the environment
    /// has `OSTREE_DUMMY_SIGN_ENABLED`, for the test suite of `ostree`.
    Dummy,
}

impl Scheme {
    /// The key of these signatures in an `a{sv}`.
    #[must_use]
    pub fn metadata_key(self) -> &'static str {
        match self {
            Self::Ed25519 => "ostree.sign.ed25519",
            Self::Gpg => "ostree.gpgsigs",
            Self::Dummy => "ostree.sign.dummy",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519 => "ed25519",
            Self::Gpg => "gpg",
            Self::Dummy => "dummy",
        })
    }
}

impl FromStr for Scheme {
    type Err = SignError;
    fn from_str(text: &str) -> Result<Self, SignError> {
        match text {
            "ed25519" => Ok(Self::Ed25519),
            "gpg" => Ok(Self::Gpg),
            "dummy" => Ok(Self::Dummy),
            other => Err(SignError::UnknownScheme(other.to_owned())),
        }
    }
}

/// The signatures of a kind; none where the key is not there.
///
/// # Errors
/// A value that is no list of signatures.
pub fn signatures_of(metadata: &Metadata, scheme: Scheme) -> Result<Vec<&[u8]>, SignError> {
    let Some(value) = metadata.get(scheme.metadata_key()) else {
        return Ok(Vec::new());
    };
    match value {
        Value::Array(of, items) if *of == byte_array() => items.iter().map(bytes_of).collect(),
        _ => Err(SignError::Malformed(Malformed::Type)),
    }
}

fn bytes_of(item: &Value) -> Result<&[u8], SignError> {
    match item {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(SignError::Malformed(Malformed::Type)),
    }
}

/// Adds a signature; `false` where the same one is there already.
pub(crate) fn add_signature(
    metadata: &mut Metadata,
    scheme: Scheme,
    signature: Vec<u8>,
) -> Result<bool, SignError> {
    let mut all: Vec<_> = signatures_of(metadata, scheme)?
        .into_iter()
        .map(<[u8]>::to_vec)
        .collect();
    if all.contains(&signature) {
        return Ok(false);
    }
    all.push(signature);
    set_signatures(metadata, scheme, all);
    Ok(true)
}

/// Replaces the signatures of a kind.
pub(crate) fn set_signatures(metadata: &mut Metadata, scheme: Scheme, all: Vec<Vec<u8>>) {
    let items = all.into_iter().map(Value::Bytes).collect();
    metadata.set(scheme.metadata_key(), Value::Array(byte_array(), items));
}

fn byte_array() -> Type {
    Type::Array(Box::new(Type::Byte))
}
