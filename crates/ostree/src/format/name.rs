//! Names of directory entries, which come from outside.

use crate::gvariant::Malformed;

/// Checks that a name stays inside its directory.
///
/// # Errors
/// [`Malformed::Name`] for an empty name, `.`, `..`, a slash or a NUL.
pub fn check_name(name: &str) -> Result<(), Malformed> {
    let outside = matches!(name, "" | "." | "..");
    if outside || name.bytes().any(|b| matches!(b, b'/' | 0)) {
        return Err(Malformed::Name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "...", ".x", "ä", "a b", "\n", "-"] {
            assert_eq!(check_name(good), Ok(()), "{good:?}");
        }
        for bad in ["", ".", "..", "a/b", "/", "../x", "a\0b"] {
            assert_eq!(check_name(bad), Err(Malformed::Name), "{bad:?}");
        }
    }
}
