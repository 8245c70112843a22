//! One host's way to its new version.
//!
//! Each step is done when the [rollout](crate::rollout) lets it begin, and ends
//! with the host through, or with its end.

mod ask;
mod keys;
mod pursue;
mod trial;
mod wanted;
mod watcher;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durable::Fs;

pub use ask::{Asked, Facts};
pub use keys::fetch as fetch_key;
use wanted::Wanted;
pub use watcher::{Happening, Unwatched, Watcher};

use crate::config::{Host, Source, Trial, When};
use crate::rollout::{End, Stage};
use crate::source::image::Outgoings;
use crate::source::origin::Origins;
use crate::source::{image, nix};
use crate::ssh::{Connection, Controls, Opening, Password, Programs, Way};
use crate::wire::Program;
use crate::{Error, Result};

/// What all hosts of a rollout share.
#[derive(Debug)]
pub struct Shared {
    /// The door to this machine's disk.
    pub fs: Arc<dyn Fs>,
    /// The programs to bring along.
    pub programs: Programs,
    /// Where the sockets of sessions are.
    pub controls: Controls,
    /// For sudo.
    pub password: Option<Password>,
    /// Where this machine may put what it needs for a while.
    pub state: PathBuf,
    /// Images made ready to be sent.
    outgoings: Outgoings,
    /// Where flakes come from.
    origins: Origins,
    /// What versions of this machine's store need.
    closures: nix::Closures,
    /// How versions are tried, if not as the description says.
    pub trial: Option<Trial>,
    /// Try versions that are known to be bad.
    pub force: bool,
}

impl Shared {
    /// What a rollout needs.
    ///
    /// # Errors
    /// No directory can be made for the sockets of sessions.
    pub fn new(fs: Arc<dyn Fs>, state: PathBuf) -> Result<Self> {
        Ok(Self {
            fs,
            programs: Programs::default(),
            controls: Controls::new()?,
            password: None,
            state,
            outgoings: Outgoings::default(),
            origins: Origins::default(),
            closures: nix::Closures::default(),
            trial: None,
            force: false,
        })
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// The host may go on.
    Through,
    /// The host is done.
    To(End),
}

/// A host, and what is needed to work on it.
#[derive(Debug, Clone, Copy)]
pub struct OnHost<'a> {
    /// The host.
    pub host: &'a Host,
    /// Its place in the plan.
    pub number: usize,
    /// What all hosts share.
    pub shared: &'a Shared,
    /// Who watches.
    pub watcher: &'a dyn Watcher,
}

impl OnHost<'_> {
    pub(crate) fn says(&self, step: &str) {
        self.watcher.happened(&Happening::Step {
            host: self.host.name.clone(),
            step: step.to_owned(),
        });
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The host can't be reached, or backstop can't be brought there.
    pub fn open(&self, way: Way) -> Result<Connection> {
        let socket = self.shared.controls.socket(self.number);
        let opening = Opening {
            programs: &self.shared.programs,
            socket: &socket,
            password: self.shared.password.as_ref(),
        };
        let connection = Connection::open(self.host, way, opening)?;
        self.watcher.happened(&Happening::Login {
            host: self.host.name.clone(),
            fresh: way == Way::Fresh,
            brought_program: connection.uploaded(),
        });
        Ok(connection)
    }

    /// Runs one `backstop` command on the host, over a session of its own.
    ///
    /// # Errors
    /// The host can't be reached, or the command does not end in time. Its own
    /// failure is told by its exit code.
    pub fn ask(&self, command: &[&str], limit: Duration) -> Result<Asked> {
        let mut session = self.open(Way::Session)?;
        let words = ask::words(self.host, command);
        let backstop = Program::Backstop;
        let ran = session.run(backstop, &words, None, limit, &mut |_| {})?;
        Ok(Asked::of(&ran))
    }

    /// Runs a command on the host as root.
    ///
    /// # Errors
    /// As [`OnHost::ask`].
    pub fn run_as_root(&self, command: &[String], limit: Duration) -> Result<Asked> {
        let mut session = self.open(Way::Session)?;
        let (program, arguments) = command.split_first().ok_or(Error::CalledOff)?;
        let program = Program::Named(program.clone());
        let ran = session.run(program, arguments, None, limit, &mut |_| {})?;
        Ok(Asked::of(&ran))
    }

    /// What the host runs.
    ///
    /// # Errors
    /// It can't be reached, or does not know.
    pub fn facts(&self) -> Result<Facts> {
        let mut session = self.open(Way::Session)?;
        ask::facts(&mut session, self.host)
    }
}

