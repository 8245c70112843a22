//! One site that the stories of a process share.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use monitor::Silent;
use testbed::cache::Cache;
use testbed::nixos::{BootLoader, HostOptions, Installation, NixMachine, Site, Toplevel};
use testbed::{Result, fixture, program};

use crate::Actor;

/// The site in use, if any story is being told.
static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());

/// A site with what belongs to it.
#[derive(Debug)]
struct Shared {
    site: Site,
    binary: PathBuf,
    first: String,
    // Last, so that nothing runs in it any more when it goes.
    dir: tempfile::TempDir,
}

/// A network with an operator's machine, to put hosts on.
#[derive(Debug, Clone)]
pub struct Stage(Arc<Shared>);

impl Deref for Stage {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0.site
    }
}

impl Stage {
    /// The stage that is set up, or a new one.
    ///
    /// # Errors
    /// Missing packages, no root rights; the program can't be built.
    pub fn set() -> Result<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = shared.upgrade() {
            return Ok(Self(stage));
        }
        let dir = fixture::work_dir()?;
        let binary = dir.path().join("backstop");
        strip(&fixture::binary()?, &binary)?;
        let site = Site::new(&dir.path().join("site"), &binary)?;
        let stage = Arc::new(Shared {
            first: site.build(&installed("1"))?,
            site,
            binary,
            dir,
        });
        *shared = Arc::downgrade(&stage);
        Ok(Self(stage))
    }

    /// The program under test, without what only a debugger reads.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.0.binary
    }

    /// A host of that name that runs version 1 of an [`installed`] system.
    ///
    /// # Errors
    /// It does not boot.
    pub fn actor(&self, name: &str) -> Result<Actor> {
        self.actor_with(name, HostOptions::default())
    }

    /// The same, of another kind.
    ///
    /// # Errors
    /// It does not boot.
    pub fn actor_with(&self, name: &str, options: HostOptions) -> Result<Actor> {
        let first = options.system.unwrap_or_else(|| self.0.first.clone());
        let options = HostOptions {
            backstop: Some(self.0.binary.clone()),
            system: Some(first.clone()),
            ..options
        };
        Ok(Actor::new(self.host(name, &options)?, first))
    }

    /// A real machine of that name that runs this version.
    ///
    /// # Errors
    /// It does not boot.
    pub fn machine(
        &self,
        name: &str,
        loader: BootLoader,
        first: &Toplevel,
    ) -> Result<Actor<NixMachine>> {
        let dir = self.0.dir.path();
        let installation = Installation {
            name,
            loader,
            system: first,
            backstop: &self.0.binary,
            dir,
        };
        let cache = Cache::from_env();
        let machine = self.0.site.machine(&installation, &cache, &Silent)?;
        let first = machine.first().to_owned();
        Ok(Actor::new(machine, first))
    }

    /// Builds a version and brings it to a host.
    ///
    /// # Errors
    /// What `nix` said.
    pub fn bring_version(&self, version: &Toplevel, actor: &Actor) -> Result<String> {
        let path = self.build(version)?;
        self.bring(&path, actor)?;
        Ok(path)
    }
}

/// A debug build is large, and travels to every host.
fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut command = Command::new("strip");
    program::run(command.arg("-o").args([to, from])).map(drop)
}

/// A version of a system that has backstop's own units, as the NixOS module gives
/// them to a host.
#[must_use]
pub fn installed(version: &str) -> Toplevel {
    Toplevel::new(version)
        .unit("backstop-settle.service", SETTLE)
        .unit("backstop-health.service", HEALTH)
}

const SETTLE: &str = "[Unit]
Description=Settle an upgrade that was under way
DefaultDependencies=no
Conflicts=shutdown.target
Before=backstop-health.service
After=local-fs.target
RequiresMountsFor=/var/lib/backstop /boot
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/bin/backstop settle
TimeoutStartSec=90
";
const HEALTH: &str = "[Unit]
Description=Check the health of this boot
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
After=multi-user.target backstop-settle.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/opt/bin/backstop health
TimeoutStartSec=infinity
";
