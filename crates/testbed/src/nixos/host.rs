//! One host.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::root::Root;
use super::switch::Port;
use super::{clock, firmware};
use crate::machine::End;
use crate::nspawn::{self, Container, READY, Start};
use crate::{Error, Result, program};

/// How often it is looked at.
const POLL: Duration = Duration::from_millis(30);
/// How long a boot may take, on a machine that has much else to do.
const BOOT: Duration = Duration::from_secs(300);
/// What commands on a host find.
const PATH: &str = "PATH=/opt/bin:/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Where the program under test is, if it is installed.
const INSTALLED: &str = "/opt/bin/backstop";

/// What a host is like.
#[derive(Debug, Clone, Default)]
pub struct HostOptions {
    /// The store path, on the operator's machine, of what it runs first; version
    /// 1 of the site if not given.
    pub system: Option<String>,
    /// Its system profile does not exist: nobody has deployed to it yet.
    pub no_profile: bool,
    /// How many bytes `/nix` has room for; it lives until the first reboot then.
    pub room: Option<u64>,
    /// Its wall clock is its own; see [`NixHost::set_clock`].
    pub own_clock: bool,
    /// The program to install as `backstop`.
    pub backstop: Option<PathBuf>,
}

/// A host. It boots again after a reboot; it is switched off when dropped.
#[derive(Debug)]
pub struct NixHost {
    name: String,
    address: String,
    shared: Arc<Shared>,
    port: Port,
}

/// What the power supply needs.
#[derive(Debug)]
struct Shared {
    root: Root,
    log: PathBuf,
    options: Vec<String>,
    room: Option<u64>,
    power: Mutex<Power>,
}

#[derive(Debug, Default)]
struct Power {
    container: Option<Container>,
    boots: usize,
    gone: bool,
    trouble: Option<String>,
}

impl NixHost {
    /// Switches a host on whose root is complete.
    pub(super) fn start(
        name: &str,
        address: &str,
        root: Root,
        port: Port,
        options: &HostOptions,
    ) -> Result<Self> {
        let mut nspawn = vec![
            format!("--network-namespace-path={}", port.path()),
            "--capability=CAP_NET_ADMIN".to_owned(),
            nspawn::bind("bind-ro", Path::new("/usr"), "/usr"),
        ];
        if options.own_clock {
            clock::install(&root)?;
        }
        if let Some(binary) = &options.backstop {
            root.put(&INSTALLED[1..], "")?;
            nspawn.push(nspawn::bind("bind-ro", binary, INSTALLED));
        }
        let shared = Arc::new(Shared {
            log: root.path().with_extension("log"),
            root,
            options: nspawn,
            room: options.room,
            power: Mutex::default(),
        });
        shared.start()?;
        let supply = Arc::clone(&shared);
        std::thread::spawn(move || supply.follow());
        Ok(Self {
            name: name.to_owned(),
            address: address.to_owned(),
            shared,
            port,
        })
    }

