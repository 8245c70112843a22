//! The engine's host over a Nix store.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use durable::{Doing, Fs};
use engine::{
    BootId, Deadman, Fault, Host, HostError, HostResult, Job, Knowledge, Now, Preflight, Running,
    Transaction, TrialKind, VersionId,
};
use machine::{Detached, Machine, Systemd};
use monitor::Monitor;

use crate::activation::{Activation, Notes};
use crate::config::{BadConfig, Config};
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::loader::{self, Loader};
use crate::profile::{Profile, ProfileGeneration};
use crate::roots::Roots;
use crate::store::{Store, StorePath};
use crate::switch::{Action, SwitchEnd, Switched, Switcher};

/// How a transaction names its source when the version is on the host already.
pub const THIS_HOST: &str = "this host";
/// How a transaction names its source when Nix's own substituters have it.
pub const SUBSTITUTERS: &str = "substituters";
/// How the name of another store begins as a transaction's source.
pub const STORE: &str = "store ";
/// The lists in which an interrupted `switch-to-configuration` leaves its work to
/// the next one.
const LISTS: [&str; 3] = ["start-list", "restart-list", "reload-list"];

/// A Nix host: a store, a system profile, and the machine that boots from them.
#[derive(Debug)]
pub struct NixHost {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) layout: Layout,
    pub(crate) config: Config,
    machine: Box<dyn Machine>,
}

impl NixHost {
    /// Opens the Nix host below `root`: `/` for the running system.
    ///
    /// # Errors
    /// Its limits can't be read.
    pub fn open(fs: Arc<dyn Fs>, root: &Path) -> std::result::Result<Self, BadConfig> {
        let layout = Layout::new(root);
        let config = Config::load(&*fs, root)?;
        let machine: Box<dyn Machine> = if layout.is_running_system() && systemd_runs() {
            Box::new(Systemd::transient(fs.clone()))
        } else {
            Box::new(Detached::new(fs.clone(), &layout.memory()))
        };
        Ok(Self {
            fs,
            layout,
            config,
            machine,
        })
    }

    /// Where things are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Its limits.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The version that is active.
    ///
    /// # Errors
    /// It can't be told.
    pub fn active_system(&self) -> Result<StorePath> {
        let current = self.layout.current_system();
        match StorePath::resolve(&self.layout, &current) {
            Ok(path) => Ok(path),
            Err(_) => self.profile().current()?.ok_or(Error::NotNixos(current)),
        }
    }

    /// The version that was booted.
    ///
    /// # Errors
    /// It can't be told.
    pub fn booted_system(&self) -> Result<StorePath> {
        let booted = self.layout.booted_system();
        StorePath::resolve(&self.layout, &booted).or_else(|_| self.active_system())
    }

    /// Starts the process that sees an open transaction through.
    ///
    /// # Errors
    /// It can't be started.
    pub fn start_supervisor(&mut self) -> Result<()> {
        self.start("supervise", None, &["supervise"])
    }

    fn start(&mut self, name: &str, after: Option<Duration>, arguments: &[&str]) -> Result<()> {
        let root = self.layout.root().to_string_lossy().into_owned();
        let mut all = globals(&root).to_vec();
        all.extend(arguments);
        Ok(self.machine.start(name, after, &all)?)
    }

    /// The good version to go back to from `running`: the newest one known, else
    /// that of the newest other generation of which nothing bad is known.
    ///
    /// # Errors
    /// The profile can't be read.
    pub fn version_before(
        &self,
        running: &VersionId,
        knowledge: &Knowledge,
    ) -> Result<Option<VersionId>> {
        let here = |version: &&VersionId| {
            StorePath::of(&self.layout, version).is_ok_and(|path| path.path().exists())
        };
        let good = knowledge.good_newest_first();
        let known = good.into_iter().filter(|v| *v != running).find(here);
        if let Some(version) = known {
            return Ok(Some(version.clone()));
        }
        let generations = self.profile().generations()?;
        let versions = generations.iter().rev().map(|g| g.path.version());
        let fits = |v: &VersionId| v != running && knowledge.bad(v).is_none();
        Ok(versions.into_iter().find(fits))
    }

