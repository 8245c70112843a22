//! `/etc` of a staged version, brought up to the moment in which it is activated.

use std::io;
use std::path::{Path, PathBuf};

use durable::Doing;

use crate::deployment::{DeploymentId, Standing};
use crate::etc::{self, EtcConflict, EtcReport, EtcTrees, Merge};
use crate::sysroot::Sysroot;
use crate::{Error, Result};

impl Sysroot {
    /// Merges `/etc` of a deployment again that was staged from `from` and never ran:
    /// what was edited since is not lost then. Answers with that, and with the conflicts
    /// that are new. Where nothing was edited, nothing is written.
    ///
    /// # Errors
    /// A deployment that is not there or runs, or the disk's; `/etc` is as it was then.
    pub fn remerge_etc(&self, from: &DeploymentId, to: &DeploymentId) -> Result<EtcReport> {
        let _lock = self.lock()?;
        let (old, new) = (self.existing(from)?, self.existing(to)?);
        if self.running()?.as_ref() == Some(to) {
            let (id, why) = (to.clone(), "its /etc is in use");
            return Err(Error::InUse { id, why });
        }
        let trees = EtcTrees {
            old_default: &old.join("usr/etc"),
            local: &old.join("etc"),
            new_default: &new.join("usr/etc"),
        };
        let merge = Merge::new(self.fs(), trees)?;
        let etc = new.join("etc");
        if self.fs().metadata(&etc).is_err_and(|e| is_not_found(&e)) {
            // Cut off where the filesystem cannot exchange names.
            self.replace_etc(to, &merge)?;
            return Ok(merge.report);
        }
        let since = merge.since(self.fs(), &etc)?;
        if since.stale {
            self.replace_etc(to, &merge)?;
        } else {
            // Who replaced it last may have been killed right after.
            self.fs().sync_dir(&new).doing("sync", &new)?;
            self.protect(&new)?;
        }
        Ok(since.report)
    }

    /// The paths in `/etc` that were changed in `left` and are not so in `back`, for a
    /// host that goes back to that one.
    ///
    /// # Errors
    /// A deployment that is not there, or the disk's.
    pub fn etc_left_behind(
        &self,
        left: &DeploymentId,
        back: &DeploymentId,
    ) -> Result<Vec<PathBuf>> {
        let (left, back) = (self.existing(left)?, self.existing(back)?);
        let trees = EtcTrees {
            old_default: &left.join("usr/etc"),
            local: &left.join("etc"),
            new_default: &back.join("etc"),
        };
        let EtcReport { carried, conflicts } = etc::preview(self.fs(), &trees)?;
        let copied = conflicts
            .into_iter()
            .filter(|(_, kind)| *kind != EtcConflict::NotCopied);
        let mut paths: Vec<_> = carried
            .into_iter()
            .chain(copied.map(|(path, _)| path))
            .collect();
        paths.retain(|path| path != Path::new(etc::UPDATED));
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// The directory of a deployment that must be there.
    pub(crate) fn existing(&self, id: &DeploymentId) -> Result<PathBuf> {
        let dir = self.layout().deployment(id);
        match self.fs().metadata(&dir) {
            Ok(_) => Ok(dir),
            Err(_) => Err(Error::NoDeployment(id.clone())),
        }
    }

    /// Makes the result beside the deployments, where a cut leaves it to the next
    /// cleaning, and lets it change places with `etc`.
    fn replace_etc(&self, id: &DeploymentId, merge: &Merge<'_>) -> Result<()> {
        let (fs, staging) = (self.fs(), self.layout().staging());
        durable::remove_tree(fs, &staging)?;
        durable::create_dir_all(fs, &staging, 0o700)?;
        let fresh = staging.join("etc");
        let replaced = merge
            .make(fs, &fresh)
            .map_err(Error::from)
            .and_then(|()| self.change_places(&fresh, id));
        // What was replaced, or could not be put in its place: nothing depends on it.
        let _ = durable::remove_tree(fs, &staging);
        replaced
    }

    /// At any instant the deployment has the one or the other, whole; where the
    /// filesystem cannot exchange names, either of them or, for an instant, none.
    fn change_places(&self, fresh: &Path, id: &DeploymentId) -> Result<()> {
        let (fs, deployment) = (self.fs(), &self.layout().deployment(id));
        fs.sync_filesystem(fresh)
            .doing("sync the filesystem of", fresh)?;
        fs.set_immutable(deployment, false)
            .doing("make mutable", deployment)?;
        let etc = deployment.join("etc");
        let changed = match durable::exchange_and_sync(fs, fresh, &etc) {
            Err(e) if is_not_found(&e.source) => Ok(durable::rename_and_sync(fs, fresh, &etc)?),
            Err(e) if cannot(&e.source) => self.replace_unlisted(id, fresh, &etc),
            changed => changed.map_err(Error::from),
        };
        self.protect(deployment)?;
        changed
    }

    /// By two renames, of a deployment that nothing boots: in between it has no `etc`, and
    /// whoever goes on makes it again.
    fn replace_unlisted(&self, id: &DeploymentId, fresh: &Path, etc: &Path) -> Result<()> {
        if self.published()?.standing(id) != Standing::Unlisted {
            return Err(Error::InUse {
                id: id.clone(),
                why: "it may boot at any time, and this filesystem cannot exchange two names, so \
                      its /etc cannot be replaced in one step",
            });
        }
        let (fs, replaced) = (self.fs(), fresh.with_extension("replaced"));
        durable::rename_and_sync(fs, etc, &replaced)?;
        let renamed = durable::rename_and_sync(fs, fresh, etc);
        if renamed.is_err() {
            // The first error is the one that matters.
            let _ = durable::rename_and_sync(fs, &replaced, etc);
        }
        Ok(renamed?)
    }
}

fn is_not_found(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// Whether the filesystem cannot exchange names.
fn cannot(exchange: &io::Error) -> bool {
    let kind = exchange.kind();
    matches!(
        kind,
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}
