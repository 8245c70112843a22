//! The disk of a host just before its trial, and one case run on a copy of it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use monitor::Monitor;
use sysroot::Loader;
use testbed::cache::Cache;
use testbed::versions::Recipe;
use testbed::{Fixture, Machine, MachineOptions, Release, fixture};

use crate::case::{Case, End};
use crate::damage::{Damage, Target};
use crate::disk::Disk;
use crate::error::Doing;
use crate::{Error, Platform, Result};

/// No case takes longer, also where two of them share a processor.
const LIMIT: Duration = Duration::from_secs(900);
/// After so long without a word on the console a machine hangs. Longer than any
/// watchdog and any deadline.
const SILENCE: Duration = Duration::from_secs(150);
/// Makes the releases, which are a disk of their own, visible in the guest.
const MOUNT: &str = "{ mountpoint -q /mnt || mount -o ro LABEL=repo /mnt; }";

/// What a case came to.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The case.
    pub case: Case,
    /// What booted it.
    pub platform: Platform,
    /// From power-on to the good system: its ssh answers and its journal has the end.
    pub took: Duration,
    /// How many starts were the version's on trial.
    pub attempts: usize,
    /// How often somebody had to switch it off and on.
    pub power_cycles: usize,
    /// How it ended, as `backstop history` shows it.
    pub end: String,
    /// Where the kernel's last words of a failed boot were found, if they were.
    pub last_words: Option<String>,
}

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    /// Another version.
    Version(Recipe),
    /// The same one, with this kernel argument.
    Karg(&'static str),
}

impl Tried {
    fn by(case: &Case) -> Self {
        match case.damage {
            Damage::Kargs(karg) => Self::Karg(karg),
            _ => Self::Version(case.version),
        }
    }
}

/// A disk at the reboot that begins a trial.
#[derive(Debug)]
struct Armed {
    tried: Tried,
    loader: Loader,
    image: PathBuf,
    /// The commit on trial; none where it is the one that runs.
    version: String,
}

/// Hosts at the reboot that begins their trial.
#[derive(Debug)]
pub struct Hosts {
    fixture: Fixture,
    dir: PathBuf,
    armed: Vec<Armed>,
    work: PathBuf,
}

impl Hosts {
    /// Builds a release of Debian with `program` as its backstop in `dir`, which must be empty or new.
    ///
    /// # Errors
    /// No root rights, packages that are missing, or the disk is full.
    pub fn create(
        release: Release,
        dir: &Path,
        program: &Path,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let fixture = Fixture::of(release, &Cache::from_env(), dir, program, monitor)?;
        let work = dir.join("work");
        std::fs::create_dir_all(&work).doing("create", &work)?;
        Ok(Self {
            fixture,
            dir: dir.to_owned(),
            armed: Vec::new(),
            work,
        })
    }

    /// Runs one case.
    ///
    /// # Errors
    /// It ends otherwise than the table says.
    pub fn run(
        &mut self,
        case: &Case,
        platform: Platform,
        monitor: &dyn Monitor,
    ) -> Result<Finding> {
        let armed = self.armed(Tried::by(case), platform, monitor)?;
        let image = self.work.join("case.img");
        copy(&self.armed[armed].image, &image)?;
        let disk = Disk::open(&image, platform.loader(), &self.work)?;
        let target = Target {
            disk: &disk,
            trial: &self.armed[armed].version,
            loader: platform.loader(),
            toolbox: self.fixture.toolbox(),
        };
        let instead = case.damage.inflict(target)?;
        let mut options = self.options(&image, platform, case.name)?;
        options.efi_variables = self.armed[armed].variables();
        if let Some(drive) = instead {
            options.image = drive.into();
        }
        Watched::new(*case, platform, Machine::boot(options)?).follow()
    }

    fn options(&self, image: &Path, platform: Platform, name: &str) -> Result<MachineOptions> {
        let mut options = self.fixture.machine(image, platform.firmware())?;
        options.logs = self.logs().join(format!("{name}-{}", platform.name()));
        Ok(options)
    }

