//! OpenPGP, by the programs that everybody has: `gpgv` checks, `gpg` signs.
//!
//! Nothing of a person's own keyring is used to check: `gpgv` sees the given
//! keyrings only, and every key in them counts as trusted.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::fs::MemfdFlags;

use super::openpgp_key::{self, OpenPgpKey};
use super::{Scheme, SignError};

/// How `gpg` is run and which keyrings count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpg {
    /// The keyrings whose keys are trusted: files of OpenPGP packets.
    pub keyrings: Vec<PathBuf>,
    /// Where `gpg` finds secret keys; its own place when `None`.
    pub home: Option<PathBuf>,
}

/// What is said of one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpgState {
    /// Made by a key in the keyrings over these bytes, and neither is expired.
    Good,
    /// Not over these bytes.
    Bad,
    /// By a key that is not in the keyrings.
    NoKey,
    /// The signature is expired.
    Expired,
    /// The key is expired.
    ExpiredKey,
    /// The key was revoked.
    RevokedKey,
    /// It could not be checked.
    Unchecked,
}

impl GpgState {
    /// The state in words.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::NoKey => "by an unknown key",
            Self::Expired => "expired",
            Self::ExpiredKey => "by an expired key",
            Self::RevokedKey => "by a revoked key",
            Self::Unchecked => "impossible to check",
        }
    }
}

/// One signature, as far as `gpgv` told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpgSignature {
    /// What it is worth.
    pub state: GpgState,
    /// The fingerprint of the key, or its identifier where that is all that is known.
    pub key: String,
    /// The fingerprint of the key that `key` belongs to.
    pub primary: Option<String>,
    /// Whose key it is.
    pub user: String,
    /// When it was made, in seconds since 1970; 0 when unknown.
    pub created: u64,
    /// Until when it holds; 0 for ever.
    pub expires: u64,
    /// The number of the algorithm, as OpenPGP has it; 0 when unknown.
    pub algorithm: u32,
    /// When the key expired, of one that did; else 0.
    pub key_expired: u64,
    /// When the key that it belongs to expired, if it did; else 0.
    pub primary_expired: u64,
    /// Whether the signature's validity was confirmed besides its state.
    valid: bool,
}

impl GpgSignature {
    fn new() -> Self {
        Self {
            state: GpgState::Unchecked,
            key: String::new(),
            primary: None,
            user: String::new(),
            created: 0,
            expires: 0,
            algorithm: 0,
            key_expired: 0,
            primary_expired: 0,
            valid: false,
        }
    }

    /// Whether it vouches.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.state == GpgState::Good && self.valid
    }
}

/// Data as a file that only lives while this does, for a child to read.
struct Handed(File);

impl Handed {
    fn new(program: &'static str, data: &[u8]) -> Result<Self, SignError> {
        let make = || {
            let fd = rustix::fs::memfd_create("backstop", MemfdFlags::CLOEXEC)?;
            let mut file = File::from(fd);
            file.write_all(data)?;
            Ok(file)
        };
        let failed = |source: io::Error| SignError::HandOver { program, source };
        make().map(Self).map_err(failed)
    }

    /// A name under which a child can open it.
    fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }
}

/// Runs a program to its end, with messages in English.
pub(super) fn run(program: &'static str, command: &mut Command) -> Result<Output, SignError> {
    command.env("LC_ALL", "C").stdin(Stdio::null());
    let run = command.output();
    run.map_err(|source| SignError::Program { program, source })
}

/// The last lines that a program printed, in one.
pub(super) fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    let from = lines.len().saturating_sub(3);
    match lines[from..].join("; ") {
        nothing if nothing.is_empty() => output.status.to_string(),
        text => text,
    }
}

impl Gpg {
    /// Whose keys are used to check: those of these files.
    #[must_use]
    pub fn with_keyrings(keyrings: Vec<PathBuf>) -> Self {
        Self {
            keyrings,
            home: None,
        }
    }

