//! The demonstration on a virtual machine: Debian, GRUB, systemd, sshd.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use monitor::Monitor;
use testbed::cache::Cache;
use testbed::versions::Recipe;
use testbed::{Firmware, Fixture, Machine, fixture, packages};

use crate::availability::Availability;
use crate::narrator::Narrator;
use crate::{Error, Result};

/// No boot and no story takes longer, also where two of them share a processor.
const LIMIT: Duration = Duration::from_secs(600);
/// Makes the releases, which are a disk of their own, visible in the guest.
const MOUNT: &str = "mountpoint -q /mnt || mount -o ro LABEL=repo /mnt";

/// What the virtual machine needs beyond `cargo`.
pub const NEEDS: &[&[packages::Need]] = &[packages::ROOT, packages::DISK, packages::MACHINE];

/// One of the four stories.
#[derive(Debug)]
pub struct Story {
    /// Its heading.
    pub title: &'static str,
    /// What becomes of the version.
    recipe: Recipe,
    /// What is typed after `backstop switch VERSION`.
    arguments: &'static str,
    /// Confirm it over a new connection, once it is healthy.
    confirm: bool,
    /// How it must end, as `backstop history --json` names it.
    pub end: &'static str,
    /// And why.
    pub why: &'static str,
}

/// The four stories.
pub const STORIES: [Story; 4] = [
    Story {
        title: "A healthy version: booted on trial, checked, confirmed over a new connection, kept",
        recipe: Recipe::Good,
        arguments: "--boot --confirm-within 300s",
        confirm: true,
        end: "kept",
        why: "",
    },
    Story {
        title: "sshd does not start: found by the checks, rolled back",
        recipe: Recipe::SshdBroken,
        arguments: "--boot",
        confirm: false,
        end: "rolled-back",
        why: "checks-failed",
    },
    PANIC,
    Story {
        title: "The network is gone, so nobody can confirm: rolled back",
        recipe: Recipe::NoNetwork,
        arguments: "--boot --confirm-within 20s",
        confirm: false,
        end: "rolled-back",
        why: "deadline",
    },
];

/// The third of the four.
pub const PANIC: Story = Story {
    title: "The kernel panics at boot: attempts used up, back to the last good",
    recipe: Recipe::PanicsAtBoot,
    arguments: "--boot --attempts 2",
    confirm: false,
    end: "rolled-back",
    why: "attempts-used-up",
};

/// What a watchdog is for: too long for the four.
pub const HANG: Story = Story {
    title: "Userspace hangs at boot: reset by the watchdog, back to the last good",
    recipe: Recipe::Hangs,
    arguments: "--boot --attempts 1",
    confirm: false,
    end: "rolled-back",
    why: "attempts-used-up",
};

/// How one story went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// As `backstop history --json` names it.
    pub end: String,
    /// And why; empty when it was kept.
    pub why: String,
    /// From the command to the end in the machine's journal, and ssh back.
    pub took: Duration,
    /// How long ssh did not answer in that time.
    pub down: Duration,
    /// How often the machine was started.
    pub boots: usize,
}

/// A virtual machine that the stories are told on.
#[derive(Debug)]
pub struct VmDemo {
    // Dropped in this order: the machine before its disk.
    machine: Machine,
    fixture: Fixture,
    stories: &'static [Story],
}

impl VmDemo {
    /// Builds Debian in several versions, one for each of `stories`, with `program` as
    /// their backstop, installs the first one on a disk image in `dir` and boots it.
    ///
    /// # Errors
    /// No root rights, packages that are missing, or the disk is full.
    pub fn create(
        dir: &Path,
        program: &Path,
        firmware: Firmware,
        stories: &'static [Story],
        narrator: &dyn Narrator,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        narrator.chapter("A Debian machine");
        let started = Instant::now();
        let fixture = Fixture::new(&Cache::from_env(), dir, program, monitor)?;
        for (number, story) in (2..).zip(stories) {
            fixture.add(number, story.recipe, &branch(number), monitor)?;
        }
        let image = fixture.image(fixture::BRANCH, "disk.img", monitor)?;
        let mut options = fixture.machine(&image, firmware)?;
        options.more_disks.push(fixture.repo_disk("releases.img")?);
        narrator.say(&format!(
            "Built, made deployable and installed in {:.0} s; its disk is {}.",
            started.elapsed().as_secs_f64(),
            image.display()
        ));
        let started = Instant::now();
        let machine = Machine::boot(options)?;
        machine.wait_ready(LIMIT)?;
        narrator.say(&format!(
            "Booted by {} through GRUB in {:.1} s.",
            match firmware {
                Firmware::Bios => "BIOS",
                Firmware::Efi => "UEFI",
            },
            started.elapsed().as_secs_f64()
        ));
        Ok(Self {
            machine,
            fixture,
            stories,
        })
    }

