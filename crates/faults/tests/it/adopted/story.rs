//! What a machine goes through.

use std::time::Duration;

use testbed::Machine;

use super::host::{FIRST, Grub, Keyboard};

const LIMIT: Duration = Duration::from_secs(900);
/// GRUB said this when it went by what `ostree` published.
const BY_OSTREE: &str = "by the configuration of ostree";
/// And this when it went by what backstop did.
const BY_BACKSTOP: &str = "backstop: booting debian-";

/// A machine, and what is known of it.
pub struct Story {
    machine: Machine,
    keyboard: Keyboard,
    grub: Grub,
    kargs: Vec<String>,
    taken_over: bool,
}

impl Story {
    /// The machine comes up as `ostree` left it.
    pub fn begin((machine, keyboard): (Machine, Keyboard), grub: Grub) -> Self {
        machine.wait_ready(LIMIT).unwrap();
        let mut story = Self {
            machine,
            keyboard,
            grub,
            kargs: Vec::new(),
            taken_over: false,
        };
        story.booted_by(BY_OSTREE, FIRST);
        story.kargs = story.kargs();
        story.run("mount -o ro LABEL=repo /mnt");
        if grub == Grub::SecureBoot {
            let state = "od -An -tu1 -j4 /sys/firmware/efi/efivars/SecureBoot-*";
            assert_eq!(story.run(state).trim(), "1");
        }
        story
    }

    fn run(&self, script: &str) -> String {
        let said = self.machine.run(script);
        said.unwrap_or_else(|e| panic!("{script}: {e}\n{}", self.machine.console().tail()))
    }

    /// The kernel's arguments, without the link to the deployment.
    fn kargs(&self) -> Vec<String> {
        let cmdline = self.run("cat /proc/cmdline");
        let words = cmdline.split_whitespace().map(str::to_owned);
        words
            .filter(|w| !w.starts_with("ostree=") && !w.starts_with("BOOT_IMAGE="))
            .collect()
    }

    fn booted_by(&self, what: &str, version: u32) {
        let found = self.machine.console().find(what);
        let tail = self.machine.console().tail();
        assert!(found.is_some(), "not booted by {what}:\n{tail}");
        let runs = self.run("cat /usr/lib/testbed-version");
        assert_eq!(runs.trim(), version.to_string());
    }

    fn reboot(&mut self) {
        // The connection may be cut before the answer.
        let _ = self.machine.run("systemctl reboot --no-block");
        self.machine.wait_end(LIMIT).unwrap();
        self.machine.boot_again().unwrap();
        self.machine.wait_ready(LIMIT).unwrap();
        self.run("mountpoint -q /mnt || mount -o ro LABEL=repo /mnt");
    }

    /// Follows an upgrade over its boots; gives how it ended and why.
    fn end(&mut self, id: &serde_json::Value) -> (String, String) {
        let told = self
            .machine
            .run_until("the end of the trial", LIMIT, |machine| {
                // While it boots nobody answers.
                if machine.console().find("TESTBED-READY").is_none() {
                    return Ok(None);
                }
                let text = machine
                    .run("backstop --json history -n 1")
                    .unwrap_or_default();
                let last: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                let end = last["outcome"]["end"].as_str();
                let why = last["outcome"]["reason"]["why"].as_str().unwrap_or("");
                let newer = last["id"] != *id;
                Ok(end
                    .filter(|_| newer)
                    .map(|end| (end.to_owned(), why.to_owned())))
            });
        told.unwrap()
    }

    /// The number of the last upgrade.
    fn last(&self) -> serde_json::Value {
        let text = self.run("backstop --json history -n 1");
        let last: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        last["id"].clone()
    }

    /// `backstop adopt`, and the same deployment boots.
    pub fn is_taken_over(&mut self, sector: &str) {
        let plan = self.run("backstop adopt --dry-run");
        assert!(plan.contains(&format!("state sector {sector}")), "{plan}");
        assert!(!plan.contains("backstop's units"), "{plan}");
        let limited = plan.contains("cannot compare digests");
        let can = matches!(self.grub, Grub::Efi | Grub::Signed);
        assert_eq!(limited, !can, "{plan}");
        self.run("backstop adopt --serial 115200");
        let size = self.run(&format!("stat -c %s {sector}"));
        assert_eq!(size.trim(), boot::sector::SIZE.to_string());
        self.taken_over = true;
        self.reboot();
        self.booted_by(BY_BACKSTOP, FIRST);
        assert_eq!(self.kargs(), self.kargs);
    }

