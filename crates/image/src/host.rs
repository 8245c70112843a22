//! The engine's host over a sysroot.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable::Fs;
use engine::{
    BootId, Deadman, Host, HostResult, Job, Knowledge, Now, Preflight, Running, Transaction,
    TrialKind, VersionId,
};
use machine::{LiveSwitch, Machine, Offline, Systemd};
use monitor::Monitor;
use ostree::PullOptions;
use sysroot::{
    BootOrder, Deployment, DeploymentId, Loader, StageKargs, StageRequest, Standing, Sysroot,
    TrialEntry,
};

use crate::live::LiveTrial;
use crate::source::{commit, version};
use crate::{Directory, Error, Result, Source, etc, kargs, stateroot};

/// How a transaction names its source when the version is on the host already.
pub const THIS_HOST: &str = "this host";

/// An image host: a sysroot and the machine that boots from it.
#[derive(Debug)]
pub struct ImageHost {
    fs: Arc<dyn Fs>,
    sysroot: Sysroot,
    machine: Box<dyn Machine>,
    offline: bool,
}

impl ImageHost {
    /// Opens the host whose sysroot is at `path`: `/` for the running system, the
    /// directory of a [`Directory`] machine, or where the disk of a machine that is
    /// off is mounted.
    ///
    /// # Errors
    /// There is no sysroot.
    pub fn open(fs: Arc<dyn Fs>, path: &Path) -> Result<Self> {
        if Directory::is_one(path) {
            let machine = Directory::open(fs.clone(), path)?;
            return Self::over(fs, path, Box::new(machine));
        }
        let mut host = Self::over(fs.clone(), path, Box::new(Systemd::new(fs.clone())))?;
        if path != Path::new("/") && host.sysroot.booted_at(Path::new("/"))?.is_none() {
            host.machine = Box::new(Offline::new(fs));
            host.offline = true;
        }
        Ok(host)
    }

    /// Whether the machine is off, and this is another system.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// The host whose sysroot is at `path`, on another machine.
    ///
    /// # Errors
    /// There is no sysroot.
    pub fn over(fs: Arc<dyn Fs>, path: &Path, machine: Box<dyn Machine>) -> Result<Self> {
        let sysroot = Sysroot::open(fs.clone(), path)?;
        Ok(Self {
            fs,
            sysroot,
            machine,
            offline: false,
        })
    }

    /// The door to the disk.
    pub(crate) fn fs(&self) -> Arc<dyn Fs> {
        Arc::clone(&self.fs)
    }

    /// The deployments.
    #[must_use]
    pub fn sysroot(&self) -> &Sysroot {
        &self.sysroot
    }

    /// The machine.
    pub fn machine(&mut self) -> &mut dyn Machine {
        &mut *self.machine
    }

    /// The deployment that was booted; of a machine that is off, the one that boots
    /// when nothing is on trial.
    ///
    /// # Errors
    /// What runs is no deployment of this sysroot.
    pub fn booted(&self) -> Result<DeploymentId> {
        if self.offline {
            let default = self.sysroot.published()?.order.good.into_iter().next();
            return default.ok_or_else(|| Error::NotDeployed {
                sysroot: self.sysroot.path().to_owned(),
            });
        }
        let root = self.machine.booted_root()?;
        let booted = self.sysroot.booted_at(&root)?;
        booted.ok_or_else(|| Error::NotDeployed {
            sysroot: self.sysroot.path().to_owned(),
        })
    }

    /// Whether its boot loader boots a version on trial once, and not more often.
    #[must_use]
    pub fn boots_trials_once(&self) -> bool {
        let settings = self.sysroot.boot_settings();
        settings.is_ok_and(|s| s.loader == Loader::SystemdBoot)
    }

    /// The checks of what runs now.
    ///
    /// # Errors
    /// It can't be told what runs.
    pub fn checks_root(&self) -> Result<PathBuf> {
        Ok(self.machine.active_root()?)
    }

