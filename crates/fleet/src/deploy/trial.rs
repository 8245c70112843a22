//! From staging to the end of the trial.

use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use engine::{Fault, Open, Outcome, Phase, Reason, Record, TrialKind, TxId};

use super::pursue::{Over, Pursuit};
use super::{Came, HostRun, OnHost, Wanted, ask};
use crate::config::{Trial, When};
use crate::rollout::End;
use crate::ssh::{Ran, Way};
use crate::wire::Program;
use crate::{Error, Result};

/// What a host said so long ago is believed.
const LATELY: Duration = Duration::from_secs(10);
/// What `backstop switch` exits with when the host would not begin.
const REFUSED: i32 = 5;

/// What was seen of the trial over the session.
#[derive(Debug)]
pub(super) struct Seen {
    tx: Option<TxId>,
    kind: TrialKind,
    phase: Option<Phase>,
    pub(super) outcome: Option<Outcome>,
    line: Vec<u8>,
}

impl Seen {
    pub(super) fn new() -> Self {
        Self {
            tx: None,
            kind: TrialKind::Live,
            phase: None,
            outcome: None,
            line: Vec::new(),
        }
    }

    /// Takes output as it comes; answers with the records that became whole.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Record> {
        self.line.extend_from_slice(bytes);
        let mut records = Vec::new();
        while let Some(at) = self.line.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.line.drain(..=at).collect();
            // Other lines are not about the transaction.
            if let Ok(record) = serde_json::from_slice::<Record>(&line) {
                self.note(&record);
                records.push(record);
            }
        }
        records
    }

    fn note(&mut self, record: &Record) {
        if let Some(open) = record.state.open() {
            self.tx = Some(open.transaction.id);
            self.kind = open.transaction.request.kind;
            self.phase = Some(open.phase.clone());
        } else if self.tx.is_none() {
            self.tx = record.event.tx();
        }
        if record.outcome.is_some() {
            self.outcome.clone_from(&record.outcome);
        }
    }
}

