//! What becomes of edits in `/etc` when a version is activated, and when one is put back.

use std::path::{Path, PathBuf};

use engine::{Transaction, TrialKind, VersionId};
use monitor::Monitor;
use sysroot::DeploymentId;

use crate::host::THIS_HOST;
use crate::{ImageHost, Result};

/// More paths are not named one by one.
const MOST_NAMED: usize = 50;

impl ImageHost {
    /// As late as can be before a version runs: brings what was edited since it was
    /// staged into its `/etc`. A version that was on the host before the transaction may
    /// have run, and has an `/etc` of its own.
    pub(crate) fn remerge(&self, transaction: &Transaction, monitor: &dyn Monitor) -> Result<()> {
        if transaction.request.kargs.is_some() {
            // The same deployment.
            return Ok(());
        }
        let from = self.previous(&transaction.previous)?;
        let to = self.find_for(transaction)?.id;
        if transaction.request.source == THIS_HOST {
            self.tell_left_behind(&from, &to, monitor);
            return Ok(());
        }
        let begun = transaction.request.kind == TrialKind::Live && self.live_begun(transaction)?;
        if begun {
            // It is in use.
            return Ok(());
        }
        let report = self.sysroot().remerge_etc(&from, &to)?;
        name(&report.carried, monitor, |path| {
            format!("{path}: changed since staging: as it is here now")
        });
        tell_conflicts(&report.conflicts, monitor);
        Ok(())
    }

    /// Names the edits in `/etc` that going back from the one version to the other leaves
    /// behind. Nothing depends on it.
    pub fn name_edits_left(&self, running: &VersionId, back: &VersionId, monitor: &dyn Monitor) {
        if let (Ok(left), Ok(back)) = (self.previous(running), self.find(back)) {
            self.tell_left_behind(&left, &back.id, monitor);
        }
    }

    /// Names what was changed in the `/etc` of a version and is not taken along to the
    /// one that takes its place. Nothing depends on it.
    pub(crate) fn tell_left_behind(
        &self,
        left: &DeploymentId,
        back: &DeploymentId,
        monitor: &dyn Monitor,
    ) {
        let paths = match self.sysroot().etc_left_behind(left, back) {
            Ok(paths) => paths,
            Err(e) => {
                monitor.note(&format!("cannot tell what was changed in /etc: {e}"));
                return;
            }
        };
        let short = left.short();
        name(&paths, monitor, |path| {
            format!("{path}: changed in {short}, not taken over")
        });
        if !paths.is_empty() {
            let etc = self.sysroot().layout().deployment(left).join("etc");
            monitor.note(&format!(
                "what is not taken over stays in {}",
                etc.display()
            ));
        }
    }
}

/// One line for each conflict.
pub(crate) fn tell_conflicts(conflicts: &[(PathBuf, sysroot::EtcConflict)], monitor: &dyn Monitor) {
    for (path, conflict) in conflicts {
        monitor.note(&format!("{}: {conflict}", in_etc(path)));
    }
}

/// One line for each path, and how many more there are.
fn name(paths: &[PathBuf], monitor: &dyn Monitor, line: impl Fn(&str) -> String) {
    for path in paths.iter().take(MOST_NAMED) {
        monitor.note(&line(&in_etc(path)));
    }
    if let Some(more) = paths.len().checked_sub(MOST_NAMED).filter(|n| *n > 0) {
        monitor.note(&line(&format!("{more} more in /etc")));
    }
}

fn in_etc(path: &Path) -> String {
    format!("/etc/{}", path.display())
}
