//! Ed25519 keys and signatures, as `ostree` keeps them: base64, one key a line.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER};
use durable::Fs;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};

use super::{Scheme, SignError};

/// What signs: a seed, and the public key that belongs to it.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

impl SecretKey {
    /// A new key from the kernel's random numbers.
    ///
    /// # Errors
    /// That there are none.
    pub fn generate() -> std::io::Result<Self> {
        let mut seed = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
        Ok(Self(SigningKey::from_bytes(&seed)))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Seed and public key in base64, the form in which `ostree` wants it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0.to_keypair_bytes())
    }

    /// Signs.
    #[must_use]
    pub fn sign(&self, data: &[u8]) -> Vec<u8> {
        self.0.sign(data).to_bytes().to_vec()
    }
}

impl FromStr for SecretKey {
    type Err = SignError;
    /// Reads the 64 bytes of seed and public key, or the 32 of the seed, in base64.
    fn from_str(text: &str) -> Result<Self, SignError> {
        let wrong = || SignError::NotAKey("an ed25519 secret key: 64 bytes in base64");
        let bytes = BASE64.decode(text.trim().as_bytes()).map_err(|_| wrong())?;
        if let Ok(seed) = <[u8; 32]>::try_from(bytes.as_slice()) {
            return Ok(Self(SigningKey::from_bytes(&seed)));
        }
        let both = <[u8; 64]>::try_from(bytes).map_err(|_| wrong())?;
        // A public half that does not belong to the seed would make signatures that
        // give the seed away.
        let key = SigningKey::from_keypair_bytes(&both).map_err(|_| wrong())?;
        Ok(Self(key))
    }
}

/// What a signature is checked with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key in base64, as it stands in key files.
    #[must_use]
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.0)
    }

    fn accepts(&self, data: &[u8], signature: &Signature) -> bool {
        // Not every 32 bytes are a key; one that is none accepts nothing.
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(data, signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    /// In hexadecimal digits, as `ostree` prints keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = SignError;
    /// Reads 32 bytes in base64.
    fn from_str(text: &str) -> Result<Self, SignError> {
        let wrong = || SignError::NotAKey("an ed25519 public key: 32 bytes in base64");
        let bytes = BASE64.decode(text.trim().as_bytes()).map_err(|_| wrong())?;
        bytes.try_into().map(Self).map_err(|_| wrong())
    }
}

/// The keys that are trusted, and those that no longer are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    trusted: Vec<PublicKey>,
    revoked: Vec<PublicKey>,
}

/// Where a host keeps its keys.
const SYSTEM: [&str; 2] = ["/etc/ostree", "/usr/share/ostree"];

impl KeySet {
    /// Whether a signature could be accepted at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.trusted.iter().all(|key| self.revoked.contains(key))
    }

    /// Trusts a key.
    pub fn trust(&mut self, key: PublicKey) {
        if !self.trusted.contains(&key) {
            self.trusted.push(key);
        }
    }

    /// Forgets who is trusted, but not who no longer is.
    pub(super) fn trust_none(&mut self) {
        self.trusted.clear();
    }

    /// Trusts a key no longer, whoever says it is trusted.
    pub fn revoke(&mut self, key: PublicKey) {
        if !self.revoked.contains(&key) {
            self.revoked.push(key);
        }
    }

    /// The keys of the host: `trusted.ed25519`, `trusted.ed25519.d/*`, and the same
    /// with `revoked`, in `/etc/ostree` and `/usr/share/ostree`.
    ///
    /// # Errors
    /// The disk's; a line in a list of revoked keys that is no key.
    pub fn of_system(fs: &dyn Fs) -> Result<Self, SignError> {
        let mut keys = Self::default();
        for dir in SYSTEM {
            keys.add_dir(fs, Path::new(dir))?;
        }
        Ok(keys)
    }

    /// Adds the keys of a directory with such files.
    ///
    /// # Errors
    /// As [`KeySet::of_system`].
    pub fn add_dir(&mut self, fs: &dyn Fs, dir: &Path) -> Result<(), SignError> {
        for path in key_files(fs, dir, "trusted.ed25519")? {
            for (_, line) in lines(&read(fs, &path)?) {
                if let Ok(key) = line.parse() {
                    self.trust(key);
                }
            }
        }
        for path in key_files(fs, dir, "revoked.ed25519")? {
            for (number, line) in lines(&read(fs, &path)?) {
                let bad = |_| SignError::RevokedLine {
                    path: path.clone(),
                    line: number,
                };
                self.revoke(line.parse().map_err(bad)?);
            }
        }
        Ok(())
    }

    /// Adds the trusted keys of one file. Lines that are no keys are passed over.
    ///
    /// # Errors
    /// The disk's; that no line is a key.
    pub fn add_file(&mut self, fs: &dyn Fs, path: &Path) -> Result<(), SignError> {
        let text = read(fs, path)?;
        let keys: Vec<_> = lines(&text).filter_map(|(_, l)| l.parse().ok()).collect();
        if keys.is_empty() {
            return Err(SignError::NoKeys(path.to_owned()));
        }
        keys.into_iter().for_each(|key| self.trust(key));
        Ok(())
    }

    /// Checks signatures until one is good, and says whose it is.
    ///
    /// # Errors
    /// [`SignError::NoneGood`], [`SignError::NothingTrusted`] or
    /// [`SignError::Unsigned`].
    pub fn verify(&self, data: &[u8], signatures: &[&[u8]]) -> Result<PublicKey, SignError> {
        if self.is_empty() {
            return Err(SignError::NothingTrusted(Scheme::Ed25519));
        }
        if signatures.is_empty() {
            return Err(SignError::Unsigned(vec![Scheme::Ed25519]));
        }
        for signature in signatures {
            // Of another length, it is no signature.
            let Ok(signature) = Signature::from_slice(signature) else {
                continue;
            };
            let good =
                |key: &&PublicKey| !self.revoked.contains(key) && key.accepts(data, &signature);
            if let Some(key) = self.trusted.iter().find(good) {
                return Ok(*key);
            }
        }
        let revoked = self.trusted.iter().filter(|k| self.revoked.contains(k));
        Err(SignError::NoneGood {
            scheme: Scheme::Ed25519,
            found: signatures.len(),
            why: match revoked.count() {
                0 => format!("{} keys were tried", self.trusted.len()),
                n => format!(
                    "{} keys were tried, {n} are revoked",
                    self.trusted.len() - n
                ),
            },
            keys: self.trusted.iter().map(ToString::to_string).collect(),
            signatures: Vec::new(),
        })
    }
}