    /// A trial that is kept.
    pub fn upgrades(&mut self, branch: &str, version: u32) {
        let last = self.last();
        self.run(&format!(
            "backstop switch /mnt:{branch} --boot --no-reboot --attempts 2"
        ));
        // What is edited until the shutdown is in the version that boots then.
        self.run("echo 'a late note' >/etc/motd");
        self.reboot();
        self.booted_by("backstop: attempt counted, 1 left", version);
        assert_eq!(self.end(&last), ("kept".into(), String::new()));
        assert_eq!(self.run("cat /etc/motd").trim(), "a late note");
        let attributes = self.run("lsattr -d /");
        assert!(attributes.contains('i'), "it was left open: {attributes}");
    }

    /// A trial whose kernel is damaged is not booted, and `version` runs again.
    pub fn is_rolled_back(&mut self, branch: &str, version: u32) {
        let last = self.last();
        self.run(&format!(
            "backstop switch /mnt:{branch} --boot --no-reboot --attempts 2"
        ));
        self.run(
            "kernel=/boot$(sed -n \"/^function backstop_try /,\\$ s/.*if linux [^']*'\\([^']*\\)'.*/\\1/p\" \
             /boot/loader/backstop.cfg | head -n 1) && test -s \"$kernel\" && \
             cp \"$kernel\" /run/kernel && \
             dd if=/dev/urandom of=/run/kernel bs=16 count=1 conv=notrunc \
             seek=$(($(stat -c %s /run/kernel) / 32)) 2>&1 && \
             cp --remove-destination /run/kernel \"$kernel\" && sync",
        );
        let _ = self.machine.run("systemctl reboot --no-block");
        self.machine.wait_end(LIMIT).unwrap();
        self.machine.boot_again().unwrap();
        let end = self.end(&last);
        assert_eq!(end, ("rolled-back".into(), "load-failed".into()));
        self.booted_by(BY_BACKSTOP, version);
        self.run("mountpoint -q /mnt || mount -o ro LABEL=repo /mnt");
    }

    /// A trial that nobody confirms, and `version` runs again.
    pub fn is_not_confirmed(&mut self, branch: &str, version: u32) {
        let last = self.last();
        self.run(&format!(
            "backstop switch /mnt:{branch} --boot --no-reboot --confirm-within 5s"
        ));
        let _ = self.machine.run("systemctl reboot --no-block");
        let end = self.end(&last);
        assert_eq!(end, ("rolled-back".into(), "deadline".into()));
        let runs = || {
            let runs = self.machine.run("cat /usr/lib/testbed-version");
            runs.is_ok_and(|runs| runs.trim() == version.to_string())
        };
        if !runs() {
            // Rolled back, and about to reboot.
            self.machine.wait_end(LIMIT).unwrap();
            self.machine.boot_again().unwrap();
            self.machine.wait_ready(LIMIT).unwrap();
        }
    }

    /// Somebody chooses the bad version in the boot menu. It boots, and the next start is
    /// that of the default, `version`.
    pub fn is_chosen_by_hand(&mut self, bad: u32, version: u32) {
        let shown =
            self.run("sed -n \"s/^menuentry '\\(.*\\)' {/\\1/p\" /boot/loader/backstop.cfg");
        let at = shown.lines().position(|title| title.ends_with("(bad)"));
        let at = at.unwrap_or_else(|| panic!("the menu has no bad version:\n{shown}"));
        let _ = self.machine.run("systemctl reboot --no-block");
        self.machine.wait_end(LIMIT).unwrap();
        self.machine.boot_again().unwrap();
        let console = self.machine.console();
        console.wait_for("backstop: sector", LIMIT).unwrap();
        let mut keys = vec!["esc"];
        keys.extend(std::iter::repeat_n("down", at));
        keys.push("ret");
        for key in keys {
            self.keyboard.press(key);
        }
        self.machine.wait_ready(LIMIT).unwrap();
        self.booted_by(BY_BACKSTOP, bad);
        let cmdline = self.run("cat /proc/cmdline");
        assert!(!cmdline.contains("backstop.trial"), "{cmdline}");
        let status: serde_json::Value =
            serde_json::from_str(&self.run("backstop --json status")).unwrap();
        let booted = |row: &serde_json::Value| row["booted"] == true;
        let at = status["deployments"]
            .as_array()
            .unwrap()
            .iter()
            .position(booted);
        assert!(at.unwrap() > 0, "it became the default: {status}");
        assert!(status["under_way"].is_null(), "{status}");
        self.reboot();
        self.booted_by(BY_BACKSTOP, version);
    }

