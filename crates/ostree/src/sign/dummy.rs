//! "Signatures" that are the text of the key: the test suite of `ostree` signs
//! with them.

use super::SignError;

/// Whether they count here.
pub(super) fn enabled() -> bool {
    std::env::var_os("OSTREE_DUMMY_SIGN_ENABLED").is_some()
}

/// Fails where they do not count.
pub(super) fn check_enabled() -> Result<(), SignError> {
    if enabled() {
        return Ok(());
    }
    Err(SignError::UnknownScheme("dummy".to_owned()))
}
