//! Carrying a rollout out: a thread for each host that is at something, and one
//! that asks the [`Rollout`] what comes next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crate::config::Host;
use crate::deploy::{Came, Happening, HostRun, OnHost, Shared, Watcher};
use crate::rollout::{Action, End, Event, Log, LogError, Rollout, Stage};

/// How often the wish to stop is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What carries a rollout out.
#[derive(Debug)]
pub struct Executor<'a> {
    /// The hosts, by their places in the plan.
    pub hosts: Vec<&'a Host>,
    /// What they share.
    pub shared: &'a Shared,
    /// Who watches.
    pub watcher: &'a dyn Watcher,
    /// Where hosts' ends are written down.
    pub log: &'a Log,
    /// Set when a person wants it to stop.
    pub interrupted: &'a AtomicBool,
}

/// What a host's thread is told.
struct Order {
    stage: Stage,
    put_back_to: Option<String>,
}

/// A host's thread, as seen from the others.
struct Worker {
    orders: Sender<Order>,
    abandoned: Arc<AtomicBool>,
}

/// A rollout under way.
struct Run<'s, 'e, 'a> {
    executor: &'s Executor<'a>,
    scope: &'s Scope<'s, 'e>,
    rollout: &'s mut Rollout,
    workers: Vec<Option<Worker>>,
    tell: Sender<Event>,
    pause_until: Option<Instant>,
    wave: Option<usize>,
}

impl Executor<'_> {
    /// Carries the rollout out to its end, and gives how each host ended.
    ///
    /// # Errors
    /// An end could not be written down. Hosts in their trial are seen through
    /// first.
    pub fn run(&self, rollout: &mut Rollout) -> Result<Vec<End>, LogError> {
        let result = std::thread::scope(|scope| {
            let (tell, events) = channel();
            let mut run = Run {
                executor: self,
                scope,
                workers: self.hosts.iter().map(|_| None).collect(),
                rollout,
                tell,
                pause_until: None,
                wave: None,
            };
            run.carry_out(&events)
        });
        let unknown = || End::Skipped {
            why: "the rollout ended before it".to_owned(),
        };
        let ends = (0..self.hosts.len()).map(|at| rollout.end(at).cloned().unwrap_or_else(unknown));
        result.map(|()| ends.collect())
    }
}

impl Run<'_, '_, '_> {
    fn carry_out(&mut self, events: &Receiver<Event>) -> Result<(), LogError> {
        let mut written = Ok(());
        let mut told = false;
        let actions = self.rollout.begin();
        let mut finished = self.act(actions);
        while !finished {
            let event = match events.recv_timeout(LOOK) {
                Ok(event) => event,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => match self.tick(&mut told) {
                    Some(event) => event,
                    None => continue,
                },
            };
            if let Event::Ended { host, end } = &event
                && let Err(e) = self.ended(*host, end)
            {
                // Without a record nothing new may begin.
                written = Err(e);
                let actions = self.rollout.step(Event::Interrupted);
                self.act(actions);
            }
            let before = self.skipped();
            let actions = self.rollout.step(event);
            finished = self.act(actions);
            self.tell_skipped(&before);
        }
        written
    }

    /// What happens without any host's doing.
    fn tick(&mut self, told: &mut bool) -> Option<Event> {
        if self.executor.interrupted.load(Ordering::Relaxed) && !*told {
            *told = true;
            self.executor.watcher.happened(&Happening::Interrupted);
            return Some(Event::Interrupted);
        }
        if self
            .pause_until
            .is_some_and(|until| until <= Instant::now())
        {
            self.pause_until = None;
            return Some(Event::PauseOver);
        }
        None
    }

    /// Tells and writes down a host's end.
    fn ended(&mut self, host: usize, end: &End) -> Result<(), LogError> {
        self.workers[host] = None;
        let name = &self.executor.hosts[host].name;
        self.executor.watcher.happened(&Happening::Ended {
            host: name.clone(),
            outcome: end.clone(),
        });
        self.executor.log.ended(name, end)
    }

    fn skipped(&self) -> Vec<bool> {
        let hosts = 0..self.workers.len();
        hosts.map(|at| self.rollout.end(at).is_some()).collect()
    }

    /// Tells of hosts that the rollout itself has ended.
    fn tell_skipped(&self, before: &[bool]) {
        for (at, was) in before.iter().enumerate() {
            if let (false, Some(outcome @ End::Skipped { .. })) = (*was, self.rollout.end(at)) {
                self.executor.watcher.happened(&Happening::Ended {
                    host: self.executor.hosts[at].name.clone(),
                    outcome: outcome.clone(),
                });
            }
        }
    }

    /// Does what is to be done; answers whether that is all.
    fn act(&mut self, actions: Vec<Action>) -> bool {
        let mut finished = false;
        for action in actions {
            match action {
                Action::Begin { host, stage } => self.begin(host, stage),
                Action::Abandon { host } => {
                    if let Some(worker) = self.workers[host].take() {
                        worker.abandoned.store(true, Ordering::Relaxed);
                    }
                }
                Action::Pause => {
                    let seconds = self.rollout.plan().pause_s;
                    self.executor
                        .watcher
                        .happened(&Happening::Pause { seconds });
                    self.pause_until = Some(Instant::now() + Duration::from_secs(seconds));
                }
                Action::Finished => finished = true,
            }
        }
        if !finished {
            self.tell_wave();
        }
        finished
    }

    fn tell_wave(&mut self) {
        let wave = self.rollout.wave();
        if self.wave.replace(wave) != Some(wave) && !self.rollout.interrupted() {
            let hosts = self.rollout.plan().hosts.iter();
            self.executor.watcher.happened(&Happening::Wave {
                wave: wave + 1,
                hosts: hosts.filter(|host| host.wave == wave).count(),
            });
        }
    }

    /// Lets a host begin a stage, on a thread of its own.
    fn begin(&mut self, host: usize, stage: Stage) {
        let put_back_to = match self.rollout.end(host) {
            Some(End::Kept { previous, .. }) => Some(previous.clone()),
            _ => None,
        };
        let order = Order { stage, put_back_to };
        let worker = match self.workers[host].take() {
            Some(worker) => worker,
            None => self.hire(host),
        };
        // A thread that is gone has told why.
        let _ = worker.orders.send(order);
        self.workers[host] = Some(worker);
    }

    fn hire(&self, at: usize) -> Worker {
        let (orders, told) = channel::<Order>();
        let abandoned = Arc::new(AtomicBool::new(false));
        let (flag, tell) = (abandoned.clone(), self.tell.clone());
        let on = OnHost {
            host: self.executor.hosts[at],
            number: at,
            shared: self.executor.shared,
            watcher: self.executor.watcher,
        };
        self.scope.spawn(move || {
            let mut run = HostRun::new(on, flag);
            while let Ok(order) = told.recv() {
                let came = run.stage(order.stage, order.put_back_to.as_deref());
                let event = match came {
                    Came::Through => Event::Through {
                        host: at,
                        stage: order.stage,
                    },
                    Came::To(end) => Event::Ended { host: at, end },
                };
                if tell.send(event).is_err() {
                    return;
                }
            }
        });
        Worker { orders, abandoned }
    }
}