    pub(crate) fn profile(&self) -> Profile<'_> {
        Profile {
            fs: &*self.fs,
            layout: &self.layout,
            limit: self.config.command_timeout,
        }
    }

    pub(crate) fn loader(&self) -> Result<Loader<'_>> {
        Loader::find(&*self.fs, &self.layout, self.config.command_timeout)
    }

    fn notes(&self) -> Notes<'_> {
        Notes::new(&*self.fs, &self.layout)
    }

    fn roots(&self) -> Roots<'_> {
        Roots::new(&*self.fs, &self.layout)
    }

    /// Where the output of a step goes.
    pub(crate) fn log(&self, name: &str) -> Result<PathBuf> {
        let dir = self.layout.memory().join("log");
        durable::create_dir_all(&*self.fs, &dir, 0o700)?;
        Ok(dir.join(format!("{name}.log")))
    }

    /// A transaction's version in the store.
    pub(crate) fn path(&self, version: &VersionId) -> Result<StorePath> {
        StorePath::of(&self.layout, version)
    }

    /// How long a program may take of the time that a timer gives to all of it.
    fn share(deadline: Duration) -> Duration {
        deadline * 4 / 5
    }

    fn stage_version(&self, transaction: &Transaction) -> Result<()> {
        let target = self.path(transaction.target())?;
        let previous = self.path(&transaction.previous)?;
        let roots = self.roots();
        roots.add(&previous)?;
        // Before it is there, so that no collection comes between.
        roots.add(&target)?;
        let store = Store {
            layout: &self.layout,
            config: &self.config,
            log: self.log("stage")?,
        };
        let source = &transaction.request.source;
        store.complete(&target, || match source.strip_prefix(STORE) {
            Some(from) => store.fetch(&target, Some(from)),
            None if source == SUBSTITUTERS => store.fetch(&target, None),
            None => Err(Error::NotHere(target.clone())),
        })?;
        store.check_signatures(&target)?;
        // Nix syncs its database, but not what it writes into the store.
        for dir in [self.layout.store(), self.layout.state()] {
            let sync = self.fs.sync_filesystem(&dir);
            sync.doing("sync the filesystem of", &dir)?;
        }
        Ok(())
    }

    /// Runs a system's `switch-to-configuration` so that it can be stopped by
    /// others than this process.
    fn switch(
        &self,
        toplevel: &StorePath,
        action: Action,
        limit: Duration,
        activation: &mut Activation,
    ) -> Result<Switched> {
        let log = self.log(&action.to_string())?;
        let switcher = Switcher {
            layout: &self.layout,
            toplevel,
            log: &log,
            limit,
            lock_wait: self.config.lock_wait.min(limit),
        };
        switcher.run(action, |leader| {
            activation.working(leader);
            self.notes().save(activation)
        })
    }

    fn activate_version(&self, job: Job<'_>, monitor: &dyn Monitor) -> Result<()> {
        let transaction = job.transaction;
        let boot = BootId::new(self.machine.boot_id()?);
        let before = self.notes().load(transaction.id)?;
        let fresh = before.is_none();
        let mut activation = before.unwrap_or(Activation {
            tx: transaction.id,
            boot: boot.clone(),
            boots: transaction.request.kind == TrialKind::Boot,
            default_before: self.profile().current()?,
            group: None,
            failed_units: Vec::new(),
        });
        activation.stop_leftovers(&boot);
        activation.boot = boot;
        self.notes().save(&activation)?;
        match transaction.request.kind {
            TrialKind::Boot => self.activate_at_boot(transaction, &mut activation),
            TrialKind::Live => self.activate_live(transaction, &mut activation, fresh, monitor),
        }
    }

    fn activate_live(
        &self,
        transaction: &Transaction,
        activation: &mut Activation,
        fresh: bool,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let target = self.path(transaction.target())?;
        let limit = Self::share(transaction.request.check_deadline);
        let limit = self.config.activation_timeout.unwrap_or(limit);
        let mut switched = self.switch(&target, Action::Test, limit, activation)?;
        tell(monitor, &switched.output);
        let unbegun = switched.end.fault().is_some_and(Fault::changed_nothing);
        if unbegun && fresh {
            self.notes().forget()?;
        } else if unbegun {
            // An activation before this one was cut short: something has changed.
            switched.end = SwitchEnd::GaveUp;
        }
        self.active_or_not(&target, transaction, activation, switched)
    }

    /// Whether `test` made the system active. Failed units are left to the checks,
    /// which know what had failed before; where nobody else can tell, they are kept
    /// in mind.
    fn active_or_not(
        &self,
        toplevel: &StorePath,
        transaction: &Transaction,
        activation: &mut Activation,
        switched: Switched,
    ) -> Result<()> {
        activation.failed_units.clear();
        match &switched.end {
            SwitchEnd::Done => {}
            SwitchEnd::UnitsFailed(_) if self.runs_systemd() => {}
            SwitchEnd::UnitsFailed(units) => {
                let before = &transaction.baseline.failed_units;
                let new = units.iter().filter(|unit| !before.contains(*unit));
                activation.failed_units = new.cloned().collect();
                if units.is_empty() {
                    activation
                        .failed_units
                        .push("a unit without a name".to_owned());
                }
            }
            _ => return Err(switched.failed(toplevel, Action::Test)),
        }
        self.notes().save(activation)
    }

    /// Gives the version an entry of its own that is booted once. The default stays:
    /// the boot loader is configured by the version that runs.
    fn activate_at_boot(
        &self,
        transaction: &Transaction,
        activation: &mut Activation,
    ) -> Result<()> {
        let target = self.path(transaction.target())?;
        let previous = self.path(&transaction.previous)?;
        let loader = self.loader()?;
        loader.can_boot_once()?;
        let default = activation.default_before.clone().unwrap_or(previous);
        let profile = self.profile();
        if activation.default_before.is_none() {
            profile.set(&default)?;
        }
        // Only generations have entries.
        let known = profile.generations()?.iter().any(|g| g.path == target);
        if !known {
            profile.set(&target)?;
        }
        let limit = Self::share(transaction.request.effect_deadline);
        self.configure_loader(&default, limit, activation)?;
        profile.switch_to(&default)?;
        // Looked for again: its configuration was just written.
        drop(loader);
        self.loader()?.boot_once(&target)
    }

    /// Makes a version the boot loader's default.
    fn configure_loader(
        &self,
        default: &StorePath,
        limit: Duration,
        activation: &mut Activation,
    ) -> Result<()> {
        let switched = self.switch(default, Action::Boot, limit, activation)?;
        if switched.end != SwitchEnd::Done {
            return Err(switched.failed(default, Action::Boot));
        }
        loader::sync(&*self.fs, &self.layout)
    }

    fn keep_version(&self, job: Job<'_>) -> Result<()> {
        let transaction = job.transaction;
        let target = self.path(transaction.target())?;
        let previous = self.path(&transaction.previous)?;
        let boot = BootId::new(self.machine.boot_id()?);
        let mut activation = self.notes().load(transaction.id)?.unwrap_or(Activation {
            tx: transaction.id,
            boot: boot.clone(),
            boots: false,
            default_before: self.profile().current()?,
            group: None,
            failed_units: Vec::new(),
        });
        activation.stop_leftovers(&boot);
        self.notes().save(&activation)?;
        // Without a generation, the boot loader's menu would lose the way back.
        let before = |g: &ProfileGeneration| g.path == previous;
        if !self.profile().generations()?.iter().any(before) {
            self.profile().set(&previous)?;
        }
        // The profile first: as long as it leads elsewhere than before, a rollback
        // knows that the boot loader must be looked after.
        self.profile().set(&target)?;
        let limit = Self::share(transaction.request.effect_deadline);
        self.configure_loader(&target, limit, &mut activation)?;
        match self.loader() {
            Ok(loader) => {
                loader.settle_default(&target)?;
                if activation.boots {
                    loader.boot_default()?;
                }
            }
            Err(e) if activation.boots => return Err(e),
            Err(_) => {}
        }
        self.roots().add(&previous)?;
        self.roots().keep_only(&[&target, &previous])
    }

    fn put_back(&self, job: Job<'_>, monitor: &dyn Monitor) -> Result<()> {
        let transaction = job.transaction;
        let previous = self.path(&transaction.previous)?;
        let boot = BootId::new(self.machine.boot_id()?);
        let Some(mut activation) = self.notes().load(transaction.id)? else {
            // It never began.
            return self.give_up(transaction, job.knowledge);
        };
        activation.stop_leftovers(&boot);
        if activation.boots
            && let Ok(loader) = self.loader()
        {
            loader.boot_default()?;
        }
        let limit = Self::share(transaction.request.effect_deadline);
        self.restore_default(&previous, limit, &mut activation)?;
        if !activation.boots && activation.boot == boot {
            self.clear_lists()?;
            let switched = self.switch(&previous, Action::Test, limit, &mut activation)?;
            tell(monitor, &switched.output);
            self.active_or_not(&previous, transaction, &mut activation, switched)?;
        }
        self.give_up(transaction, job.knowledge)
    }

    /// Makes the boot loader's default, and then the profile, what they were.
    fn restore_default(
        &self,
        previous: &StorePath,
        limit: Duration,
        activation: &mut Activation,
    ) -> Result<()> {
        let profile = self.profile();
        let current = profile.current()?;
        if current == activation.default_before {
            return Ok(());
        }
        let default = activation.default_before.clone();
        let default = default.unwrap_or_else(|| previous.clone());
        if activation.default_before.is_none() {
            // It must be a generation to have an entry.
            profile.set(&default)?;
        }
        self.configure_loader(&default, limit, activation)?;
        if !profile.switch_to(&default)? {
            profile.set(&default)?;
        }
        Ok(())
    }

    /// Lets the previous version's activation begin from what runs, not from what an
    /// interrupted one had planned.
    fn clear_lists(&self) -> Result<()> {
        for list in LISTS {
            let path = self.layout.nixos_run().join(list);
            match self.fs.remove_file(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.doing("remove", &path)?,
            }
        }
        Ok(())
    }

    /// Protects the version that stays and the newest other good one, and lets go of
    /// the one that failed.
    fn give_up(&self, transaction: &Transaction, knowledge: &Knowledge) -> Result<()> {
        let previous = self.path(&transaction.previous)?;
        let other = self.version_before(&transaction.previous, knowledge)?;
        let other = other.filter(|version| version != transaction.target());
        let other = other.map(|version| self.path(&version)).transpose()?;
        let mut kept = vec![&previous];
        kept.extend(&other);
        for path in &kept {
            self.roots().add(path)?;
        }
        self.roots().keep_only(&kept)
    }

    pub(crate) fn runs_systemd(&self) -> bool {
        self.layout.is_running_system() && systemd_runs()
    }

    /// The units that failed in the trial's activation, where only that can tell.
    pub(crate) fn failed_units(&self, transaction: &Transaction) -> Result<Vec<String>> {
        let activation = self.notes().load(transaction.id)?;
        Ok(activation.map(|a| a.failed_units).unwrap_or_default())
    }

    /// Boots left to the version on trial, if that is known.
    fn attempts_left(&self) -> Option<u8> {
        let boots = self.notes().latest().ok().flatten()?.boots;
        let loader = self.loader().ok().filter(|_| boots)?;
        loader.is_armed().ok().map(u8::from)
    }
}

fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Lets `backstop` find the same host again.
fn globals(root: &str) -> [&str; 4] {
    ["--host", "nix", "--sysroot", root]
}

/// Passes the end of a program's output on: to the unit's journal.
fn tell(monitor: &dyn Monitor, output: &str) {
    for line in output.lines() {
        monitor.note(line);
    }
}

impl Host for NixHost {
    fn describe(&self) -> String {
        format!("Nix host at {}", self.layout.root().display())
    }

    fn now(&mut self) -> HostResult<Now> {
        let boot = BootId::new(self.machine.boot_id()?);
        Ok(Now::in_boot(boot, self.machine.uptime()?))
    }

    fn running(&mut self) -> HostResult<Running> {
        Ok(Running {
            version: self.booted_system()?.version(),
            attempts_left: self.attempts_left(),
            load_failure: None,
        })
    }

    fn active(&mut self) -> HostResult<Option<VersionId>> {
        Ok(Some(self.active_system()?.version()))
    }

    fn stage(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(self.stage_version(job.transaction)?)
    }

    fn preflight(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<Preflight> {
        Ok(self.preflight_version(job.transaction, monitor)?)
    }

    fn activate(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        let root = self.layout.root().to_string_lossy().into_owned();
        self.machine.guard_boots(&globals(&root))?;
        Ok(self.activate_version(job, monitor)?)
    }

    fn fault(&self, error: &HostError) -> Option<Fault> {
        match error.downcast_ref::<Error>()? {
            Error::Switch { end, .. } => end.fault(),
            _ => None,
        }
    }

    fn run_checks(
        &mut self,
        job: Job<'_>,
        stage: health::Stage,
        monitor: &dyn Monitor,
    ) -> HostResult<health::Report> {
        Ok(self.check_trial(job.transaction, stage, monitor)?)
    }

    fn keep(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(self.keep_version(job)?)
    }

    fn roll_back(&mut self, job: Job<'_>, monitor: &dyn Monitor) -> HostResult<()> {
        Ok(self.put_back(job, monitor)?)
    }

    fn discard(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(self.give_up(job.transaction, job.knowledge)?)
    }

    fn reboot(&mut self, force: bool) -> HostResult<()> {
        Ok(self.machine.reboot(force)?)
    }

    fn arm_deadman(&mut self, deadman: Deadman, after: Duration) -> HostResult<()> {
        let name = deadman.to_string();
        let job = deadman.job();
        Ok(self.start(&job, Some(after), &["deadman", &name])?)
    }

    fn disarm_deadman(
        &mut self,
        transaction: &Transaction,
        except: Option<Deadman>,
    ) -> HostResult<()> {
        let prefix = format!("deadman-{}-", transaction.id);
        let ended = except.is_none();
        let except = except.map(Deadman::job);
        if ended {
            self.machine.unguard_boots()?;
        }
        Ok(self.machine.cancel(&prefix, except.as_deref())?)
    }

    fn evict_worker(&mut self) -> HostResult<()> {
        let lock = self.layout.memory().join("lock");
        Ok(machine::evict(&lock)?)
    }
}