    /// Starts the process that sees an open transaction through.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start_supervisor(&mut self) -> Result<()> {
        Ok(self.machine.start("supervise", None, &["supervise"])?)
    }

    /// The deployment of a version: the one on trial, else one just staged, else one in
    /// the boot order, else one that somebody pinned.
    pub(crate) fn find(&self, version: &VersionId) -> Result<Deployment> {
        self.find_in(version, None)
    }

    /// The deployment that a transaction is about.
    pub(crate) fn find_for(&self, transaction: &Transaction) -> Result<Deployment> {
        let stateroot = transaction.request.stateroot.as_deref();
        self.find_in(transaction.target(), stateroot)
    }

    fn find_in(&self, version: &VersionId, stateroot: Option<&str>) -> Result<Deployment> {
        let checksum = commit(version)?;
        let rank = |deployment: &Deployment| match deployment.standing {
            Standing::Trial => (0, 0),
            Standing::Unlisted if deployment.origin.is_pinned() => (4, 0),
            Standing::Unlisted => (1, usize::MAX - deployment.id.serial as usize),
            Standing::Good(at) => (2, at),
            Standing::Bad => (3, 0),
        };
        let deployments = self.sysroot.deployments()?;
        let of_version = deployments
            .into_iter()
            .filter(|d| d.id.checksum == checksum)
            .filter(|d| stateroot.is_none_or(|name| d.id.stateroot == name));
        of_version
            .min_by_key(rank)
            .ok_or_else(|| Error::NoDeployment(version.clone()))
    }

    /// The deployment that a transaction tries: the one that runs, where other kernel
    /// arguments are tried.
    pub(crate) fn target(&self, transaction: &Transaction) -> Result<DeploymentId> {
        match transaction.request.kargs {
            Some(_) => self.previous(&transaction.previous),
            None => Ok(self.find_for(transaction)?.id),
        }
    }

    /// The directory of that deployment.
    pub(crate) fn tree(&self, transaction: &Transaction) -> Result<PathBuf> {
        let id = self.target(transaction)?;
        Ok(self.sysroot.layout().deployment(&id))
    }

    /// The command line that the kernel was started with.
    pub(crate) fn cmdline(&self) -> Result<String> {
        Ok(self.machine.cmdline()?)
    }

    /// Refuses a live trial that the machine can't do.
    pub(crate) fn check_live(&self, transaction: &Transaction) -> Result<()> {
        self.live(transaction)?.check(&self.sysroot, &*self.machine)
    }

    /// The good version to go back to from `running`, if one is kept.
    ///
    /// # Errors
    /// The boot order can't be read.
    pub fn version_before(&self, running: &VersionId) -> Result<Option<VersionId>> {
        let good = self.sysroot.published()?.order.good;
        let versions = good.iter().map(|id| version(&id.checksum));
        Ok(versions.into_iter().find(|version| version != running))
    }

    /// Makes a version that is kept the default of a machine that is off. Nothing is
    /// on trial then, and what was the default boots by hand only.
    ///
    /// # Errors
    /// It has no deployment, or the disk's.
    pub fn set_default(
        &self,
        version: &VersionId,
        knowledge: &Knowledge,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let target = self.find(version)?.id;
        let before = self.sysroot.published()?.order.good.into_iter().next();
        let bad = before.filter(|id| *id != target);
        let order = self.order(&[&target], bad.as_ref(), knowledge)?;
        self.sysroot.publish(&order, monitor)?;
        if let Some(left) = &bad {
            self.tell_left_behind(left, &target, monitor);
        }
        Ok(())
    }

    /// Why the running system can't become that of `to` as it is, if it can't.
    pub(crate) fn refuses_live(&self, switch: &LiveSwitch<'_>) -> Option<String> {
        self.machine.refuses_live(switch)
    }

    /// Publishes anew what another program published, such as `ostree admin deploy`, in
    /// its order: its boot entries have no script for the boot loader, and without one
    /// the host would not boot. A host that was not taken over is left to that program.
    /// Answers whether there was anything to do.
    ///
    /// # Errors
    /// The disk's.
    pub fn republish(&self, monitor: &dyn Monitor) -> Result<bool> {
        let published = self.sysroot.published()?;
        let theirs = published.config.is_none() && self.sysroot.is_managed();
        if !theirs || published.order.good.is_empty() {
            return Ok(false);
        }
        self.sysroot.publish(&published.order, monitor)?;
        Ok(true)
    }

    /// The deployment to go back to: the booted one if it is of that version, else
    /// the first of it in the boot order. That is among the bad ones if somebody went back
    /// from it, and has to be found as long as that is being kept.
    pub(crate) fn previous(&self, version: &VersionId) -> Result<DeploymentId> {
        let checksum = commit(version)?;
        let booted = self.booted().ok().filter(|id| id.checksum == checksum);
        let in_order = || {
            let order = self.sysroot.published()?.order;
            let mut all = order.good.into_iter().chain(order.bad);
            let found = all.find(|id| id.checksum == checksum);
            found.ok_or_else(|| Error::NoDeployment(version.clone()))
        };
        booted.map_or_else(in_order, Ok)
    }

    /// Brings a version into this host's repository, from where it is said to be.
    pub(crate) fn pull(&self, target: &VersionId, text: &str, monitor: &dyn Monitor) -> Result<()> {
        let checksum = commit(target)?;
        if self.pull_from_remote(text, &checksum, monitor)? {
            return Ok(());
        }
        let source: Source = text.parse().map_err(|_| Error::Unavailable {
            version: target.clone(),
            source_text: text.to_owned(),
        })?;
        let from = source.open(self.fs.clone())?;
        let what = [checksum.to_string()];
        let options = PullOptions {
            depth: Some(0),
            ..PullOptions::default()
        };
        self.sysroot
            .repo()
            .pull_local(&from, &what, &options, monitor)?;
        Ok(())
    }

    /// Removes what an earlier, interrupted staging of the version left. What somebody
    /// pinned and what runs may be in no boot order, too, and stays.
    fn remove_leftovers(&self, version: &VersionId) -> Result<()> {
        let checksum = commit(version)?;
        for deployment in self.sysroot.deployments()? {
            let id = &deployment.id;
            if id.checksum == checksum && deployment.standing == Standing::Unlisted {
                match self.sysroot.undeploy(id) {
                    Err(sysroot::Error::InUse { .. }) => {}
                    done => done?,
                }
            }
        }
        Ok(())
    }

    fn stage_version(&self, transaction: &Transaction, monitor: &dyn Monitor) -> Result<()> {
        let target = transaction.target();
        // Before anything is downloaded; a live trial would be kept as what does not boot.
        self.sysroot.check_config()?;
        if transaction.request.kargs.is_some() {
            self.target(transaction)?;
            return Ok(());
        }
        if transaction.request.source == THIS_HOST {
            self.find(target)?;
            return Ok(());
        }
        self.pull(target, &transaction.request.source, monitor)?;
        self.remove_leftovers(target)?;
        // What runs: not what was booted, where a version was kept live since.
        let running = self.previous(&transaction.previous)?;
        let merge_from = self.sysroot.deployment(&running)?;
        let request = StageRequest {
            stateroot: self.stateroot_for(transaction, &running)?,
            commit: commit(target)?,
            origin: self.origin_for(transaction, &merge_from.origin)?,
            merge_from: Some(running),
            kargs: StageKargs::default(),
        };
        let staged = self.sysroot.stage(&request, monitor)?;
        etc::tell_conflicts(&staged.etc.conflicts, monitor);
        Ok(())
    }

    /// The boot order with these first: they and all other good deployments, newest
    /// first, then those of bad versions.
    fn order(
        &self,
        first: &[&DeploymentId],
        bad: Option<&DeploymentId>,
        knowledge: &Knowledge,
    ) -> Result<BootOrder> {
        let mut order = BootOrder::default();
        for id in first {
            push(&mut order.good, id);
        }
        let published = self.sysroot.published()?.order;
        let known_bad = |id: &DeploymentId| knowledge.bad(&version(&id.checksum)).is_some();
        let exists = |id: &DeploymentId| self.sysroot.deployment(id).is_ok();
        for id in published.good.iter().filter(|id| exists(id)) {
            if Some(id) == bad || known_bad(id) {
                push(&mut order.bad, id);
            } else {
                push(&mut order.good, id);
            }
        }
        for id in bad
            .into_iter()
            .chain(&published.bad)
            .filter(|id| exists(id))
        {
            push(&mut order.bad, id);
        }
        order.bad.retain(|id| !order.good.contains(id));
        Ok(order)
    }

    fn live(&self, transaction: &Transaction) -> Result<LiveTrial> {
        let from = self.previous(&transaction.previous)?;
        let to = self.find_for(transaction)?.id;
        Ok(LiveTrial::new(
            self.fs.clone(),
            &self.sysroot,
            transaction.id,
            from,
            to,
        ))
    }

    /// Whether a live trial was begun, so that its `/etc` may be in use.
    pub(crate) fn live_begun(&self, transaction: &Transaction) -> Result<bool> {
        Ok(self.live(transaction)?.begun())
    }

    fn publish_trial(&self, job: Job<'_>, monitor: &dyn Monitor) -> Result<()> {
        let previous = self.previous(&job.transaction.previous)?;
        let target = self.target(job.transaction)?;
        let mut order = self.order(&[&previous], None, job.knowledge)?;
        if target != previous {
            order.good.retain(|id| *id != target);
        }
        order.bad.retain(|id| *id != target);
        order.trial = Some(TrialEntry {
            deployment: target,
            attempts: job.transaction.request.attempts,
            kargs: kargs::of_trial(job.transaction)?,
        });
        self.sysroot.publish(&order, monitor)?;
        Ok(())
    }

    fn keep_version(&self, job: Job<'_>, monitor: &dyn Monitor) -> Result<()> {
        // What is kept would not boot: better the version before, which does.
        self.sysroot.check_config()?;
        let target = self.target(job.transaction)?;
        // Gone by hand, it may be: keeping must not depend on it.
        let previous = self.previous(&job.transaction.previous).ok();
        let condemned = job.knowledge.bad(&job.transaction.previous).is_some();
        let mut first = vec![&target];
        first.extend(previous.as_ref().filter(|_| !condemned));
        let order = self.order(&first, None, job.knowledge)?;
        self.publish_kept(&order, (job.transaction, &target), monitor)?;
        if job.transaction.request.kind == TrialKind::Live {
            self.live(job.transaction)?.forget()?;
        }
        self.clean_up(previous.as_ref(), monitor)
    }

    /// Takes out of the order, and off the disk, what no one needs any more: good
    /// versions beyond those that stay, and bad ones, save for the one just left: its
    /// `/etc` may hold what somebody misses.
    fn clean_up(&self, left: Option<&DeploymentId>, monitor: &dyn Monitor) -> Result<()> {
        let booted = self.booted()?;
        let published = self.sysroot.published()?.order;
        if published.trial.is_some() {
            return Ok(());
        }
        let pinned = |id: &DeploymentId| {
            self.sysroot
                .deployment(id)
                .is_ok_and(|d| d.origin.is_pinned())
        };
        let mut order = BootOrder::default();
        for (at, id) in published.good.iter().enumerate() {
            if stateroot::stays(&published.good, at) || *id == booted || pinned(id) {
                order.good.push(id.clone());
            }
        }
        order.bad = published.bad;
        order
            .bad
            .retain(|id| pinned(id) || *id == booted || Some(id) == left);
        self.sysroot.publish(&order, monitor)?;
        self.sysroot.cleanup(&[booted], monitor)?;
        Ok(())
    }

    fn put_back(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> Result<()> {
        let previous = self.previous(&job.transaction.previous)?;
        let target = self.target(job.transaction).ok();
        if self.sysroot.published()?.order.trial.is_some()
            // One sector, before anything that may take longer or fail. A disk that fails
            // just there must not stand in the way: what is published next has no trial.
            && let Err(e) = self.sysroot.set_attempts(0)
        {
            monitor.note(&format!("cannot take the attempts away: {e}"));
        }
        let bad = target.as_ref().filter(|id| **id != previous);
        let order = self.order(&[&previous], bad, job.knowledge)?;
        // Of a host that was handed back while a version was ready nothing was published.
        if self.sysroot.is_taken_over()? {
            self.publish_put_back(&order, (job.transaction, &previous), monitor)?;
        }
        if job.transaction.request.kind == TrialKind::Live && target.is_some() {
            let live = self.live(job.transaction)?;
            for path in live.revert(&self.sysroot, &mut *self.machine)? {
                let path = path.display();
                monitor.note(&format!("/{path} was changed during the trial: taken over"));
            }
            live.forget()?;
        }
        // What never ran is not bad, and nobody can have edited its /etc.
        if let Some(left) = bad.filter(|_| job.knowledge.bad(job.transaction.target()).is_some()) {
            self.tell_left_behind(left, &previous, monitor);
        }
        Ok(())
    }
}