impl HostRun<'_> {
    /// Brings secrets, begins the trial, confirms, and waits for its end.
    pub(super) fn activate(&mut self) -> Result<Came> {
        self.go_on()?;
        let Some(wanted) = self.wanted.clone() else {
            return Err(Error::CalledOff);
        };
        self.refresh()?;
        if let Some(open) = self.facts.as_ref().and_then(|f| f.under_way.clone()) {
            return self.take_up(&open, &wanted).map(Came::To);
        }
        self.bring_keys(When::Before)?;
        let end = self.try_version(&wanted)?;
        if self.on.host.confirm || !matches!(end, End::Kept { .. }) {
            return Ok(Came::To(end));
        }
        let end = match self.bring_late_keys() {
            Ok(()) => end,
            Err(e) => End::Failed {
                doing: "bringing secrets to the version that was kept".to_owned(),
                why: crate::chain(&e),
            },
        };
        Ok(Came::To(end))
    }

    /// Brings the secrets that are wanted after the activation to a host that waits
    /// for no confirmation.
    fn bring_late_keys(&mut self) -> Result<()> {
        if self
            .on
            .host
            .keys
            .values()
            .all(|key| key.when == When::Before)
        {
            return Ok(());
        }
        // A reboot may have ended the session.
        self.session = None;
        self.reach()?;
        self.bring_keys(When::After)
    }

    /// Asks again what runs if it is a while since the host was reached: the
    /// connection may be gone. Whoever began something just now is seen by the host,
    /// which then refuses.
    fn refresh(&mut self) -> Result<()> {
        let host = self.on.host;
        let lately = self.asked.is_some_and(|asked| asked.elapsed() < LATELY);
        if lately && self.session.is_some() {
            return Ok(());
        }
        if let Ok(session) = self.session()
            && let Ok(facts) = ask::facts(session, host)
        {
            self.learn(facts);
            return Ok(());
        }
        self.session = None;
        self.reach().map(drop)
    }

    /// A transaction that is open already: of our version, begun by a deployer that
    /// is gone, or somebody else's.
    fn take_up(&mut self, open: &Open, wanted: &Wanted) -> Result<End> {
        let transaction = &open.transaction;
        if transaction.target().as_str() != wanted.version {
            return Ok(End::Refused {
                why: format!(
                    "cannot begin: its upgrade {} to {} is {}",
                    transaction.id,
                    transaction.target().short(),
                    open.phase.name()
                ),
            });
        }
        match waits_for_others(&open.phase) {
            Some(why) => Ok(End::Staged { why }),
            None => self.pursue(transaction.id, transaction.request.kind, wanted),
        }
    }

    fn try_version(&mut self, wanted: &Wanted) -> Result<End> {
        let words = self.switch_words(wanted);
        let bounds = &self.on.host.bounds;
        let limit = bounds.stage + bounds.activation + bounds.confirm + bounds.settle;
        let mut session = self.session.take().ok_or(Error::CalledOff)?;
        let mut seen = Seen::new();
        self.on.says("staging");
        let on = self.on;
        let over = Over::default();
        let (ran, pursued) = std::thread::scope(|scope| {
            let (tell, told) = channel();
            let mut pursuit = None;
            let over = &over;
            let ran = session.run(Program::Backstop, &words, None, limit, &mut |bytes| {
                for record in seen.take(bytes) {
                    show(on, &record);
                    if record.outcome.is_some() {
                        // Nobody needs to ask any more how it ended.
                        over.set();
                    }
                    if let (Some(open), None, true) = (on_trial(&record), pursuit, on.host.confirm)
                    {
                        pursuit = Some(open.transaction.id);
                        let tell: Sender<_> = tell.clone();
                        let pursuing = Pursuit::of(on, open.clone(), over);
                        // The host's thread waits for the answer.
                        scope.spawn(move || drop(tell.send(pursuing.run())));
                    }
                }
            });
            drop(tell);
            (ran, told.recv().ok())
        });
        self.session = Some(session);
        self.conclude(wanted, ran, seen, pursued)
    }

    /// What it all came to.
    fn conclude(
        &mut self,
        wanted: &Wanted,
        ran: Result<Ran>,
        seen: Seen,
        pursued: Option<Result<Option<Outcome>>>,
    ) -> Result<End> {
        if let Some(outcome) = seen.outcome {
            return Ok(self.end(&outcome, wanted));
        }
        match pursued {
            Some(Ok(Some(outcome))) => return Ok(self.end(&outcome, wanted)),
            // That it is over was seen over the session.
            Some(Ok(None)) | None => {}
            Some(Err(e)) => {
                return Ok(End::LeftAlone {
                    why: crate::chain(&e),
                });
            }
        }
        let Some(tx) = seen.tx else {
            return self.not_begun(wanted, ran?);
        };
        match seen.phase.as_ref().and_then(waits_for_others) {
            Some(why) => Ok(End::Staged { why }),
            None => self.pursue(tx, seen.kind, wanted),
        }
    }

    /// Follows an open transaction to its end.
    fn pursue(&mut self, tx: TxId, kind: TrialKind, wanted: &Wanted) -> Result<End> {
        self.session = None;
        let over = Over::default();
        match Pursuit::new(self.on, tx, kind, &over).run() {
            Ok(Some(outcome)) => Ok(self.end(&outcome, wanted)),
            Ok(None) => Err(Error::CalledOff),
            Err(e) => Ok(End::LeftAlone {
                why: crate::chain(&e),
            }),
        }
    }

    /// `backstop switch` wrote nothing down.
    fn not_begun(&self, wanted: &Wanted, ran: Ran) -> Result<End> {
        match ran.code {
            Some(0) => Ok(End::Unchanged {
                version: wanted.version.clone(),
            }),
            Some(REFUSED) => Ok(End::Refused {
                why: ask::said(&ran),
            }),
            _ => Err(Error::OnHost {
                host: self.on.host.name.clone(),
                doing: "begin".to_owned(),
                why: ask::said(&ran),
            }),
        }
    }

    fn switch_words(&self, wanted: &Wanted) -> Vec<String> {
        let (host, bounds) = (self.on.host, &self.on.host.bounds);
        let seconds = |d: Duration| format!("{}s", d.as_secs().max(1));
        let mut command = vec!["switch".to_owned(), wanted.switch.clone()];
        match self.on.shared.trial.unwrap_or(host.trial) {
            Trial::Live => command.push("--live".to_owned()),
            Trial::Boot => command.push("--boot".to_owned()),
            Trial::Policy => {}
        }
        let mut option = |name: &str, value: String| command.extend([name.to_owned(), value]);
        if host.confirm {
            option("--confirm-by", "deployer".to_owned());
            option("--confirm-within", seconds(bounds.confirm));
        }
        option("--check-deadline", seconds(bounds.activation));
        option("--boot-deadline", seconds(bounds.boot));
        if let Some(attempts) = host.attempts {
            option("--attempts", attempts.to_string());
        }
        for (name, fact) in &wanted.provenance {
            option("--provenance", format!("{name}={fact}"));
        }
        if self.on.shared.force {
            command.push("--force".to_owned());
        }
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        ask::words(host, &command)
    }

    /// A transaction's outcome as the host's end.
    fn end(&mut self, outcome: &Outcome, wanted: &Wanted) -> End {
        let reason = outcome.to_string();
        let reason = reason
            .split_once(": ")
            .map_or(reason.as_str(), |(_, r)| r)
            .to_owned();
        let end = match outcome {
            Outcome::Kept { .. } => {
                return End::Kept {
                    previous: self.running().to_owned(),
                    version: wanted.version.clone(),
                };
            }
            Outcome::Rejected {
                reason:
                    Reason::NotActivated {
                        fault: Fault::Busy, ..
                    },
            } => End::Refused { why: reason },
            Outcome::Rejected { .. } => End::Rejected { reason },
            Outcome::RolledBack { .. } => End::RolledBack { reason },
            Outcome::Stranded { .. } => End::Stranded { why: reason },
        };
        self.show_log();
        end
    }

    /// The last lines of the host's log, if they can be had.
    fn show_log(&mut self) {
        let host = self.on.host;
        let mut fresh = None;
        let lines = match &mut self.session {
            Some(session) => ask::log(session, host),
            None => {
                fresh = self.on.open(Way::Fresh).ok();
                fresh
                    .as_mut()
                    .map(|c| ask::log(c, host))
                    .unwrap_or_default()
            }
        };
        drop(fresh);
        if !lines.is_empty() {
            self.on.watcher.happened(&super::Happening::Log {
                host: host.name.clone(),
                lines,
            });
        }
    }

    /// Goes back to the version that ran before this rollout, as a trial of its
    /// own.
    pub(super) fn put_back(&mut self, version: &str) -> Result<Came> {
        self.on.says("putting back");
        self.session = None;
        self.reach()?;
        let running = self.running().to_owned();
        let mut switch = version.to_owned();
        if !version.contains('/') {
            // An image that is on the host already.
            let repo = self.on.host.sysroot.join("ostree/repo");
            switch = format!("{}:{version}", repo.display());
        }
        let wanted = Wanted {
            version: version.to_owned(),
            switch,
            outgoing: None,
            derivation: None,
            provenance: std::collections::BTreeMap::new(),
        };
        if running == version {
            return Ok(Came::To(End::PutBack { version: running }));
        }
        Ok(Came::To(match self.try_version(&wanted)? {
            End::Kept { version, .. } | End::Unchanged { version } => End::PutBack { version },
            end => End::PutBackFailed {
                why: end.to_string(),
            },
        }))
    }
}

/// The transaction, if the version is on trial now.
fn on_trial(record: &Record) -> Option<&Open> {
    let open = record.state.open()?;
    matches!(open.phase, Phase::Trial(_)).then_some(open)
}

/// What a transaction waits for, if that is nothing that happens by itself.
pub(super) fn waits_for_others(phase: &Phase) -> Option<String> {
    match phase {
        Phase::AwaitingBoot { reboot: false } => Some("the next reboot tries it".to_owned()),
        Phase::Ready {
            postponed: Some(why),
        } => Some(why.clone()),
        _ => None,
    }
}

fn show(on: OnHost<'_>, record: &Record) {
    let Some(open) = record.state.open() else {
        return;
    };
    on.says(match &open.phase {
        Phase::Requested => "staging",
        Phase::Staged => "preflight",
        Phase::Ready { .. } | Phase::Activating { .. } => "activating",
        Phase::AwaitingBoot { .. } => "rebooting",
        Phase::Trial(trial) if trial.confirmed_by.is_some() => "confirmed",
        Phase::Trial(_) => "on trial",
        Phase::Keeping { .. } => "keeping",
        _ => "rolling back",
    });
}
