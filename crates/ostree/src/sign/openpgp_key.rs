//! What a keyring holds, as `gpg` lists it for machines.

/// An OpenPGP key: the primary one, those that belong to it, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpKey {
    /// The one that the others belong to.
    pub primary: OpenPgpPart,
    /// The others.
    pub subkeys: Vec<OpenPgpPart>,
    /// Whose it says that it is.
    pub users: Vec<OpenPgpUser>,
}

/// One key of several that belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenPgpPart {
    /// Its fingerprint, in hexadecimal.
    pub fingerprint: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Until when it holds; 0 for ever.
    pub expires: u64,
    /// Whether it holds no more.
    pub is_expired: bool,
    /// Whether its owner took it back.
    pub is_revoked: bool,
}

/// Somebody whose key it says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPgpUser {
    /// Name and address, `NAME <ADDRESS>` as a rule.
    pub name: String,
    /// Whether its owner took that back.
    pub is_revoked: bool,
}

impl OpenPgpKey {
    /// All of its keys, the primary one first.
    pub fn parts(&self) -> impl Iterator<Item = &OpenPgpPart> {
        std::iter::once(&self.primary).chain(&self.subkeys)
    }
}

impl OpenPgpPart {
    /// When it expired, if it did; else 0.
    pub(super) fn expired(&self) -> u64 {
        match self.is_expired {
            true => self.expires,
            false => 0,
        }
    }

    /// Of the fields of a `pub` or `sub` record.
    fn read(fields: &[&str]) -> Self {
        let field = |i: usize| fields.get(i).copied().unwrap_or_default();
        Self {
            fingerprint: field(4).to_owned(),
            created: field(5).parse().unwrap_or(0),
            expires: field(6).parse().unwrap_or(0),
            is_expired: field(1) == "e",
            is_revoked: field(1) == "r",
        }
    }
}

impl OpenPgpUser {
    /// Local part and domain of the address, where it has one.
    #[must_use]
    pub fn address(&self) -> Option<(&str, &str)> {
        let address = match (self.name.rfind('<'), self.name.ends_with('>')) {
            (Some(at), true) => &self.name[at + 1..self.name.len() - 1],
            _ => self.name.as_str(),
        };
        let (local, domain) = address.rsplit_once('@')?;
        let plain = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
        (plain(local) && plain(domain)).then_some((local, domain))
    }
}

/// Reads what `gpg --with-colons --list-keys` prints.
pub(super) fn parse_listing(text: &str) -> Vec<OpenPgpKey> {
    let mut found: Vec<OpenPgpKey> = Vec::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split(':').collect();
        if fields[0] == "pub" {
            found.push(OpenPgpKey {
                primary: OpenPgpPart::read(&fields),
                subkeys: Vec::new(),
                users: Vec::new(),
            });
            continue;
        }
        let Some(key) = found.last_mut() else {
            continue;
        };
        let text = fields.get(9).copied().unwrap_or_default();
        match fields[0] {
            "sub" => key.subkeys.push(OpenPgpPart::read(&fields)),
            "uid" => key.users.push(OpenPgpUser {
                name: unescaped(text),
                is_revoked: fields.get(1) == Some(&"r"),
            }),
            "fpr" => {
                let last = key.subkeys.last_mut().unwrap_or(&mut key.primary);
                last.fingerprint = text.to_owned();
            }
            _ => {}
        }
    }
    found
}

/// `gpg` writes colons and the like as `\xNN`.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("\\x") {
        let code = rest.get(at + 2..at + 4);
        let Some(byte) = code.and_then(|c| u8::from_str_radix(c, 16).ok()) else {
            break;
        };
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.push(byte);
        rest = &rest[at + 4..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "tru::1:1795293053:0:3:1:5\n\
        pub:r:2048:1:7FCA23D8472CDAFA:1378780182:::-:::sc::::::23::0:\n\
        fpr:::::::::5E65DE75AB1C501862D476347FCA23D8472CDAFA:\n\
        uid:r::::1378780182::EF96::A\\x3a B <test@test.com>::::::::::0:\n\
        sub:e:2048:1:DF20F58B408DEA49:1378780182:1378780199:::::e::::::23:\n\
        fpr:::::::::CC47B2DFB520AEF231180725DF20F58B408DEA49:\n";

    #[test]
    fn what_gpg_lists() {
        let found = parse_listing(LISTING);
        assert_eq!(found.len(), 1);
        let key = &found[0];
        assert!(key.primary.is_revoked && !key.primary.is_expired);
        assert!(key.primary.fingerprint.starts_with("5E65"));
        assert_eq!(key.users[0].name, "A: B <test@test.com>");
        assert_eq!(key.users[0].address(), Some(("test", "test.com")));
        assert!(key.subkeys[0].fingerprint.starts_with("CC47"));
        assert_eq!(key.subkeys[0].expired(), 1_378_780_199);
        assert_eq!(key.primary.expired(), 0);
    }

    #[test]
    fn addresses() {
        let address = |name: &str| {
            let user = OpenPgpUser {
                name: name.to_owned(),
                is_revoked: false,
            };
            user.address().map(|(l, d)| format!("{l} {d}"))
        };
        assert_eq!(address("a@b").as_deref(), Some("a b"));
        for none in ["", "A B", "A <>", "A <@b>", "A b@c", "<"] {
            assert_eq!(address(none), None, "{none}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_listing_makes_it_panic(text in "((pub|sub|uid|fpr)?:?[a-z0-9:\\\\<>@]{0,40}\n){0,6}") {
            for key in parse_listing(&text) {
                for user in &key.users {
                    let _ = user.address();
                }
            }
        }
    }
}
