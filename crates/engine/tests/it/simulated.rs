//! A host in memory, told by a script how things go.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{
    BootId, Deadman, Fault, Host, HostError, HostResult, Job, Now, Preflight, Running, Transaction,
    TrialKind, VersionId,
};
use health::{Baseline, CheckResult, Need, Report, Stage, Status, Verdict};
use monitor::Monitor;

/// The host. What a script sets to go wrong goes wrong until it is set right.
#[derive(Debug)]
pub struct Simulated {
    pub boots: u32,
    pub uptime_ms: u64,
    pub running: VersionId,
    pub active: VersionId,
    pub default: VersionId,
    pub trial: Option<(VersionId, u8)>,
    pub timers: Vec<Deadman>,
    pub wrong: BTreeMap<String, String>,
    /// What the host did, apart from the engine's own timeline.
    pub log: Vec<String>,
    /// What happens while the checks run.
    pub meanwhile: Meanwhile,
    pub reboots_asked: u32,
}

/// Something that happens once.
#[derive(Default)]
pub struct Meanwhile(pub Option<Box<dyn FnOnce()>>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Meanwhile").field(&self.0.is_some()).finish()
    }
}

impl Simulated {
    pub fn new() -> Self {
        let old = VersionId::new("v1");
        Self {
            boots: 1,
            uptime_ms: 10_000,
            running: old.clone(),
            active: old.clone(),
            default: old,
            trial: None,
            timers: Vec::new(),
            wrong: BTreeMap::new(),
            log: Vec::new(),
            meanwhile: Meanwhile::default(),
            reboots_asked: 0,
        }
    }

    /// The boot loader's part: count, then hand over.
    pub fn boot(&mut self) {
        self.boots += 1;
        self.uptime_ms = 5_000;
        self.timers.clear();
        self.running = match &mut self.trial {
            Some((version, left)) if *left > 0 => {
                *left -= 1;
                version.clone()
            }
            _ => self.default.clone(),
        };
        self.active = self.running.clone();
    }

    fn goes(&self, what: &str) -> HostResult<()> {
        match self.wrong.get(what) {
            Some(why) if why == "killed" => std::panic::panic_any("killed"),
            Some(why) => Err(why.clone().into()),
            None => Ok(()),
        }
    }

    fn report(&self, stage: Stage, what: &str) -> Report {
        let (status, verdict) = match self.wrong.get(what) {
            Some(why) => (Status::Failed { why: why.clone() }, Verdict::Counts),
            None => (Status::Passed, Verdict::Passed),
        };
        let results = vec![CheckResult {
            name: "shop".to_owned(),
            need: Need::Required,
            status,
            verdict,
            output: String::new(),
            tries: 1,
            took_ms: 5,
        }];
        let took_ms = 5;
        Report {
            stage,
            results,
            took_ms,
        }
    }
}

impl Host for Simulated {
    fn describe(&self) -> String {
        "simulated host".to_owned()
    }
    fn now(&mut self) -> HostResult<Now> {
        self.uptime_ms += 1_000;
        Ok(Now {
            time: 1_800_000_000 + u64::from(self.boots) * 1_000 + self.uptime_ms / 1_000,
            uptime_ms: self.uptime_ms,
            boot: BootId::new(format!("boot-{}", self.boots)),
        })
    }
    fn running(&mut self) -> HostResult<Running> {
        Ok(Running {
            version: self.running.clone(),
            attempts_left: self.trial.as_ref().map(|(_, left)| *left),
            load_failure: self.wrong.get("load").cloned(),
        })
    }
    fn stage(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        self.goes("stage")
    }
    fn preflight(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<Preflight> {
        self.goes("preflight")?;
        Ok(Preflight {
            report: self.report(Stage::Preflight, "preflight check"),
            baseline: Baseline::default(),
            refuses_live: self.wrong.get("live").cloned(),
        })
    }
    fn fault(&self, _: &HostError) -> Option<Fault> {
        self.wrong.contains_key("busy").then_some(Fault::Busy)
    }
    fn activate(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        self.goes("busy")?;
        self.goes("activate")?;
        let request = &job.transaction.request;
        match request.kind {
            TrialKind::Live => self.active = request.target.clone(),
            TrialKind::Boot => self.trial = Some((request.target.clone(), request.attempts)),
        }
        Ok(())
    }
    fn before_boot(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        let target = job.transaction.target();
        self.log.push(format!("  ({target:?} made ready)"));
        self.goes("make ready")
    }
    fn run_checks(&mut self, job: Job<'_>, stage: Stage, _: &dyn Monitor) -> HostResult<Report> {
        if let Some(happens) = self.meanwhile.0.take() {
            happens();
        }
        self.goes("checks")?;
        let what = if self.active != *job.transaction.target() {
            "old check"
        } else {
            "check"
        };
        Ok(self.report(stage, what))
    }
    fn keep(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        self.goes("keep")?;
        self.default = job.transaction.target().clone();
        self.trial = None;
        Ok(())
    }
    fn roll_back(&mut self, job: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        self.goes("roll back")?;
        self.default = job.transaction.previous.clone();
        self.trial = None;
        // Active, but not booted: it was activated live.
        let target = job.transaction.target();
        if self.active == *target && self.running != *target {
            self.active = job.transaction.previous.clone();
        }
        Ok(())
    }
    fn discard(&mut self, _: Job<'_>, _: &dyn Monitor) -> HostResult<()> {
        Ok(())
    }
    fn reboot(&mut self, _: bool) -> HostResult<()> {
        self.reboots_asked += 1;
        self.goes("reboot")
    }
    fn arm_deadman(&mut self, deadman: Deadman, _: Duration) -> HostResult<()> {
        self.goes("arm")?;
        if !self.timers.contains(&deadman) {
            self.timers.push(deadman);
        }
        Ok(())
    }
    fn disarm_deadman(&mut self, tx: &Transaction, except: Option<Deadman>) -> HostResult<()> {
        self.timers.retain(|t| t.tx != tx.id || Some(*t) == except);
        Ok(())
    }
    fn evict_worker(&mut self) -> HostResult<()> {
        self.log.push("  (worker stopped)".to_owned());
        self.goes("evict")
    }
}
