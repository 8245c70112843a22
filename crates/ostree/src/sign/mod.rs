//! Signatures: who vouches for a commit, a summary or a static delta.
//!
//! A signature is made over the exact bytes of what it vouches for and lies beside
//! it: a commit's in its detached metadata (`.commitmeta`), a summary's in
//! `summary.sig`, a delta's around its superblock. Each of those is `a{sv}` with one
//! key for each [`Scheme`]; `docs/formats/signatures.md` describes them.
//!
//! | to | call |
//! | --- | --- |
//! | make keys, sign | [`SecretKey`], [`Signer`], [`Repo::sign_commit`](crate::Repo::sign_commit) |
//! | check against keys | [`KeySet`], [`Gpg`], [`Trust`], [`Repo::verify_commit`](crate::Repo::verify_commit) |
//! | check as a remote's configuration demands | [`RemoteVerifier`] |

mod commits;
mod dummy;
mod ed25519;
mod error;
mod gpg;
mod keyring;
mod openpgp_key;
mod policy;
mod scheme;
mod signer;
mod summary;
mod trust;
mod wkd;

pub use ed25519::{KeySet, PublicKey, SecretKey};
pub use error::SignError;
pub use gpg::{Gpg, GpgSignature, GpgState};
pub use openpgp_key::{OpenPgpKey, OpenPgpPart, OpenPgpUser};
pub use policy::{Options, RemoteVerifier, SignVerify};
pub use scheme::{Scheme, signatures_of};
pub use signer::{Signer, sign_data};
pub use trust::{Trust, Vouched};
pub use wkd::WkdAddresses;

pub(crate) use scheme::add_signature;