    /// Its name, which is in the operator's `/etc/hosts`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its root directory, as this machine sees it. `/run` of a running host is
    /// not there.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.shared.root.path()
    }

    /// Its network namespace, as a path.
    #[must_use]
    pub fn network(&self) -> PathBuf {
        self.port.path().into()
    }

    pub(super) fn port(&self) -> &Port {
        &self.port
    }

    /// Waits until it is up.
    ///
    /// # Errors
    /// It does not boot.
    pub fn wait_ready(&self) -> Result<()> {
        let boots = self.boots();
        self.wait_for_boot(boots)
    }

    /// Waits until it is up in boot `number`, counted from 1, or a later one.
    ///
    /// # Errors
    /// It does not boot so often.
    pub fn wait_for_boot(&self, number: usize) -> Result<()> {
        let until = Instant::now() + BOOT;
        loop {
            let power = self.shared.power();
            let console = power.container.as_ref().map(Container::console);
            let up = console.is_some_and(|console| console.find(READY).is_some());
            if up && power.boots >= number {
                return Ok(());
            }
            if Instant::now() > until {
                let tail = console.map(crate::Console::tail).unwrap_or_default();
                let trouble = power.trouble.clone().unwrap_or_default();
                return Err(Error::Timeout {
                    what: format!("boot {number} of {}", self.name),
                    within: BOOT,
                    tail: format!("{tail}\n{trouble}"),
                });
            }
            drop(power);
            std::thread::sleep(POLL);
        }
    }

    /// How often it was started.
    #[must_use]
    pub fn boots(&self) -> usize {
        self.shared.power().boots
    }

    /// Sets its wall clock ahead of this machine's by so many seconds, if it has one
    /// of its own.
    ///
    /// # Errors
    /// The file.
    pub fn set_clock(&self, ahead: i64) -> Result<()> {
        clock::set(self.root(), ahead)
    }

    /// Cuts its power.
    pub fn power_off(&self) {
        self.shared.power().container = None;
    }

    /// Switches it on, if it is off.
    ///
    /// # Errors
    /// Its boot loader finds nothing.
    pub fn power_on(&self) -> Result<()> {
        self.shared.start()
    }

    /// A command that runs a script on it, as if typed at its console.
    ///
    /// # Errors
    /// It is off.
    pub fn command(&self, script: &str) -> Result<Command> {
        let power = self.shared.power();
        let container = power.container.as_ref().ok_or_else(|| Error::Stopped {
            waiting_for: format!("{} to run {script:?}", self.name),
            tail: power.trouble.clone().unwrap_or_default(),
        })?;
        let mut command = container.enter()?;
        command
            .args(["/usr/bin/env", "-i", "HOME=/root", "USER=root", PATH])
            .args(["/bin/sh", "-c", script]);
        Ok(command)
    }

    /// Runs a script on it and gives its end.
    ///
    /// # Errors
    /// It is off.
    pub fn output(&self, script: &str) -> Result<Output> {
        nspawn::output_of(&mut self.command(script)?)
    }

    /// Runs a script on it and gives what it printed.
    ///
    /// # Errors
    /// It is off, or the script fails.
    pub fn run(&self, script: &str) -> Result<String> {
        let mut command = self.command(script)?;
        let output = nspawn::output_of(&mut command)?;
        if !output.status.success() {
            return Err(program::failed(&command, &output));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The toplevel that is active, by `/run/current-system`.
    ///
    /// # Errors
    /// It is off.
    pub fn active(&self) -> Result<String> {
        let link = self.run("readlink /run/current-system")?;
        Ok(link.trim().to_owned())
    }

    /// The toplevel that its boot loader's default names.
    ///
    /// # Errors
    /// Its boot loader finds nothing.
    pub fn default(&self) -> Result<String> {
        let start = firmware::default(self.shared.root.path())?;
        Ok(start.init.trim_end_matches("/init").to_owned())
    }

    /// The generations of its system profile: number and toplevel, oldest first.
    #[must_use]
    pub fn generations(&self) -> Vec<(u32, String)> {
        let profiles = self.root().join("nix/var/nix/profiles");
        let mut found: Vec<_> = std::fs::read_dir(profiles)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let target = std::fs::read_link(entry.path()).ok()?;
                Some((generation(&name)?, target.to_str()?.to_owned()))
            })
            .collect();
        found.sort_unstable();
        found
    }

    /// The toplevel that its system profile names.
    #[must_use]
    pub fn profile(&self) -> Option<String> {
        let profile = self.root().join("nix/var/nix/profiles/system");
        let link = std::fs::read_link(&profile).ok()?;
        let target = std::fs::read_link(profile.with_file_name(link)).ok()?;
        Some(target.to_str()?.to_owned())
    }
}

/// The number of a generation, by the name of its link.
pub(super) fn generation(link: &str) -> Option<u32> {
    let number = link.strip_prefix("system-")?.strip_suffix("-link")?;
    number.parse().ok()
}

impl Drop for NixHost {
    fn drop(&mut self) {
        let mut power = self.shared.power();
        power.gone = true;
        power.container = None;
    }
}

impl Shared {
    fn power(&self) -> MutexGuard<'_, Power> {
        self.power.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn start(&self) -> Result<()> {
        let mut power = self.power();
        if power.gone || power.container.is_some() {
            return Ok(());
        }
        let next = firmware::next(self.root.path())?;
        let mut script =
            "mount --bind /run/host-cmdline /proc/cmdline && mount --bind /firmware /sys/firmware"
                .to_owned();
        if let Some(room) = self.room {
            script.push_str(&format!(
                " && mount -t tmpfs -o size={room} nix /mnt && cp -a /nix/. /mnt && mount --bind /mnt /nix"
            ));
        }
        script.push_str(&format!(" && exec {}", next.init));
        power.container = Some(Container::start(&Start {
            root: self.root.path(),
            cmdline: &next.cmdline,
            options: self.options.clone(),
            init: ["/bin/sh", "-c", &script].map(str::to_owned).to_vec(),
            log: &self.log,
        })?);
        power.boots += 1;
        Ok(())
    }

    /// Starts it again whenever it asks for that.
    fn follow(&self) {
        loop {
            std::thread::sleep(POLL);
            let mut power = self.power();
            if power.gone {
                return;
            }
            let end = power.container.as_mut().map(Container::ended);
            match end {
                Some(Ok(Some(End::Reboot))) => {
                    power.container = None;
                    drop(power);
                    if let Err(e) = self.start() {
                        self.power().trouble = Some(e.to_string());
                    }
                }
                Some(Ok(Some(end))) => {
                    let tail = power.container.take().map(|c| c.console().tail());
                    let tail = tail.unwrap_or_default();
                    power.trouble = Some(format!("it ended ({end:?}):\n{tail}"));
                }
                _ => {}
            }
        }
    }
}