/// One host on its way.
#[derive(Debug)]
pub struct HostRun<'a> {
    on: OnHost<'a>,
    /// Set when the rollout gave it up.
    abandoned: Arc<AtomicBool>,
    session: Option<Connection>,
    facts: Option<Facts>,
    /// When they were asked for.
    asked: Option<Instant>,
    wanted: Option<Wanted>,
}

impl<'a> HostRun<'a> {
    /// A host before its first step.
    #[must_use]
    pub fn new(on: OnHost<'a>, abandoned: Arc<AtomicBool>) -> Self {
        Self {
            on,
            abandoned,
            session: None,
            facts: None,
            asked: None,
            wanted: None,
        }
    }

    /// Does one step.
    pub fn stage(&mut self, stage: Stage, put_back_to: Option<&str>) -> Came {
        let done = match stage {
            Stage::Reach => self.reach(),
            Stage::Build => self.build(),
            Stage::Copy => self.copy(),
            Stage::Activate => self.activate(),
            Stage::PutBack => self.put_back(put_back_to.unwrap_or_default()),
        };
        let came = done.unwrap_or_else(|e| Came::To(self.failed(stage, &e)));
        if (stage, &came) == (Stage::Copy, &Came::Through) {
            // It may be a while until its wave opens.
            self.on.says("ready");
        }
        if matches!(came, Came::To(_)) {
            // Nothing is left running on a host that is done with.
            self.session = None;
        }
        came
    }

    fn failed(&self, stage: Stage, error: &Error) -> End {
        let why = crate::chain(error);
        if stage == Stage::PutBack {
            return End::PutBackFailed { why };
        }
        match error {
            Error::Unreachable { why, .. } => End::Unreachable { why: why.clone() },
            Error::CalledOff => End::Skipped { why },
            _ => End::Failed {
                doing: stage.name().to_owned(),
                why,
            },
        }
    }

    fn go_on(&self) -> Result<()> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(Error::CalledOff);
        }
        Ok(())
    }

    fn session(&mut self) -> Result<&mut Connection> {
        let address = self.on.host.address.to_string();
        self.session.as_mut().ok_or(Error::Cut {
            address,
            doing: "going on".to_owned(),
            why: "there is no connection any more".to_owned(),
        })
    }

    fn reach(&mut self) -> Result<Came> {
        self.on.says("connecting");
        let mut session = self.on.open(Way::Session)?;
        self.learn(ask::facts(&mut session, self.on.host)?);
        self.session = Some(session);
        Ok(Came::Through)
    }

    fn learn(&mut self, facts: Facts) {
        self.facts = Some(facts);
        self.asked = Some(Instant::now());
    }

    fn running(&self) -> &str {
        self.facts.as_ref().map_or("", |facts| &facts.running)
    }

    fn build(&mut self) -> Result<Came> {
        self.go_on()?;
        let wanted = self.find_version()?;
        let open = self.facts.as_ref().and_then(|f| f.under_way.as_ref());
        let unchanged = open.is_none() && wanted.version == self.running();
        let version = wanted.version.clone();
        self.wanted = Some(wanted);
        if !unchanged {
            return Ok(Came::Through);
        }
        self.bring_keys(When::Before)?;
        self.bring_keys(When::After)?;
        Ok(Came::To(End::Unchanged { version }))
    }

    fn copy(&mut self) -> Result<Came> {
        self.go_on()?;
        let Some(wanted) = self.wanted.clone() else {
            return Ok(Came::Through);
        };
        let (host, watcher) = (self.on.host, self.on.watcher);
        let limit = host.bounds.copy;
        let tell = |bytes| watcher.progress(&host.name, bytes);
        if let Some(outgoing) = &wanted.outgoing {
            self.on.says("copying");
            let sysroot = &host.sysroot;
            let switch = image::send(self.session()?, outgoing, sysroot, limit, tell)?;
            if let Some(wanted) = &mut self.wanted {
                wanted.switch = switch;
            }
        }
        let copying = match &host.source {
            Some(Source::StorePath { copy, .. } | Source::Flake { copy, .. }) => *copy,
            _ => return Ok(Came::Through),
        };
        self.on.says("copying");
        let socket = self.on.shared.controls.socket(self.on.number);
        let what = wanted.derivation.as_ref().unwrap_or(&wanted.version);
        nix::hold(self.session()?, &wanted.version, limit)?;
        let closure = self.on.shared.closures.of(what, limit)?;
        nix::copy(
            self.session()?,
            host,
            what,
            &closure,
            copying,
            &socket,
            tell,
        )?;
        if let Some(drv) = &wanted.derivation {
            self.on.says("building there");
            nix::realise(self.session()?, drv, host.bounds.build)?;
        }
        Ok(Came::Through)
    }
}
