//! Another stateroot than the one that runs: an operating system beside it, with a `/var`
//! of its own. Between two of them a host goes by boot trials only.

use engine::{Request, Transaction, TrialKind, VersionId};
use sysroot::{DeploymentId, Origin, Standing};

use crate::source::commit;
use crate::{Error, ImageHost, Result, Source};

/// Good deployments that are kept besides the newest one (P5).
const KEPT_BESIDES: usize = 1;

/// Whether a good deployment is kept, by its place among all, newest first: the newest two
/// are, and the newest one of each stateroot. Without it, nothing could use that `/var`.
pub(crate) fn stays(good: &[DeploymentId], at: usize) -> bool {
    let (newer, rest) = good.split_at(at.min(good.len()));
    let newest_of_its_own = |id: &DeploymentId| newer.iter().all(|n| n.stateroot != id.stateroot);
    at <= KEPT_BESIDES || rest.first().is_some_and(newest_of_its_own)
}

/// Why the running system can't become a version of this stateroot.
pub(crate) fn takes_a_reboot(stateroot: &str) -> Error {
    let why = apart(stateroot);
    Error::NotLive(format!("{why}, and that takes a reboot: --boot"))
}

/// What sets this stateroot apart from the one that runs.
pub(crate) fn apart(stateroot: &str) -> String {
    format!("it is for the stateroot {stateroot}, whose /var the running system does not have")
}

impl ImageHost {
    /// Lets a request put its version into this stateroot, which need not be there yet.
    ///
    /// # Errors
    /// A name that can't be; a live trial, unless what runs is of this stateroot; or the
    /// version is in another stateroot of this host.
    pub fn ask_for_stateroot(&self, request: &mut Request, name: &str) -> Result<()> {
        self.check_stateroot(&request.target, name)?;
        if request.kind == TrialKind::Live && self.booted()?.stateroot != name {
            return Err(takes_a_reboot(name));
        }
        request.stateroot = Some(name.to_owned());
        Ok(())
    }

    /// Refuses a stateroot that a version cannot be put into.
    pub(crate) fn check_stateroot(&self, target: &VersionId, name: &str) -> Result<()> {
        if !sysroot::is_stateroot_name(name) {
            return Err(sysroot::Error::StaterootName(name.to_owned()).into());
        }
        let checksum = commit(target)?;
        let deployments = self.sysroot().deployments()?;
        let elsewhere = deployments.into_iter().find(|d| {
            let wanted = match d.standing {
                Standing::Good(_) | Standing::Trial => true,
                Standing::Unlisted => d.origin.is_pinned(),
                Standing::Bad => false,
            };
            wanted && d.id.checksum == checksum && d.id.stateroot != name
        });
        match elsewhere {
            Some(found) => Err(Error::Elsewhere {
                version: target.clone(),
                stateroot: found.id.stateroot,
            }),
            None => Ok(()),
        }
    }

    /// Refuses a live way back to a version of another stateroot.
    ///
    /// # Errors
    /// That; or it has no deployment.
    pub fn check_way_back(&self, request: &Request) -> Result<()> {
        let to = self.find(&request.target)?.id;
        match request.kind {
            TrialKind::Live if self.booted()?.stateroot != to.stateroot => {
                Err(takes_a_reboot(&to.stateroot))
            }
            _ => Ok(()),
        }
    }

    /// What upgrades in the booted stateroot follow, if it was named when a version was
    /// put into it.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn stateroot_source(&self) -> Result<Option<Source>> {
        let origin = self.sysroot().deployment(&self.booted()?)?.origin;
        origin.source().map(str::parse).transpose()
    }

    /// Where a version is to be staged; made if it is not there. One that was made and cut
    /// off is completed.
    pub(crate) fn stateroot_for(
        &self,
        transaction: &Transaction,
        running: &DeploymentId,
    ) -> Result<String> {
        let Some(name) = &transaction.request.stateroot else {
            return Ok(running.stateroot.clone());
        };
        self.sysroot().add_stateroot(name)?;
        Ok(name.clone())
    }

    /// The origin of what is staged. A stateroot that was named follows from then on what
    /// it was given: the policy in `/etc`, which is carried over, is for the other one.
    pub(crate) fn origin_for(&self, transaction: &Transaction, running: &Origin) -> Result<Origin> {
        let origin = running.for_another();
        let request = &transaction.request;
        let Some(source) = request
            .stateroot
            .as_ref()
            .and_then(|_| request.source.parse::<Source>().ok())
        else {
            return Ok(origin);
        };
        let refspec = match self.has_remote(&source)? {
            true => source.to_string(),
            false => source.rev,
        };
        Ok(origin.with_source(&request.source).with_refspec(&refspec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostree::Checksum;

    #[test]
    fn the_newest_two_stay_and_the_newest_of_each_stateroot() {
        // Letters are stateroots, newest first; below: whether each stays.
        for (good, expected) in [
            ("", ""),
            ("a", "y"),
            ("aaa", "yyn"),
            ("ba", "yy"),
            ("baa", "yyn"),
            ("bba", "yyy"),
            ("bbaa", "yyyn"),
            ("abba", "yynn"),
            ("bbbac", "yynyy"),
        ] {
            let id = |(n, stateroot): (usize, char)| DeploymentId {
                stateroot: stateroot.to_string(),
                checksum: Checksum::of(&[n as u8]),
                serial: 0,
            };
            let ids: Vec<_> = good.chars().enumerate().map(id).collect();
            let found = (0..ids.len()).map(|at| if stays(&ids, at) { 'y' } else { 'n' });
            assert_eq!(found.collect::<String>(), expected, "{good}");
        }
    }
}
