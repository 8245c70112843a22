//! What must be signed, and by whom, before a remote is believed: its section in
//! the repository's configuration.

use std::path::Path;

use super::{Gpg, KeySet, Scheme, SignError, Trust, Vouched, dummy};
use crate::format::Metadata;
use crate::verifier::{self, Distrust, FetchedCommit, FetchedSummary};
use crate::{Checksum, Error, Remote, Repo, Result};

/// A remote's settings by key; `None` for a key that is not set.
pub type Options<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Which of the signatures other than OpenPGP's is demanded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SignVerify {
    /// None.
    #[default]
    No,
    /// One of any kind that is known here.
    Any,
    /// One of these kinds.
    Of(Vec<Scheme>),
}

/// Decides whether what came from one remote is believed.
///
/// Where OpenPGP and another kind are both demanded, both must be there.
#[derive(Debug, Clone)]
pub struct RemoteVerifier {
    remote: String,
    commit: Demands,
    summary: Demands,
}

/// What must vouch: of each group, one.
#[derive(Debug, Clone, Default)]
struct Demands(Vec<Vec<Trust>>);

impl Demands {
    fn check(
        &self,
        data: &[u8],
        metadata: &Metadata,
    ) -> std::result::Result<Vec<Vouched>, SignError> {
        let groups = self.0.iter();
        groups.map(|group| one_of(group, data, metadata)).collect()
    }
}

/// Checks that one of these vouches. Of several failures, the one of a kind of
/// which there are signatures says most.
fn one_of(
    group: &[Trust],
    data: &[u8],
    metadata: &Metadata,
) -> std::result::Result<Vouched, SignError> {
    let mut failure = None;
    for trust in group {
        match trust.verify(data, metadata) {
            Ok(vouched) => return Ok(vouched),
            Err(SignError::Unsigned(_)) => {}
            Err(e) => failure = Some(e),
        }
    }
    let kinds = group.iter().map(Trust::scheme).collect();
    Err(failure.unwrap_or(SignError::Unsigned(kinds)))
}

impl RemoteVerifier {
    /// Reads what a remote's section demands. Without a word in it, commits must
    /// be signed by OpenPGP.
    ///
    /// # Errors
    /// A setting that cannot be understood, keys that are named and not there.
    pub fn read(repo: &Repo, remote: &str, options: Options<'_>) -> Result<Self> {
        let reader = Reader {
            repo,
            remote,
            options,
        };
        Ok(Self {
            remote: remote.to_owned(),
            commit: reader.demands("gpg-verify", true, "sign-verify")?,
            summary: reader.demands("gpg-verify-summary", false, "sign-verify-summary")?,
        })
    }

    /// The same for a remote of the repository's configuration.
    ///
    /// # Errors
    /// As [`RemoteVerifier::read`].
    pub fn new(repo: &Repo, remote: &Remote) -> Result<Self> {
        Self::read(repo, remote.name(), &|key| {
            remote.get(key).map(str::to_owned)
        })
    }

    /// Demands nothing.
    #[must_use]
    pub fn none(remote: &str) -> Self {
        Self {
            remote: remote.to_owned(),
            commit: Demands::default(),
            summary: Demands::default(),
        }
    }

    /// Whether commits must be signed.
    #[must_use]
    pub fn wants_signed_commits(&self) -> bool {
        !self.commit.0.is_empty()
    }

    /// Whether the summary must be signed.
    #[must_use]
    pub fn wants_signed_summary(&self) -> bool {
        !self.summary.0.is_empty()
    }

    /// Checks a commit's bytes with its detached metadata.
    ///
    /// # Errors
    /// [`Error::UntrustedCommit`].
    pub fn check_commit(
        &self,
        commit: &Checksum,
        data: &[u8],
        detached: Option<&Metadata>,
    ) -> Result<Vec<Vouched>> {
        let nothing = Metadata::default();
        let checked = self.commit.check(data, detached.unwrap_or(&nothing));
        checked.map_err(|source| Error::UntrustedCommit {
            commit: *commit,
            source: Box::new(source),
        })
    }

    /// Checks a summary's bytes with those of its `summary.sig`.
    ///
    /// # Errors
    /// [`Error::UntrustedSummary`].
    pub fn check_summary(&self, data: &[u8], signatures: Option<&[u8]>) -> Result<Vec<Vouched>> {
        let checked = self.summary_vouched(data, signatures);
        checked.map_err(|source| Error::UntrustedSummary {
            remote: self.remote.clone(),
            source: Box::new(source),
        })
    }

    fn summary_vouched(
        &self,
        data: &[u8],
        signatures: Option<&[u8]>,
    ) -> std::result::Result<Vec<Vouched>, SignError> {
        if !self.wants_signed_summary() {
            return Ok(Vec::new());
        }
        let metadata = match signatures {
            Some(bytes) => Metadata::decode(bytes).map_err(SignError::Malformed)?,
            None => Metadata::default(),
        };
        self.summary.check(data, &metadata)
    }

    /// Whether the kinds demanded of commits can sign deltas, and one that does
    /// vouches for this superblock. OpenPGP is not used for deltas.
    ///
    /// # Errors
    /// [`Error::Sign`].
    pub fn check_delta(&self, superblock: &[u8], signatures: &Metadata) -> Result<Vec<Vouched>> {
        let groups = self.commit.0.iter();
        let able = groups.filter(|group| group.iter().any(|t| t.scheme() != Scheme::Gpg));
        able.map(|group| one_of(group, superblock, signatures))
            .collect::<std::result::Result<_, _>>()
            .map_err(Error::from)
    }
}

