//! What is said of signatures.

use std::fmt::Write as _;

use ostree::sign::{GpgSignature, GpgState, Scheme, SignError};

use crate::date;

/// More keys than this are counted, not named.
const NAMED: usize = 3;

/// The last 16 digits of a fingerprint, by which a key goes.
fn short(fingerprint: &str) -> &str {
    let from = fingerprint.len().saturating_sub(16);
    fingerprint.get(from..).unwrap_or(fingerprint)
}

/// An OpenPGP signature, in a line or more.
pub fn describe(found: &GpgSignature) -> String {
    let mut text = format!(
        "Signature made {} using key ID {}",
        date::shown_long(found.created),
        short(&found.key)
    );
    // An owner without an address is shown with an empty one.
    let user = match found.user.ends_with('>') {
        true => found.user.clone(),
        false => format!("{} <>", found.user),
    };
    text += &match found.state {
        GpgState::NoKey => "\nCan't check signature: public key not found".to_owned(),
        GpgState::RevokedKey => "\nKey revoked".to_owned(),
        GpgState::Expired => format!("\nExpired signature from \"{user}\""),
        _ if found.is_good() => format!("\nGood signature from \"{user}\""),
        _ => format!("\nBAD signature from \"{user}\""),
    };
    if let Some(primary) = found.primary.as_ref().filter(|p| **p != found.key) {
        let _ = write!(text, "\nPrimary key ID {}", short(primary));
    }
    for (time, which) in [
        (found.key_expired, "Key"),
        (found.primary_expired, "Primary key"),
    ] {
        if time > 0 {
            let _ = write!(text, "\n{which} expired {}", date::shown_long(time));
        }
    }
    text
}

/// What is wrong with a signature, or with what is needed to check it.
pub fn words(error: &SignError) -> Option<String> {
    Some(match error {
        SignError::UnknownScheme(_) => "Requested signature type is not implemented".to_owned(),
        SignError::NothingTrusted(Scheme::Gpg) => {
            "Can't check signature: public key not found".to_owned()
        }
        SignError::NothingTrusted(scheme) => {
            format!("No keys found for required signapi type {scheme}")
        }
        SignError::Unsigned(kinds) if kinds.contains(&Scheme::Gpg) => {
            "GPG verification enabled, but no signatures found (use gpg-verify=false in remote \
             config to disable)"
                .to_owned()
        }
        SignError::Unsigned(_) => "No signatures found".to_owned(),
        SignError::Malformed(e) => {
            format!("No signatures found: they are damaged ({e}), and count as no signatures found")
        }
        SignError::NoneGood {
            scheme,
            found,
            why,
            keys,
            signatures,
        } => none_good(*scheme, *found, why, keys, signatures),
        SignError::Keyring { path, source } => format!(
            "Reading the keyring ({}): {}",
            path.display(),
            crate::wording::io_words(source)
        ),
        SignError::Setting { key, .. } if key == "gpgkeypath" => {
            format!("{error}: key value list contains more than one separator")
        }
        _ => return None,
    })
}

fn none_good(
    scheme: Scheme,
    found: usize,
    why: &str,
    keys: &[String],
    signatures: &[GpgSignature],
) -> String {
    match scheme {
        Scheme::Gpg => {
            let each: Vec<_> = signatures.iter().map(describe).collect();
            each.join("\n")
        }
        Scheme::Dummy => format!("signature: dummy: incorrect signatures found: {found}"),
        Scheme::Ed25519 if keys.len() <= NAMED => {
            let named: Vec<_> = keys.iter().map(|k| format!("key '{k}'")).collect();
            let named = named.join(", ");
            format!("ed25519: Signature couldn't be verified with: {named} ({why})")
        }
        Scheme::Ed25519 => {
            let tried = keys.len();
            format!("ed25519: Signature couldn't be verified; tried {tried} keys ({why})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong() {
        let none_good = |scheme, count: usize| SignError::NoneGood {
            scheme,
            found: 1,
            why: "why".to_owned(),
            keys: vec!["ab".to_owned(); count],
            signatures: Vec::new(),
        };
        let cases = [
            (
                none_good(Scheme::Ed25519, 1),
                "verified with: key 'ab' (why)",
            ),
            (none_good(Scheme::Ed25519, 100), "tried 100 keys (why)"),
            (none_good(Scheme::Dummy, 1), "incorrect signatures found: 1"),
            (
                SignError::NothingTrusted(Scheme::Dummy),
                "signapi type dummy",
            ),
            (SignError::Unsigned(vec![Scheme::Gpg]), "gpg-verify=false"),
            (
                SignError::Unsigned(vec![Scheme::Ed25519]),
                "No signatures found",
            ),
        ];
        for (error, says) in cases {
            let text = words(&error).unwrap();
            assert!(text.contains(says), "{text}");
        }
        assert!(words(&SignError::NotAKey("a key")).is_none());
    }
}