    /// `gpg` with what holds for every run.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--no-tty", "--quiet"]);
        if let Some(home) = &self.home {
            command.arg("--homedir").arg(home);
        }
        command
    }

    /// Makes a detached signature with the key that `gpg` knows by this name.
    ///
    /// # Errors
    /// What `gpg` says.
    pub fn sign(&self, key: &str, data: &[u8]) -> Result<Vec<u8>, SignError> {
        let data = Handed::new("gpg", data)?;
        let mut command = self.command();
        command.args(["--detach-sign", "--output", "-", "--local-user", key, "--"]);
        let output = run("gpg", command.arg(data.path()))?;
        if !output.status.success() || output.stdout.is_empty() {
            return Err(SignError::ProgramFailed {
                program: "gpg",
                doing: "sign",
                said: said(&output),
            });
        }
        Ok(output.stdout)
    }

    /// Checks all signatures, and that at least one is good.
    ///
    /// # Errors
    /// That none is; that `gpgv` cannot be run.
    pub fn verify(
        &self,
        data: &[u8],
        signatures: &[&[u8]],
    ) -> Result<Vec<GpgSignature>, SignError> {
        if self.keyrings.is_empty() {
            return Err(SignError::NothingTrusted(Scheme::Gpg));
        }
        let found = self.inspect(data, signatures)?;
        if found.iter().any(GpgSignature::is_good) {
            return Ok(found);
        }
        let each = found
            .iter()
            .map(|s| format!("{} is {}", s.key, s.state.word()));
        Err(SignError::NoneGood {
            scheme: Scheme::Gpg,
            found: signatures.len(),
            why: each.collect::<Vec<_>>().join(", "),
            keys: Vec::new(),
            signatures: found,
        })
    }

    /// Says of each signature what it is worth.
    ///
    /// # Errors
    /// That `gpgv` cannot be run.
    pub fn inspect(
        &self,
        data: &[u8],
        signatures: &[&[u8]],
    ) -> Result<Vec<GpgSignature>, SignError> {
        let mut found = Vec::new();
        let data = Handed::new("gpgv", data)?;
        let keyrings = self.binary_keyrings()?;
        for signature in signatures {
            let signature = Handed::new("gpgv", signature)?;
            let mut command = Command::new("gpgv");
            command.args(["--quiet", "--status-fd", "1"]);
            for (keyring, _) in &keyrings {
                command.arg("--keyring").arg(keyring);
            }
            command.arg("--").arg(signature.path()).arg(data.path());
            let output = run("gpgv", &mut command)?;
            found.extend(read_status(&String::from_utf8_lossy(&output.stdout)));
        }
        if found.iter().any(|s| s.state == GpgState::ExpiredKey) {
            let keys = self.keys()?;
            found.iter_mut().for_each(|s| s.learn_expiry(&keys));
        }
        Ok(found)
    }

    /// The keys in the keyrings, as `gpg` lists them.
    ///
    /// # Errors
    /// That `gpg` cannot be run, or a keyring not be read.
    pub fn keys(&self) -> Result<Vec<OpenPgpKey>, SignError> {
        let listing = self.listing(&["--with-colons", "--list-keys"])?;
        Ok(openpgp_key::parse_listing(&listing))
    }

    /// What `gpg` prints of each of the keyrings alone.
    pub(super) fn listing(&self, args: &[&str]) -> Result<String, SignError> {
        let mut found = String::new();
        for (keyring, _) in &self.binary_keyrings()? {
            let mut command = self.command();
            command.args(["--no-default-keyring", "--no-auto-check-trustdb"]);
            command.args(["--lock-never", "--trust-model=always", "--keyring"]);
            command.arg(keyring).args(args);
            found += &listed(&mut command)?;
        }
        Ok(found)
    }

    /// The keys that `gpg` finds by this name in its home.
    ///
    /// # Errors
    /// That `gpg` cannot be run, or finds none.
    pub fn find_keys(&self, name: &str) -> Result<Vec<OpenPgpKey>, SignError> {
        let mut command = self.command();
        command.args(["--with-colons", "--list-keys", "--", name]);
        Ok(openpgp_key::parse_listing(&listed(&mut command)?))
    }
}

/// What `gpg` lists.
fn listed(command: &mut Command) -> Result<String, SignError> {
    let output = run("gpg", command)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(SignError::ProgramFailed {
            program: "gpg",
            doing: "list keys",
            said: said(&output),
        }),
    }
}

impl Gpg {
    /// The keyrings as `gpgv` reads them: those that are armoured are handed over
    /// without their armour.
    fn binary_keyrings(&self) -> Result<Vec<(PathBuf, Option<Handed>)>, SignError> {
        let mut found = Vec::new();
        for path in &self.keyrings {
            let mut head = Vec::new();
            let read = File::open(path).and_then(|f| f.take(15).read_to_end(&mut head));
            read.map_err(|source| SignError::Keyring {
                path: path.clone(),
                source,
            })?;
            if head != b"-----BEGIN PGP " {
                found.push((path.clone(), None));
                continue;
            }
            let mut command = self.command();
            command.args(["--dearmor", "--output", "-", "--"]).arg(path);
            let output = run("gpg", &mut command)?;
            if !output.status.success() {
                return Err(SignError::ProgramFailed {
                    program: "gpg",
                    doing: "read keys",
                    said: said(&output),
                });
            }
            let handed = Handed::new("gpgv", &output.stdout)?;
            found.push((handed.path(), Some(handed)));
        }
        // Without any, gpgv would take the user's own keyring.
        if found.is_empty() {
            found.push((PathBuf::from("/dev/null"), None));
        }
        Ok(found)
    }
}

/// Reads the lines that `gpgv` prints for machines.
fn read_status(text: &str) -> Vec<GpgSignature> {
    let mut found: Vec<GpgSignature> = Vec::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix("[GNUPG:] ") else {
            continue;
        };
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "NEWSIG" {
            found.push(GpgSignature::new());
            continue;
        }
        if found.is_empty() {
            found.push(GpgSignature::new());
        }
        if let Some(signature) = found.last_mut() {
            signature.learn(word, rest);
        }
    }
    found
}

