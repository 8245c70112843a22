//! Versions from a remote of the host's own repository, over the network.

use engine::VersionId;
use fetch::PullOptions;
use monitor::Monitor;
use ostree::sign::RemoteVerifier;
use ostree::{Checksum, Remote};

use crate::source::version;
use crate::{Error, ImageHost, Result, Source};

impl ImageHost {
    /// The remote that a source means, if it does not mean a directory: its first part
    /// is a name without a slash, and a remote's.
    fn remote_of(&self, source: &Source) -> Result<Option<Remote>> {
        let Some(name) = source.repo.to_str().filter(|name| !name.contains('/')) else {
            return Ok(None);
        };
        match self.sysroot().repo().remote(name) {
            Ok(remote) => Ok(Some(remote)),
            Err(ostree::Error::NoRemote(_)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Whether a source means a remote of this host's repository.
    ///
    /// # Errors
    /// The remotes can't be read.
    pub fn has_remote(&self, source: &Source) -> Result<bool> {
        Ok(self.remote_of(source)?.is_some())
    }

    /// The version that a source names now; a remote is asked over the network.
    ///
    /// # Errors
    /// The source cannot be had, is not believed, or lacks the revision.
    pub fn resolve(&self, source: &Source, monitor: &dyn Monitor) -> Result<VersionId> {
        let Some(remote) = self.remote_of(source)? else {
            return source.resolve(self.fs());
        };
        let failed = |e| failed(&remote, e);
        let repo = self.sysroot().repo();
        let verifier = RemoteVerifier::new(repo, &remote)?;
        let options = PullOptions::default();
        let found = fetch::resolve(repo, &remote, &source.rev, &options, &verifier, monitor);
        Ok(version(&found.map_err(failed)?))
    }

    /// What the booted deployment's origin follows, if that is a ref of a remote.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn followed(&self) -> Result<Option<Source>> {
        let booted = self.sysroot().deployment(&self.booted()?)?;
        let refspec = booted.origin.refspec().unwrap_or_default();
        let Ok(source) = refspec.parse::<Source>() else {
            return Ok(None);
        };
        Ok(self.remote_of(&source)?.map(|_| source))
    }

    /// Brings a version from a remote; `false` when its source is none.
    pub(crate) fn pull_from_remote(
        &self,
        text: &str,
        commit: &Checksum,
        monitor: &dyn Monitor,
    ) -> Result<bool> {
        let Ok(source) = text.parse::<Source>() else {
            return Ok(false);
        };
        let Some(remote) = self.remote_of(&source)? else {
            return Ok(false);
        };
        // The ref may have moved on since the version was chosen.
        let is_commit = source.rev.parse::<Checksum>().is_ok();
        let wanted = match is_commit {
            true => commit.to_string(),
            false => format!("{}@{commit}", source.rev),
        };
        let options = PullOptions {
            refs: vec![wanted],
            ..PullOptions::default()
        };
        let repo = self.sysroot().repo();
        let verifier = RemoteVerifier::new(repo, &remote)?;
        fetch::pull(repo, &remote, &options, &verifier, monitor).map_err(|e| failed(&remote, e))?;
        Ok(true)
    }
}

fn failed(remote: &Remote, source: fetch::Error) -> Error {
    Error::Remote {
        name: remote.name().to_owned(),
        source: Box::new(source),
    }
}