impl verifier::Verifier for RemoteVerifier {
    fn verify_commit(
        &self,
        commit: &FetchedCommit<'_>,
    ) -> std::result::Result<verifier::Trust, Distrust> {
        let nothing = Metadata::default();
        let detached = commit.detached.unwrap_or(&nothing);
        let vouched = self.commit.check(commit.bytes, detached)?;
        Ok(trust(&vouched))
    }

    fn verify_summary(
        &self,
        summary: &FetchedSummary<'_>,
    ) -> std::result::Result<verifier::Trust, Distrust> {
        let vouched = self.summary_vouched(summary.bytes, summary.signatures)?;
        Ok(trust(&vouched))
    }
}

/// How far something is believed for which these vouch, who are as many as must.
fn trust(vouched: &[Vouched]) -> verifier::Trust {
    match vouched.is_empty() {
        true => verifier::Trust::Undemanded,
        false => verifier::Trust::Signed,
    }
}

/// Reads one remote's section.
struct Reader<'a> {
    repo: &'a Repo,
    remote: &'a str,
    options: Options<'a>,
}

impl Reader<'_> {
    fn demands(&self, gpg: &str, by_default: bool, sign: &str) -> Result<Demands> {
        let mut demands = Vec::new();
        if self.boolean(gpg, by_default).map_err(Error::from)? {
            demands.push(vec![Trust::Gpg(self.gpg()?)]);
        }
        let group = match self.sign_verify(sign).map_err(Error::from)? {
            SignVerify::No => return Ok(Demands(demands)),
            SignVerify::Any => self.any().map_err(Error::from)?,
            SignVerify::Of(kinds) => kinds
                .into_iter()
                .map(|kind| self.trust(kind, true))
                .collect::<std::result::Result<_, _>>()
                .map_err(Error::from)?,
        };
        demands.push(group);
        Ok(Demands(demands))
    }

    fn bad(&self, key: &str, value: String, wanted: &'static str) -> SignError {
        SignError::Setting {
            remote: self.remote.to_owned(),
            key: key.to_owned(),
            value,
            wanted,
        }
    }

    fn boolean(&self, key: &str, by_default: bool) -> std::result::Result<bool, SignError> {
        match (self.options)(key) {
            None => Ok(by_default),
            Some(value) => {
                truth(&value).ok_or_else(|| self.bad(key, value, "\"true\" or \"false\""))
            }
        }
    }

    fn sign_verify(&self, key: &str) -> std::result::Result<SignVerify, SignError> {
        let Some(value) = (self.options)(key).filter(|v| !v.is_empty()) else {
            return Ok(SignVerify::No);
        };
        match truth(&value) {
            Some(true) => return Ok(SignVerify::Any),
            Some(false) => return Ok(SignVerify::No),
            None => {}
        }
        let words = value
            .split([';', ','])
            .map(str::trim)
            .filter(|w| !w.is_empty());
        let kinds: Vec<Scheme> = words
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        if kinds.is_empty() || kinds.contains(&Scheme::Gpg) {
            return Err(self.bad(key, value, "\"true\", \"false\" or \"ed25519\""));
        }
        Ok(SignVerify::Of(kinds))
    }

    /// All kinds that can be checked here.
    fn any(&self) -> std::result::Result<Vec<Trust>, SignError> {
        let mut group = vec![self.trust(Scheme::Ed25519, false)?];
        if dummy::enabled() {
            group.push(self.trust(Scheme::Dummy, false)?);
        }
        Ok(group)
    }

    /// The keys of a kind: those that the section names, or else the host's.
    fn trust(&self, scheme: Scheme, must_be_named: bool) -> std::result::Result<Trust, SignError> {
        let key = (self.options)(&format!("verification-{scheme}-key"));
        let file = (self.options)(&format!("verification-{scheme}-file"));
        if must_be_named && key.is_none() && file.is_none() {
            return Err(SignError::NothingTrusted(scheme));
        }
        if scheme == Scheme::Dummy {
            return Ok(Trust::Dummy(key.into_iter().collect()));
        }
        let fs = self.repo.fs();
        let mut keys = KeySet::of_system(fs)?;
        if key.is_some() || file.is_some() {
            // Only what is named counts, but what was revoked stays so.
            keys.trust_none();
        }
        if let Some(key) = key {
            keys.trust(key.parse()?);
        }
        if let Some(file) = file {
            keys.add_file(fs, Path::new(&file))?;
        }
        Ok(Trust::Ed25519(keys))
    }

    /// The keyrings of the remote, and those that `gpgkeypath` names.
    fn gpg(&self) -> Result<Gpg> {
        let mut keyrings = self.repo.keyrings(Some(self.remote))?;
        if let Some(paths) = (self.options)("gpgkeypath") {
            if paths.contains(';') && paths.contains(',') {
                let wanted = "a list with one kind of separator";
                return Err(self.bad("gpgkeypath", paths, wanted).into());
            }
            // A separator at the end separates nothing.
            let paths = paths.strip_suffix([';', ',']).unwrap_or(&paths);
            for path in paths.split([';', ',']) {
                keyrings.extend(self.repo.key_files(Path::new(path))?);
            }
        }
        Ok(Gpg::with_keyrings(keyrings))
    }
}

/// What key files count as true and false.
fn truth(value: &str) -> Option<bool> {
    match value {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