impl GpgSignature {
    /// Which of the keys expired, and when.
    fn learn_expiry(&mut self, keys: &[OpenPgpKey]) {
        if self.state != GpgState::ExpiredKey {
            return;
        }
        for key in keys {
            let signed_by = key.parts().find(|part| part.fingerprint == self.key);
            if let Some(part) = signed_by {
                self.key_expired = part.expired();
                self.primary_expired = key.primary.expired();
            }
        }
    }

    fn learn(&mut self, word: &str, rest: &str) {
        let state = match word {
            "GOODSIG" => GpgState::Good,
            "BADSIG" => GpgState::Bad,
            "EXPSIG" => GpgState::Expired,
            "EXPKEYSIG" => GpgState::ExpiredKey,
            "REVKEYSIG" => GpgState::RevokedKey,
            "NO_PUBKEY" => GpgState::NoKey,
            "ERRSIG" => return self.learn_unchecked(rest),
            "VALIDSIG" => return self.learn_valid(rest),
            _ => return,
        };
        self.state = state;
        let (key, user) = rest.split_once(' ').unwrap_or((rest, ""));
        if self.key.is_empty() {
            self.key = key.to_owned();
        }
        if self.user.is_empty() {
            self.user = user.to_owned();
        }
    }

    /// `ERRSIG KEYID PUBKEY-ALGORITHM HASH-ALGORITHM CLASS TIME RC FINGERPRINT`
    fn learn_unchecked(&mut self, rest: &str) {
        let fields: Vec<_> = rest.split(' ').collect();
        let field = |i: usize| fields.get(i).copied().unwrap_or_default();
        self.state = GpgState::Unchecked;
        self.key = match field(6) {
            "" | "-" => field(0).to_owned(),
            fingerprint => fingerprint.to_owned(),
        };
        self.algorithm = field(1).parse().unwrap_or(0);
        self.created = field(4).parse().unwrap_or(0);
    }

    /// `VALIDSIG FINGERPRINT DATE TIME EXPIRES VERSION - ALGORITHM HASH CLASS PRIMARY`
    fn learn_valid(&mut self, rest: &str) {
        let fields: Vec<_> = rest.split(' ').collect();
        let field = |i: usize| fields.get(i).copied().unwrap_or_default();
        self.valid = true;
        self.key = field(0).to_owned();
        self.created = field(2).parse().unwrap_or(0);
        self.expires = field(3).parse().unwrap_or(0);
        self.algorithm = field(6).parse().unwrap_or(0);
        self.primary = fields.get(9).map(|p| (*p).to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "[GNUPG:] VALIDSIG 5E65DE75AB1C501862D476347FCA23D8472CDAFA 2013-01-01 \
                         1356998400 0 4 0 1 10 00 5E65DE75AB1C501862D476347FCA23D8472CDAFA\n";

    #[test]
    fn what_gpgv_says() {
        let good = format!("[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 7FCA23D8472CDAFA A B <a@b>\n{VALID}");
        let expired = format!("[GNUPG:] NEWSIG\n[GNUPG:] EXPKEYSIG 7FCA23D8472CDAFA A B\n{VALID}");
        let revoked = format!("[GNUPG:] NEWSIG\n[GNUPG:] REVKEYSIG 7FCA23D8472CDAFA A B\n{VALID}");
        let unknown = "[GNUPG:] NEWSIG\n[GNUPG:] ERRSIG 7FCA23D8472CDAFA 1 10 00 1356998400 9 \
                       5E65DE75AB1C501862D476347FCA23D8472CDAFA\n[GNUPG:] NO_PUBKEY 7FCA23D8472CDAFA\n";
        let cases: [(&str, &[GpgState], bool); 8] = [
            (&good, &[GpgState::Good], true),
            (&expired, &[GpgState::ExpiredKey], false),
            (&revoked, &[GpgState::RevokedKey], false),
            (unknown, &[GpgState::NoKey], false),
            (
                "[GNUPG:] NEWSIG\n[GNUPG:] BADSIG 7F A\n",
                &[GpgState::Bad],
                false,
            ),
            // Good, but not said to be valid as well.
            (
                "[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 7F A\n",
                &[GpgState::Good],
                false,
            ),
            ("gpgv: Good signature from me\n", &[], false),
            ("", &[], false),
        ];
        for (text, states, good) in cases {
            let found = read_status(text);
            let all: Vec<_> = found.iter().map(|s| s.state).collect();
            assert_eq!(all, states, "{text}");
            assert_eq!(found.iter().any(GpgSignature::is_good), good, "{text}");
        }
        let both = read_status(&format!("{unknown}{good}"));
        assert_eq!(both.len(), 2);
        assert!(!both[0].is_good() && both[1].is_good());
        assert_eq!(both[1].user, "A B <a@b>");
        assert_eq!(both[1].created, 1_356_998_400);
    }

    /// What follows a user's name on a line cannot pass for a line of its own.
    #[test]
    fn one_signature_cannot_vouch_for_the_next() {
        let text = format!("[GNUPG:] NEWSIG\n{VALID}[GNUPG:] NEWSIG\n[GNUPG:] GOODSIG 7F A\n");
        assert!(!read_status(&text).iter().any(GpgSignature::is_good));
    }
}
