//! Web key directories: where the keys of an address may be had.

use super::{Gpg, OpenPgpKey, SignError};

/// The two addresses under which the owner of an address may offer new versions of
/// their key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WkdAddresses {
    /// On a host of its own.
    pub advanced: String,
    /// On the domain itself.
    pub direct: String,
}

impl Gpg {
    /// Where new versions of the keys in the keyrings may be had: for each user of each
    /// key, `None` for one without an address.
    ///
    /// # Errors
    /// That `gpg` cannot be run, or a keyring not be read.
    pub fn wkd_addresses(
        &self,
        keys: &[OpenPgpKey],
    ) -> Result<Vec<Vec<Option<WkdAddresses>>>, SignError> {
        let listing = self.listing(&["--with-wkd-hash", "--list-keys"])?;
        let of_user = |user: &super::OpenPgpUser| {
            let (local, domain) = user.address()?;
            let domain = domain.to_ascii_lowercase();
            let hash = hash_of(&listing, &user.name, &domain)?;
            Some(addresses(hash, local, &domain))
        };
        let of_key = |key: &OpenPgpKey| key.users.iter().map(of_user).collect();
        Ok(keys.iter().map(of_key).collect())
    }
}

/// The hash of an address: `HASH@DOMAIN` stands below the line with its user.
fn hash_of<'a>(listing: &'a str, user: &str, domain: &str) -> Option<&'a str> {
    let mut lines = listing.lines();
    lines.find(|line| line.starts_with("uid") && line.ends_with(user))?;
    let (hash, at) = lines.next()?.trim().split_once('@')?;
    let plain = hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_alphanumeric());
    (plain && at.eq_ignore_ascii_case(domain)).then_some(hash)
}

fn addresses(hash: &str, local: &str, domain: &str) -> WkdAddresses {
    let path = ".well-known/openpgpkey";
    let query = escaped(local);
    WkdAddresses {
        advanced: format!("https://openpgpkey.{domain}/{path}/{domain}/hu/{hash}?l={query}"),
        direct: format!("https://{domain}/{path}/hu/{hash}?l={query}"),
    }
}

/// A text as it stands in a query.
fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let mut found = String::new();
    for b in text.bytes() {
        match plain(b) {
            true => found.push(char::from(b)),
            false => found += &format!("%{b:02X}"),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gpg_says() {
        let listing = "pub   rsa2048 2013-09-10 [SC]\n      5E65\n\
             uid           [ unknown] Joe <joe+x@Test.com>\n              \
             iffe93qcsgp4c8ncbb378rxjo6cn9q6u@test.com\nsub   rsa2048\n";
        let hash = hash_of(listing, "Joe <joe+x@Test.com>", "test.com").unwrap();
        let found = addresses(hash, "joe+x", "test.com");
        assert_eq!(
            found.direct,
            "https://test.com/.well-known/openpgpkey/hu/iffe93qcsgp4c8ncbb378rxjo6cn9q6u?l=joe%2Bx"
        );
        assert!(found.advanced.starts_with("https://openpgpkey.test.com/"));
        assert_eq!(hash_of(listing, "Joe <joe+x@Test.com>", "other.com"), None);
        assert_eq!(hash_of(listing, "Jim", "test.com"), None);
    }
}