/// `NAME` and what is in `NAME.d`, as far as they are there, by name.
fn key_files(fs: &dyn Fs, dir: &Path, name: &str) -> Result<Vec<PathBuf>, SignError> {
    use durable::Doing;
    let mut found = Vec::new();
    let single = dir.join(name);
    if fs.metadata(&single).is_ok() {
        found.push(single);
    }
    let many = dir.join(format!("{name}.d"));
    match fs.read_dir(&many) {
        Ok(entries) => found.extend(entries.iter().map(|e| many.join(&e.name))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(e).doing("list", &many).map_err(SignError::KeyFile),
    }
    Ok(found)
}

fn read(fs: &dyn Fs, path: &Path) -> Result<String, SignError> {
    durable::read_to_string(fs, path).map_err(SignError::KeyFile)
}

/// Lines that are neither empty nor comments, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let trimmed = text.lines().map(str::trim).enumerate();
    trimmed
        .map(|(i, line)| (i + 1, line))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SecretKey {
        SecretKey(SigningKey::from_bytes(&[n; 32]))
    }

    fn trusting(keys: &[&SecretKey]) -> KeySet {
        let mut set = KeySet::default();
        keys.iter().for_each(|k| set.trust(k.public()));
        set
    }

    /// The first test vector of RFC 8032, 7.1.
    #[test]
    fn known_signature() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: [u8; 32] = HEXLOWER
            .decode(seed.as_bytes())
            .unwrap()
            .try_into()
            .unwrap();
        let key = SecretKey(SigningKey::from_bytes(&seed));
        assert_eq!(
            key.public().to_string(),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
        assert!(
            HEXLOWER
                .encode(&key.sign(b""))
                .starts_with("e5564300c360ac72")
        );
    }

    #[test]
    fn one_good_signature_is_enough() {
        let (a, b, c) = (key(1), key(2), key(3));
        let data = b"commit";
        let (by_a, by_b) = (a.sign(data), b.sign(data));
        let short = &by_a[..63];
        let other = a.sign(b"another");
        type Case<'a> = (&'a [&'a SecretKey], &'a [&'a [u8]], Option<PublicKey>);
        let cases: [Case<'_>; 8] = [
            (&[&a], &[&by_a], Some(a.public())),
            (&[&c, &a], &[&by_b, &by_a], Some(a.public())),
            (&[&a], &[&by_b], None),
            (&[&a], &[&other], None),
            (&[&a], &[short], None),
            (&[&a], &[b""], None),
            (&[&a], &[], None),
            (&[], &[&by_a], None),
        ];
        for (i, (trusted, signatures, good)) in cases.into_iter().enumerate() {
            let found = trusting(trusted).verify(data, signatures).ok();
            assert_eq!(found, good, "case {i}");
        }
    }

    #[test]
    fn revoked_keys_do_not_count() {
        let (a, b) = (key(1), key(2));
        let mut set = trusting(&[&a, &b]);
        set.revoke(a.public());
        let data = b"x";
        assert_eq!(set.verify(data, &[&b.sign(data)]).unwrap(), b.public());
        let error = set.verify(data, &[&a.sign(data)]).unwrap_err();
        assert!(error.to_string().contains("1 are revoked"), "{error}");
        set.revoke(b.public());
        assert!(matches!(
            set.verify(data, &[&b.sign(data)]),
            Err(SignError::NothingTrusted(_))
        ));
    }

    #[test]
    fn texts() {
        let a = key(7);
        assert_eq!(
            a.to_base64().parse::<SecretKey>().unwrap().public(),
            a.public()
        );
        let seed = BASE64.encode(&[7; 32]);
        assert_eq!(seed.parse::<SecretKey>().unwrap().public(), a.public());
        let public = a.public().to_base64();
        assert_eq!(public.parse::<PublicKey>().unwrap(), a.public());
        let mut wrong = a.0.to_keypair_bytes();
        wrong[63] ^= 1;
        for bad in ["", "%", "AAAA", &BASE64.encode(&wrong), &public[1..]] {
            assert!(bad.parse::<SecretKey>().is_err(), "{bad}");
        }
        for bad in ["", "AAAA", &a.to_base64()] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_debug_print_does_not_show_the_secret() {
        let a = key(7);
        let shown = format!("{a:?}");
        assert!(!shown.contains(&HEXLOWER.encode(&[7; 32])), "{shown}");
        assert!(!shown.contains("7, 7"), "{shown}");
    }
}