    /// Where the consoles' logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.fixture.tree(1).with_file_name("disk.logs")
    }

    /// Tells the stories and what is left of them.
    ///
    /// # Errors
    /// The machine is lost, or a story ends otherwise than it should.
    pub fn tell(&mut self, narrator: &dyn Narrator) -> Result<Vec<Told>> {
        let mut all = Vec::new();
        for (number, story) in (2..).zip(self.stories) {
            let told = self.tell_one(number, story, narrator)?;
            if (told.end.as_str(), told.why.as_str()) != (story.end, story.why) {
                return Err(Error::Story {
                    title: story.title,
                    end: format!("{} {}", told.end, told.why),
                });
            }
            all.push(told);
        }
        narrator.chapter("What the machine knows now");
        for command in ["backstop status", "backstop history"] {
            self.show(command, narrator)?;
        }
        Ok(all)
    }

    /// Tells one story.
    ///
    /// # Errors
    /// The machine is lost.
    pub fn tell_one(
        &mut self,
        number: u32,
        story: &Story,
        narrator: &dyn Narrator,
    ) -> Result<Told> {
        narrator.chapter(story.title);
        let boots = self.machine.boots();
        self.machine.run(MOUNT)?;
        let availability = Availability::watch(self.machine.ssh().port());
        let started = Instant::now();
        let command = format!(
            "backstop switch /mnt:{} {}",
            branch(number),
            story.arguments
        );
        self.follow(&command, narrator)?;
        if story.confirm {
            self.machine
                .run_until("the trial to be healthy", LIMIT, |machine| {
                    Ok(healthy(machine))
                })?;
            self.machine.ssh().disconnect();
            self.show("backstop confirm", narrator)?;
        }
        let (id, end, why) = self
            .machine
            .run_until("the upgrade's end", LIMIT, |machine| Ok(ended(machine)))?;
        let told = Told {
            end,
            why,
            took: started.elapsed(),
            down: availability.finish(),
            boots: self.machine.boots() - boots,
        };
        narrator.say("The machine's own journal:");
        self.show(&format!("backstop history {id}"), narrator)?;
        narrator.say(&format!(
            "{:.0} s from the command to its end; {} reboots; ssh did not answer for {:.0} s.",
            told.took.as_secs_f64(),
            told.boots,
            told.down.as_secs_f64()
        ));
        Ok(told)
    }

    /// Runs a command in the guest that the reboot may cut off.
    fn follow(&self, command: &str, narrator: &dyn Narrator) -> Result<()> {
        narrator.command(command);
        let failed = |source| Error::Command {
            command: command.to_owned(),
            source,
        };
        let mut child = self
            .machine
            .ssh()
            .command(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                narrator.output(&line.map_err(failed)?);
            }
        }
        // How it ended is seen in the machine's journal.
        child.wait().map_err(failed)?;
        Ok(())
    }

    fn show(&self, command: &str, narrator: &dyn Narrator) -> Result<()> {
        narrator.command(command);
        for line in self.machine.run(command)?.lines() {
            narrator.output(line);
        }
        Ok(())
    }
}

fn branch(number: u32) -> String {
    format!("v{number}")
}

/// Whether the version on trial is up, healthy and unconfirmed.
fn healthy(machine: &Machine) -> Option<()> {
    if !machine.ssh().answers() {
        return None;
    }
    let text = machine.run("backstop --json status").ok()?;
    let status: serde_json::Value = serde_json::from_str(&text).ok()?;
    (status["under_way"]["phase"]["healthy"] == true).then_some(())
}

/// How the last upgrade ended: its number, end and reason.
fn ended(machine: &Machine) -> Option<(u64, String, String)> {
    if !machine.ssh().answers() {
        return None;
    }
    let text = machine.run("backstop --json history -n 1").ok()?;
    let last: serde_json::Value = serde_json::from_str(&text).ok()?;
    let outcome = &last["outcome"];
    let end = outcome["end"].as_str()?.to_owned();
    let why = outcome["reason"]["why"].as_str().unwrap_or_default();
    Some((last["id"].as_u64()?, end, why.to_owned()))
}