    /// `ostree admin upgrade`, with what `ostree` itself knows of the host.
    pub fn is_upgraded_by_ostree(&mut self, branch: &str, version: u32) {
        self.run(&format!(
            "ostree admin set-origin --set=gpg-verify=false releases file:///mnt {branch} && \
             ostree admin upgrade"
        ));
        if self.taken_over {
            let published = self.machine.run_until("the publication", LIMIT, |machine| {
                Ok(machine.run("test -s /boot/loader/backstop.cfg").ok())
            });
            published.unwrap();
        }
        self.reboot();
        let by = if self.taken_over {
            BY_BACKSTOP
        } else {
            BY_OSTREE
        };
        self.booted_by(by, version);
        let status = self.run("ostree admin status");
        assert!(status.starts_with("* debian "), "{status}");
    }

    /// `ostree` publishes at shutdown, and backstop after it, before the power is off.
    pub fn is_staged_by_ostree(&mut self, branch: &str, version: u32) {
        self.run(&format!(
            "ostree admin set-origin --set=gpg-verify=false releases file:///mnt {branch} && \
             ostree admin upgrade --stage && test -e /run/ostree/staged-deployment && \
             test -s /boot/loader/backstop.cfg"
        ));
        self.reboot();
        let units = "-u ostree-finalize-staged.service -u backstop-going-down.service";
        let told = self.run(&format!("journalctl -b -1 {units} -o cat"));
        assert!(told.contains("are published for the boot loader"), "{told}");
        self.booted_by(BY_BACKSTOP, version);
    }

    /// What `ostree` published has no script while nobody published it anew: GRUB goes by
    /// its configuration, and the next boot publishes it.
    pub fn is_published_by_nobody(&mut self) {
        let version = self.run("cat /usr/lib/testbed-version");
        let version = version.trim().parse().unwrap();
        self.run(
            "systemctl stop backstop-republish.path backstop-going-down.service && \
             cd /boot/loader && rm backstop.* && \
             grub-mkconfig -o /boot/loader/grub.cfg && \
             rm -rf /boot/loader.$((1 - $(readlink /boot/loader | cut -d. -f2))) && sync",
        );
        self.reboot();
        self.booted_by(BY_OSTREE, version);
        let published = self.machine.run_until("the publication", LIMIT, |machine| {
            Ok(machine.run("test -s /boot/loader/backstop.cfg").ok())
        });
        published.unwrap();
        self.reboot();
        self.booted_by(BY_BACKSTOP, version);
    }

    /// `backstop adopt --undo` while it runs, and the same deployment boots.
    pub fn is_handed_back(&mut self) {
        let version = self.run("cat /usr/lib/testbed-version");
        let sector = self.run(
            "sed -n 's/^state_sector = \"\\(.*\\)\"/\\1/p' /sysroot/ostree/backstop/boot.toml",
        );
        self.run("backstop adopt --undo");
        self.run(&format!(
            "test ! -e /sysroot/ostree/backstop/boot.toml && test ! -e /{} && \
             test \"$(readlink /boot/grub/grub.cfg)\" = ../loader/grub.cfg",
            sector.trim()
        ));
        self.taken_over = false;
        self.reboot();
        self.booted_by(BY_OSTREE, version.trim().parse().unwrap());
        let status = self.run("ostree admin status");
        assert!(status.starts_with("* debian "), "{status}");
        let refused = self.machine.run("backstop switch /mnt:host --boot");
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("backstop adopt"), "{refused}");
    }
}