fn push(list: &mut Vec<DeploymentId>, id: &DeploymentId) {
    if !list.contains(id) {
        list.push(id.clone());
    }
}

impl Host for ImageHost {
    fn describe(&self) -> String {
        format!("image host at {}", self.sysroot.path().display())
    }

    fn now(&mut self) -> HostResult<Now> {
        let boot = BootId::new(self.machine.boot_id()?);
        Ok(Now::in_boot(boot, self.machine.uptime()?))
    }

    fn running(&mut self) -> HostResult<Running> {
        let published = self.sysroot.published()?;
        let sector = self.sysroot.state_sector().ok();
        let of_trial = sector
            .filter(|s| published.order.trial.is_some() && Some(s.config) == published.config);
        Ok(Running {
            version: self.running_version()?,
            attempts_left: of_trial.as_ref().map(|s| s.left),
            load_failure: of_trial.and_then(|s| s.failed).map(|f| f.to_string()),
        })
    }

    fn stage(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        Ok(self.stage_version(job.transaction, monitor)?)
    }

    fn preflight(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<Preflight> {
        Ok(self.preflight_version(job.transaction, monitor)?)
    }

    fn activate(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        self.remerge(job.transaction, monitor)?;
        match job.transaction.request.kind {
            TrialKind::Boot => self.publish_trial(job, monitor)?,
            TrialKind::Live => {
                let live = self.live(job.transaction)?;
                live.switch(&self.sysroot, &mut *self.machine)?;
            }
        }
        Ok(())
    }

    fn before_boot(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        Ok(self.remerge(job.transaction, monitor)?)
    }

    fn run_checks(
        &mut self,
        job: Job<'_>,
        stage: health::Stage,
        monitor: &dyn Monitor,
    ) -> HostResult<health::Report> {
        Ok(self.check(stage, &job.transaction.baseline, monitor)?)
    }

    fn keep(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        Ok(self.keep_version(job, monitor)?)
    }

    fn roll_back(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        Ok(self.put_back(job, monitor)?)
    }

    fn discard(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        match job.transaction.request.kargs {
            Some(_) => Ok(()),
            None => Ok(self.remove_leftovers(job.transaction.target())?),
        }
    }

    fn reboot(&mut self, force: bool) -> HostResult<()> {
        Ok(self.machine.reboot(force)?)
    }

    fn arm_deadman(&mut self, deadman: Deadman, after: Duration) -> HostResult<()> {
        let name = deadman.to_string();
        let job = deadman.job();
        Ok(self.machine.start(&job, Some(after), &["deadman", &name])?)
    }

    fn disarm_deadman(
        &mut self,
        transaction: &Transaction,
        except: Option<Deadman>,
    ) -> HostResult<()> {
        let prefix = format!("deadman-{}-", transaction.id);
        let except = except.map(Deadman::job);
        Ok(self.machine.cancel(&prefix, except.as_deref())?)
    }

    fn evict_worker(&mut self) -> HostResult<()> {
        let lock = self.sysroot.path().join("ostree/backstop/lock");
        Ok(machine::evict(&lock)?)
    }
}
