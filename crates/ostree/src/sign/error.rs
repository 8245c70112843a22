//! What can be wrong with a signature or with what is needed to check it.

use std::path::PathBuf;

use super::{GpgSignature, Scheme};
use crate::gvariant::Malformed;

/// Why something could not be signed, or is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// A text that should be a key is none.
    #[error("this is not {0}")]
    NotAKey(&'static str),
    /// A file of keys cannot be read.
    #[error("cannot read keys")]
    KeyFile(#[source] durable::Error),
    /// A file of keys holds none.
    #[error("there is no key in {}", .0.display())]
    NoKeys(PathBuf),
    /// A line of a list of revoked keys is no key; passing it over could mean to
    /// trust a key that was revoked.
    #[error("line {line} of {} is not a key", path.display())]
    RevokedLine {
        /// The list.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A keyring cannot be read.
    #[error("cannot read the keyring {}", path.display())]
    Keyring {
        /// The keyring.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There are no keys that a signature could be checked with.
    #[error("no {0} key is trusted here, so no signature can be checked")]
    NothingTrusted(Scheme),
    /// What should be signed is not.
    #[error("it has no {} signature", names(.0))]
    Unsigned(Vec<Scheme>),
    /// No signature is good.
    #[error("none of its {found} {scheme} signatures is by a key that is trusted: {why}")]
    NoneGood {
        /// The kind of signature.
        scheme: Scheme,
        /// How many there are.
        found: usize,
        /// What is wrong with them.
        why: String,
        /// The keys that were tried, of a kind that tries them one by one.
        keys: Vec<String>,
        /// What is known of each signature, where that is more.
        signatures: Vec<GpgSignature>,
    },
    /// The signatures are not in the form that they must have.
    #[error("its signatures are damaged")]
    Malformed(#[source] Malformed),
    /// A program is needed that cannot be run.
    #[error("cannot run {program}, which checks and makes OpenPGP signatures: install it")]
    Program {
        /// The program.
        program: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("{program} failed to {doing}: {said}")]
    ProgramFailed {
        /// The program.
        program: &'static str,
        /// What it was asked to do.
        doing: &'static str,
        /// The end of what it printed.
        said: String,
    },
    /// Data could not be handed to a program.
    #[error("cannot hand data to {program}")]
    HandOver {
        /// The program.
        program: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A kind of signature that is unknown here.
    #[error("signatures of the type {0:?} are not known; \"ed25519\" and \"gpg\" are")]
    UnknownScheme(String),
    /// A remote's setting cannot be understood. Nothing is fetched then, for it might
    /// demand a signature.
    #[error("{key}={value:?} in the configuration of the remote {remote:?} is not {wanted}")]
    Setting {
        /// The remote.
        remote: String,
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
}

fn names(schemes: &[Scheme]) -> String {
    let names: Vec<_> = schemes.iter().map(Scheme::to_string).collect();
    names.join(" or ")
}
