//! An image host's checks: before the activation, and of what runs.

use std::path::Path;

use engine::{Preflight, Transaction, TrialKind};
use health::{Baseline, BuiltIns, Checks, Report, Runner, Stage};
use monitor::Monitor;

use crate::{ImageHost, Result};

/// What runs a version's own programs before the version runs: without network,
/// and with its processes and mounts kept apart. The tree's path follows.
const APART: &[&str] = &[
    "unshare",
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    "chroot",
];

impl ImageHost {
    /// The checks of what runs now.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn checks(&self) -> Result<Checks> {
        let root = self.checks_root()?;
        Ok(Checks::load(&root, built_ins(&root)))
    }

    /// Runs a stage's checks on what runs now, judged by a baseline.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn check(
        &self,
        stage: Stage,
        baseline: &Baseline,
        monitor: &dyn Monitor,
    ) -> Result<Report> {
        let runner = Runner::new(&self.checks_root()?);
        Ok(runner.run(&self.checks()?, stage, baseline, monitor))
    }

    /// How what runs now is: what a version on trial is compared with.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn baseline(&self, monitor: &dyn Monitor) -> Result<Baseline> {
        let runner = Runner::new(&self.checks_root()?);
        Ok(runner.baseline(&self.checks()?, monitor))
    }

    /// Runs the checks that a staged version brings for itself, and looks at how
    /// the host is before it changes.
    pub(crate) fn preflight_version(
        &self,
        transaction: &Transaction,
        monitor: &dyn Monitor,
    ) -> Result<Preflight> {
        if transaction.request.kind == TrialKind::Live {
            self.check_live(transaction)?;
        }
        let tree = self.tree(transaction)?;
        let own = Checks::load(&tree, BuiltIns::Without);
        let mut runner = Runner::new(&tree);
        if runs_systemd(&self.checks_root()?) {
            let mut launcher: Vec<String> = APART.iter().map(ToString::to_string).collect();
            launcher.push(tree.display().to_string());
            runner = runner.launched_by(launcher);
        }
        let report = runner.run(&own, Stage::Preflight, &Baseline::default(), monitor);
        let baseline = self.baseline(monitor)?;
        let refuses_live = None;
        Ok(Preflight {
            report,
            baseline,
            refuses_live,
        })
    }
}

/// The built-in checks ask systemd and the kernel, so they are for the system that
/// this process runs in.
fn built_ins(root: &Path) -> BuiltIns {
    if runs_systemd(root) {
        BuiltIns::With
    } else {
        BuiltIns::Without
    }
}

fn runs_systemd(root: &Path) -> bool {
    root == Path::new("/")
}
