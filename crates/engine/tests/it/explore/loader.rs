//! The boot loader's side of the world: what is published, and the sector in which
//! attempts are counted. What boots is decided by `boot::decide` itself.

use std::sync::LazyLock;

use boot::{
    BootConfig, Choice, ConfigId, Decision, Entry, FileDigest, LoadFailure, StateSector, Trial,
};

/// The loader's rule: `boot::decide`, or one that was broken on purpose.
pub type Decide = fn(&BootConfig, Option<&StateSector>, bool) -> Decision;

/// What the state sector says, seen from the configuration that is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sector {
    /// It names this configuration.
    Ours { left: u8, failed: bool },
    /// It names another one.
    Foreign { left: u8 },
    /// Zeros, noise, cut off, or gone.
    Unreadable,
}

/// What the boot loader finds on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Loader {
    /// The attempts of the trial in the published configuration, if it has one.
    pub trial: Option<u8>,
    pub sector: Sector,
    /// A bad version stands in the menu, to be chosen by hand.
    pub bad_listed: bool,
}

/// How one start of the machine goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Whether the lower count can be written.
    pub writable: bool,
    /// Whether the version on trial can be loaded.
    pub loads: bool,
}

impl Start {
    pub const WELL: Self = Self {
        writable: true,
        loads: true,
    };
}

/// What a start came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The version on trial runs.
    Trial,
    /// The default runs.
    Default,
}

/// Configurations without a trial, and with one of 1 to 9 attempts.
static CONFIGS: LazyLock<Vec<BootConfig>> =
    LazyLock::new(|| (0..=boot::sector::MAX_ATTEMPTS).map(config).collect());

fn config(attempts: u8) -> BootConfig {
    let entry = |name: &str| Entry {
        name: name.to_owned(),
        title: name.to_owned(),
        linux: format!("/{name}/vmlinuz"),
        initrds: vec![format!("/{name}/initrd")],
        options: boot::KernelArgs::new(),
    };
    let trial = (attempts > 0).then(|| Trial {
        entry: entry("new"),
        attempts,
        digests: vec![FileDigest {
            path: "/new/vmlinuz".to_owned(),
            sha256: "0".repeat(64),
        }],
    });
    BootConfig::new(vec![entry("old")], trial).expect("a configuration")
}

impl Loader {
    pub fn new() -> Self {
        Self {
            trial: None,
            sector: Sector::Unreadable,
            bad_listed: false,
        }
    }

    fn config(&self) -> &'static BootConfig {
        &CONFIGS[usize::from(self.trial.unwrap_or(0))]
    }

    fn read(&self) -> Option<StateSector> {
        let config = self.config().id();
        match self.sector {
            Sector::Ours { left, failed } => Some(StateSector {
                config,
                left,
                failed: failed.then_some(LoadFailure::Digest),
            }),
            Sector::Foreign { left } => {
                Some(StateSector::fresh(ConfigId::of(b"another one"), left))
            }
            Sector::Unreadable => None,
        }
    }

    fn keep(&mut self, sector: Option<&StateSector>) {
        self.sector = match sector {
            None => Sector::Unreadable,
            Some(s) if s.config == self.config().id() => Sector::Ours {
                left: s.left,
                failed: s.failed.is_some(),
            },
            Some(s) => Sector::Foreign { left: s.left },
        };
    }

    /// Another configuration is published: the sector belongs to the one before,
    /// unless it is written too.
    pub fn publish(&mut self, trial: Option<u8>, sector: Option<u8>) {
        self.trial = trial;
        self.sector = match (sector, self.sector) {
            (Some(left), _) => Sector::Ours {
                left,
                failed: false,
            },
            (None, Sector::Ours { left, .. }) => Sector::Foreign { left },
            (None, other) => other,
        };
    }

    /// The attempts left, where the sector can be read and means this trial.
    pub fn attempts_left(&self) -> Option<u8> {
        match self.sector {
            Sector::Ours { left, .. } if self.trial.is_some() => Some(left),
            _ => None,
        }
    }

    pub fn load_failure(&self) -> bool {
        self.trial.is_some() && matches!(self.sector, Sector::Ours { failed: true, .. })
    }

    /// Whether a start that nothing disturbs would try the version.
    pub fn may_try(&self) -> bool {
        let decision = boot::decide(self.config(), self.read().as_ref(), true);
        decision.entry == Choice::Trial
    }

    /// The machine starts. A version that does not load ends its trial and the
    /// machine starts again.
    pub fn start(&mut self, decide: Decide, how: Start) -> Came {
        let config = self.config();
        let decision = decide(config, self.read().as_ref(), how.writable);
        if how.writable {
            self.keep(decision.sector_after.as_ref());
        }
        if decision.entry != Choice::Trial {
            return Came::Default;
        }
        if how.loads {
            return Came::Trial;
        }
        self.keep(Some(&boot::trial_did_not_load(config, LoadFailure::Digest)));
        self.start(decide, Start::WELL)
    }
}