    /// Where the consoles' logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// The place of the disk that has this version on trial, made if need be.
    fn armed(&mut self, tried: Tried, platform: Platform, monitor: &dyn Monitor) -> Result<usize> {
        let loader = platform.loader();
        let fits = |a: &Armed| a.tried == tried && a.loader == loader;
        if let Some(at) = self.armed.iter().position(fits) {
            return Ok(at);
        }
        let number = u32::try_from(self.armed.len()).unwrap_or(u32::MAX) + 2;
        let branch = format!("v{number}");
        let version = match tried {
            Tried::Version(recipe) => {
                let added = self.fixture.add(number, recipe, &branch, monitor)?;
                added.to_string()
            }
            Tried::Karg(_) => String::new(),
        };
        let name = format!("armed-{branch}.img");
        let image = self
            .fixture
            .image_with(loader, fixture::BRANCH, &name, monitor)?;
        let armed = Armed {
            tried,
            loader,
            image,
            version,
        };
        self.arm(&armed, platform, &branch)?;
        self.armed.push(armed);
        Ok(self.armed.len() - 1)
    }

    /// Boots a new host and lets it upgrade, up to the reboot.
    fn arm(&self, armed: &Armed, platform: Platform, branch: &str) -> Result<()> {
        let mut options = self.options(&armed.image, platform, branch)?;
        let what = match armed.tried {
            Tried::Version(_) => {
                let releases = self.fixture.repo_disk(&format!("releases-{branch}.img"))?;
                options.more_disks.push(releases);
                format!("{MOUNT} && backstop switch /mnt:{branch} --boot")
            }
            Tried::Karg(karg) => {
                let name = karg.split('=').next().unwrap_or(karg);
                let how = if name == karg { "append" } else { "replace" };
                format!("backstop kargs --{how} {karg} --try")
            }
        };
        let mut machine = Machine::boot(options)?;
        machine.wait_ready(LIMIT)?;
        machine.run(&format!(
            "{what} --detach --attempts {} --confirm-within 20s --boot-deadline 90s",
            platform.attempts()
        ))?;
        machine.wait_end(LIMIT)?;
        if let Some(to) = armed.variables() {
            machine.save_variables(&to)?;
        }
        Ok(())
    }
}

impl Armed {
    /// The firmware's variables, where the boot loader goes by them.
    fn variables(&self) -> Option<PathBuf> {
        let path = self.image.with_extension("vars");
        (self.loader == Loader::SystemdBoot).then_some(path)
    }
}

/// A copy that takes no more room than it needs.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut cp = std::process::Command::new("cp");
    testbed::program::run(cp.args(["--sparse=always", "--"]).args([from, to]))?;
    Ok(())
}

/// A machine that is followed to the end of its trial.
struct Watched {
    case: Case,
    platform: Platform,
    machine: Machine,
    power_cycles: usize,
    /// How many lines the console had, and since when.
    heard: (usize, Instant),
    confirmed: bool,
}

impl Watched {
    fn new(case: Case, platform: Platform, machine: Machine) -> Self {
        Self {
            case,
            platform,
            machine,
            power_cycles: 0,
            heard: (0, Instant::now()),
            confirmed: false,
        }
    }

    fn follow(mut self) -> Result<Finding> {
        let deadline = Instant::now() + LIMIT;
        let mut boots = 0;
        loop {
            if self.machine.boots() != boots {
                boots = self.machine.boots();
                self.heard = (0, Instant::now());
            }
            if let Some(finding) = self.look()? {
                return Ok(finding);
            }
            if self.machine.ended()?.is_some() {
                self.machine.boot_again()?;
            } else if self.hangs() {
                self.power_cycles += 1;
                self.machine.stop();
                self.machine.boot_again()?;
            }
            if Instant::now() > deadline {
                return Err(self.otherwise("nothing yet", &self.machine.console().tail()));
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Whether nothing was heard of it for too long.
    fn hangs(&mut self) -> bool {
        let lines = self.machine.console().lines().len();
        if lines != self.heard.0 {
            self.heard = (lines, Instant::now());
        }
        let up = self.machine.console().find("TESTBED-READY").is_some();
        !up && self.heard.1.elapsed() > SILENCE
    }

    /// Asks a system that is up whether this is the end.
    fn look(&mut self) -> Result<Option<Finding>> {
        // A connection that is tried all the time would slow the boot down.
        let up = self.machine.console().find("TESTBED-READY").is_some();
        if !up || !self.machine.ssh().answers() {
            return Ok(None);
        }
        let Ok(text) = self.machine.run("backstop --json history -n 1") else {
            return Ok(None);
        };
        let last: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let Some(end) = last["outcome"]["end"].as_str() else {
            return self.confirm().map(|()| None);
        };
        let why = last["outcome"]["reason"]["why"]
            .as_str()
            .unwrap_or_default();
        let Ok(version) = self.machine.run("cat /usr/lib/testbed-version") else {
            return Ok(None);
        };
        let (end, why) = (end.to_owned(), why.to_owned());
        if end == "rolled-back" && version.trim() != "1" {
            // Rolled back, and about to reboot into the good one.
            return Ok(None);
        }
        self.judge(&end, &why).map(Some)
    }

    /// Says that the version is good, where the case has somebody who does.
    fn confirm(&mut self) -> Result<()> {
        if self.case.end(self.platform) == End::Kept && !self.confirmed {
            self.machine.ssh().disconnect();
            // It may not be healthy yet; asked again then.
            self.confirmed = self.machine.run("backstop confirm").is_ok();
        }
        Ok(())
    }

    fn judge(&self, end: &str, why: &str) -> Result<Finding> {
        let took = self.machine.elapsed();
        let boots = self.machine.boots();
        let shown = self.machine.run("backstop history -n 1")?;
        let must = self.case.end(self.platform);
        let (attempts, expected) = match must {
            End::Kept => (boots, ("kept", "")),
            End::Back(why) | End::AfterPowerCycles(why) => (boots - 1, ("rolled-back", why)),
        };
        let cycles = match must {
            End::AfterPowerCycles(_) => self.power_cycles > 0,
            End::Back(_) | End::Kept => self.power_cycles == 0,
        };
        if (end, why) != expected || attempts != self.case.attempts(self.platform) || !cycles {
            let found = format!(
                "{end} {why} after {attempts} attempts and {} power cycles",
                self.power_cycles
            );
            return Err(self.otherwise(&found, &shown));
        }
        self.default_is_good(boots)?;
        Ok(Finding {
            case: self.case,
            platform: self.platform,
            took,
            attempts,
            power_cycles: self.power_cycles,
            end: last_column(&shown),
            last_words: self.last_words()?,
        })
    }

    /// Where the kernel's last words come from that the history has of the upgrade.
    fn last_words(&self) -> Result<Option<String>> {
        let text = self.machine.run("backstop --json history -n 1")?;
        let last: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let text = self
            .machine
            .run(&format!("backstop history {}", last["id"]))?;
        let line = text.lines().find_map(|l| l.split_once("last words, from "));
        Ok(line.map(|(_, from)| from.trim_end_matches(':').to_owned()))
    }

    /// What comes up next time is what came up now, and nothing is on trial.
    fn default_is_good(&self, boots: usize) -> Result<()> {
        let text = self.machine.run("backstop --json status")?;
        let status: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let rows = status["deployments"].as_array();
        let first = rows.and_then(|rows| rows.first());
        let booted = first.is_some_and(|row| row["booted"] == true);
        let trial = rows.is_some_and(|rows| rows.iter().any(|r| r["boots"] == "on trial"));
        if booted && !trial && status["under_way"].is_null() {
            return Ok(());
        }
        Err(self.otherwise(&format!("another default after {boots} boots"), &text))
    }

    fn otherwise(&self, found: &str, shown: &str) -> Error {
        Error::Ending {
            case: self.case.name,
            found: format!("{found}\n{shown}"),
            expected: format!(
                "{:?} after {} attempts",
                self.case.end(self.platform),
                self.case.attempts(self.platform)
            ),
        }
    }
}

/// How the last upgrade in `backstop history` ended.
fn last_column(shown: &str) -> String {
    let line = shown.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("");
    let from = ["kept", "rolled back", "rejected", "STRANDED"];
    let at = from.iter().filter_map(|word| line.find(word)).min();
    line[at.unwrap_or(0)..].trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_the_last_column() {
        let shown =
            "upgrade when took\n 1  2026  40 s  boot  abc  def  rolled back: unhealthy: x (y)\n";
        assert_eq!(last_column(shown), "rolled back: unhealthy: x (y)");
    }
}
