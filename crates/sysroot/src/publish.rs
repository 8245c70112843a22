//! Publishing a boot order: everything new beside what counts, then one rename.
//!
//! Two sets of boot files exist in turn, 0 and 1. `boot/loader` points to the
//! one that counts; a publication writes the other one from scratch: the links
//! `ostree/boot.B`, the kernels, and `boot/loader.B` with the entries, which name
//! only links of the same `B`. All of it is on the disk before `boot/loader` is
//! switched, and the set that counts is never changed. So entries and links
//! cannot get out of step, as they can where the links of the current set are
//! switched by themselves (ostree issue 2283), and a cut at any instant leaves
//! the old order or the new one.

use std::path::Path;

use boot::grub::{PUBLISHED_NAME, PublishedFile, published_files};
use boot::{BlsEntry, BootConfig, ConfigId, Entry, KernelArgs, StateSector, Trial};
use durable::{Doing, Fs};
use monitor::{Monitor, Progress, Unit};

use crate::deployment::{DeploymentId, Standing};
use crate::order::{BootOrder, ORDER_NAME, Published, TrialEntry, to_text};
use crate::planned::Planned;
use crate::state::Loader;
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// What the script is called until it is whole.
const HIDDEN_NAME: &str = ".backstop.cfg.new";
/// The key of a boot entry that holds its standing, for people who read it.
const STANDING_KEY: &str = "x-backstop-standing";

impl Sysroot {
    /// Publishes a boot order. When this returns, it is what the next start of
    /// the machine goes by; when it fails, the old one still is.
    ///
    /// Entries besides the default and the trial that cannot boot any more, since
    /// somebody deleted their files, are left out and told: they must not stand
    /// in the way of going back.
    ///
    /// For a trial the state sector is written first. Until the switch it names
    /// a configuration that is not the published one, which means nothing.
    ///
    /// # Errors
    /// An order without a good deployment, a default or trial that is not there or
    /// has no kernel, no state sector to count in, a trial that GRUB would not boot
    /// because its configuration was replaced, or the disk's.
    pub fn publish(&self, order: &BootOrder, monitor: &dyn Monitor) -> Result<ConfigId> {
        self.publish_with(order, None, monitor)
    }

    /// The same, with other kernel arguments for one of the deployments.
    pub(crate) fn publish_with(
        &self,
        order: &BootOrder,
        kargs: Option<(&DeploymentId, &KernelArgs)>,
        monitor: &dyn Monitor,
    ) -> Result<ConfigId> {
        order.check()?;
        self.check_taken_over()?;
        if order.trial.is_some() {
            self.check_config()?;
        }
        let _lock = self.lock()?;
        self.check_attempts(order)?;
        let order = &self.without_unbootable(order, monitor)?;
        let mut follower = self.follower(order, kargs.is_some(), monitor)?;
        if kargs.is_none()
            && let Some(config) = self.stands(order)
        {
            self.reach_disk()?;
            self.settle_boot()?;
            follower.settle_again()?;
            return Ok(config);
        }
        self.settle_boot()?;
        follower.settle()?;
        let version = self.boot_version()?.map_or(1, |v| v ^ 1);
        step(monitor, 0);
        let planned = self.plan_entries(order, version, kargs)?;
        step(monitor, 1);
        self.write_links(version, &planned)?;
        let config = boot_config(order, &planned)?;
        let published = Published {
            config: Some(config.id()),
            order: order.clone(),
        };
        let hidden = !self.has_script()?;
        self.write_loader(version, &published, &planned, &config, hidden)?;
        if let Err(e) = self.write_refs(version, &planned) {
            // A damaged repository must not stand in the way of going back.
            monitor.note(&format!("cannot keep the commits from being pruned: {e}"));
        }
        follower.write(&config, version)?;
        step(monitor, 2);
        self.reach_disk()?;
        if hidden {
            self.reveal_script(version)?;
        }
        step(monitor, 3);
        self.switch(version, &config)?;
        follower.switch(&config)?;
        step(monitor, 4);
        self.tidy_up(version, &config, monitor);
        Ok(config.id())
    }

    /// systemd-boot boots a trial once.
    fn check_attempts(&self, order: &BootOrder) -> Result<()> {
        let once = self.boot_settings()?.loader == Loader::SystemdBoot;
        let often = |trial: &TrialEntry| trial.attempts > boot::systemd_boot::ATTEMPTS;
        match once && order.trial.as_ref().is_some_and(often) {
            true => Err(Error::Order(
                "systemd-boot boots a version on trial once: more attempts cannot be had",
            )),
            false => Ok(()),
        }
    }

    fn without_unbootable(&self, order: &BootOrder, monitor: &dyn Monitor) -> Result<BootOrder> {
        let entries = self.entries()?;
        let bootable = |id: &DeploymentId| {
            let listed = entries.iter().find(|e| e.deployment == *id);
            let fine = self.can_boot(id, listed);
            if !fine {
                monitor.note(&format!("{id} cannot boot any more and is left out"));
            }
            fine
        };
        let mut order = order.clone();
        let fallbacks = order.good.split_off(1);
        let kept = fallbacks.into_iter().filter(|id| bootable(id));
        order.good.extend(kept.collect::<Vec<_>>());
        order.bad.retain(bootable);
        Ok(order)
    }

    /// Whether this order is published already and nothing of it is damaged. A
    /// trial is always published anew: its attempts begin again.
    fn stands(&self, order: &BootOrder) -> Option<ConfigId> {
        let published = self.published().ok()?;
        let config = self.boot_config().ok()?;
        let entries = self.entries().ok()?;
        let whole = entries.iter().all(|e| {
            let tree = self.layout().deployment(&e.deployment);
            self.fs().metadata(&tree).is_ok() && self.installed(e).is_some() && self.is_linked(e)
        });
        let same = order.trial.is_none() && published.order == *order && whole;
        let written = |file: &PublishedFile| {
            let path = self.layout().loader().join(file.name);
            durable::read_to_string(self.fs(), &path).is_ok_and(|text| text == file.content)
        };
        let stands = same && published_files(&config).iter().all(written);
        stands.then(|| config.id())
    }

    /// `ostree/boot.B`, from scratch.
    pub(crate) fn write_links(&self, version: u8, planned: &[Planned]) -> Result<()> {
        self.remove_links(version)?;
        self.write_link_dir(version, 1, planned)?;
        let target = format!("boot.{version}.1");
        let link = self.layout().links(version);
        Ok(durable::publish_symlink(
            self.fs(),
            Path::new(&target),
            &link,
        )?)
    }

    /// `ostree/boot.B.S`.
    pub(crate) fn write_link_dir(&self, version: u8, sub: u8, planned: &[Planned]) -> Result<()> {
        let (fs, layout) = (self.fs(), self.layout());
        let root = layout.links_of(version, sub);
        durable::create_dir_all(fs, &root, 0o755)?;
        for entry in planned {
            let dir = root.join(&entry.id.stateroot).join(&entry.bootcsum);
            durable::create_dir_all(fs, &dir, 0o755)?;
            let target = format!(
                "../../../deploy/{}/deploy/{}",
                entry.id.stateroot,
                entry.id.dir_name()
            );
            let link = dir.join(entry.bootserial.to_string());
            fs.symlink(Path::new(&target), &link)
                .doing("create the symlink", &link)?;
        }
        Ok(())
    }

    /// Removes the links of a set that does not count.
    pub(crate) fn remove_links(&self, version: u8) -> Result<()> {
        let (fs, layout) = (self.fs(), self.layout());
        durable::remove_tree(fs, &layout.links(version))?;
        for sub in 0..=1 {
            durable::remove_tree(fs, &layout.links_of(version, sub))?;
        }
        Ok(())
    }

    /// `boot/loader.B`, from scratch.
    fn write_loader(
        &self,
        version: u8,
        published: &Published,
        planned: &[Planned],
        config: &BootConfig,
        hidden: bool,
    ) -> Result<()> {
        let fs = self.fs();
        let dir = self.layout().loader_of(version);
        durable::remove_tree(fs, &dir)?;
        let entries = dir.join("entries");
        durable::create_dir_all(fs, &entries, 0o755)?;
        for (index, entry) in planned.iter().enumerate() {
            let number = planned.len() - index;
            let name = boot::bls::file_name(number, &entry.id.stateroot);
            let standing = published.standing(&entry.id);
            let text = bls_entry(entry, index, number, standing).to_string();
            write_new(fs, &entries.join(name), &text)?;
        }
        for file in published_files(config) {
            let name = match hidden && file.name == PUBLISHED_NAME {
                true => HIDDEN_NAME,
                false => file.name,
            };
            write_new(fs, &dir.join(name), &file.content)?;
        }
        let order = to_text(config.id(), &published.order)?;
        write_new(fs, &dir.join(ORDER_NAME), &order)
    }

    /// Whether the set that counts has a script for GRUB.
    fn has_script(&self) -> Result<bool> {
        let Some(version) = self.boot_version()? else {
            return Ok(false);
        };
        let script = self.layout().loader_of(version).join(PUBLISHED_NAME);
        Ok(self.fs().metadata(&script).is_ok_and(|m| m.size > 0))
    }

    /// Gives the script its name, all of it being where GRUB looks. Where the set that
    /// counts has none, as after `ostree admin deploy`, GRUB tries the other one, which
    /// it must not find half-written.
    fn reveal_script(&self, version: u8) -> Result<()> {
        let (fs, dir) = (self.fs(), self.layout().loader_of(version));
        fs.checkpoint(&dir).doing("checkpoint", &dir)?;
        let (from, to) = (dir.join(HIDDEN_NAME), dir.join(PUBLISHED_NAME));
        Ok(durable::rename_and_sync(fs, &from, &to)?)
    }

    /// Refs that keep the commits from being pruned, by `ostree` too.
    fn write_refs(&self, version: u8, planned: &[Planned]) -> Result<()> {
        self.write_sub_refs(version, 1, planned)?;
        self.drop_refs(&format!("ostree/{version}/0"), 0)
    }

    /// The refs of one set of links.
    pub(crate) fn write_sub_refs(&self, version: u8, sub: u8, planned: &[Planned]) -> Result<()> {
        for (index, entry) in planned.iter().enumerate() {
            let name = format!("ostree/{version}/{sub}/{index}");
            self.repo().set_ref(&name, Some(&entry.id.checksum))?;
        }
        self.drop_refs(&format!("ostree/{version}/{sub}"), planned.len())
    }

    /// Removes the numbered refs below `prefix`, from number `from` on.
    pub(crate) fn drop_refs(&self, prefix: &str, from: usize) -> Result<()> {
        for name in self.repo().refs(Some(prefix))?.into_keys() {
            let number = name.rsplit('/').next().and_then(|n| n.parse().ok());
            if name.starts_with(prefix) && number.is_some_and(|n: usize| n >= from) {
                self.repo().set_ref(&name, None)?;
            }
        }
        Ok(())
    }

    /// Everything written so far. `/boot` may be another filesystem.
    pub(crate) fn reach_disk(&self) -> Result<()> {
        let (fs, ostree, boot) = (self.fs(), self.layout().ostree(), self.layout().boot());
        for dir in [&ostree, &boot] {
            fs.sync_filesystem(dir)
                .doing("sync the filesystem of", dir)?;
        }
        Ok(())
    }

    /// Makes sure that the set which counts here counts for GRUB too, before
    /// anybody relies on that or writes over the other set: who switched last may
    /// have died before the switch was in its place.
    pub(crate) fn settle_switch(&self) -> Result<()> {
        self.settle_boot()?;
        if let Some(esp) = self.esp(&self.boot_settings()?)?
            && let Ok(config) = self.boot_config()
        {
            esp.settle(&config)?;
        }
        Ok(())
    }

    fn settle_boot(&self) -> Result<()> {
        let boot = self.layout().boot();
        Ok(self.fs().checkpoint(&boot).doing("checkpoint", &boot)?)
    }

    /// The moment from which on the new order counts. The switch puts all of
    /// `/boot` where GRUB looks, which replays no journal.
    fn switch(&self, version: u8, config: &BootConfig) -> Result<()> {
        if let Some(trial) = config.trial() {
            self.write_sector(&StateSector::fresh(config.id(), trial.attempts))?;
        }
        let target = format!("loader.{version}");
        let loader = self.layout().loader();
        Ok(durable::switch_symlink(
            self.fs(),
            Path::new(&target),
            &loader,
        )?)
    }

    /// What nothing depends on: the new order counts already, so a failure here
    /// is told and no more.
    fn tidy_up(&self, version: u8, config: &BootConfig, monitor: &dyn Monitor) {
        let told = |what: &str, result: Result<()>| {
            if let Err(e) = result {
                monitor.note(&format!("{what} after publishing: {e}"));
            }
        };
        if config.trial().is_none() && self.state_sector().is_ok() {
            let idle = StateSector::fresh(config.id(), 0);
            told("clearing the attempts", self.write_sector(&idle));
        }
        let old = format!("ostree/{}", version ^ 1);
        told("dropping old refs", self.drop_refs(&old, 0));
        told("announcing the change", self.announce());
    }

    /// `ostree` watches the time of this directory, to the nanosecond: a name that
    /// comes and goes changes it.
    pub(crate) fn announce(&self) -> Result<()> {
        let sign = self.layout().stateroots().join(".changed");
        drop(self.fs().create(&sign, 0o600).doing("create", &sign)?);
        Ok(self.fs().remove_file(&sign).doing("remove", &sign)?)
    }
}

fn step(monitor: &dyn Monitor, done: u64) {
    monitor.progress(Progress {
        step: "publishing the boot order",
        done,
        total: Some(4),
        unit: Unit::Items,
    });
}

/// A file in a directory that does not count yet; it is synced with the others.
pub(crate) fn write_new(fs: &dyn Fs, path: &Path, text: &str) -> Result<()> {
    let mut file = fs.create(path, 0o644).doing("create", path)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).doing("write", path)?;
    Ok(())
}

fn bls_entry(entry: &Planned, index: usize, number: usize, standing: Standing) -> BlsEntry {
    let mut bls = BlsEntry::new();
    bls.push("title", &format!("{} (ostree:{index})", entry.title));
    bls.push("version", &number.to_string());
    bls.push("options", &entry.options.to_string());
    bls.push("linux", &entry.linux);
    for initrd in &entry.initrds {
        bls.push("initrd", initrd);
    }
    let standing = match standing {
        Standing::Good(_) => "good",
        Standing::Bad => "bad",
        Standing::Trial => "trial",
        Standing::Unlisted => return bls,
    };
    bls.push(STANDING_KEY, standing);
    bls
}

/// What a bootloader is to decide about.
pub(crate) fn boot_config(order: &BootOrder, planned: &[Planned]) -> Result<BootConfig> {
    let find = |id: &DeploymentId| {
        let found = planned.iter().find(|p| p.id == *id);
        found.ok_or_else(|| Error::NoDeployment(id.clone()))
    };
    let mut entries = Vec::new();
    for (ids, mark) in [(&order.good, ""), (&order.bad, " (bad)")] {
        for id in ids {
            entries.push(entry(find(id)?, mark));
        }
    }
    let trial = match &order.trial {
        Some(trial) => {
            let planned = find(&trial.deployment)?;
            let mut entry = entry(planned, " (on trial)");
            entry.options = trial_options(&planned.options, &trial.kargs)?;
            Some(Trial {
                entry,
                attempts: trial.attempts,
                digests: planned.digests.clone(),
            })
        }
        None => None,
    };
    Ok(BootConfig::new(entries, trial)?)
}

fn entry(planned: &Planned, mark: &str) -> Entry {
    Entry {
        name: planned.id.short(),
        title: format!("{}{mark}", planned.title),
        linux: planned.linux.clone(),
        initrds: planned.initrds.clone(),
        options: planned.options.clone(),
    }
}

/// The trial's own arguments, if it has any, and what leads to the deployment.
fn trial_options(base: &KernelArgs, own: &KernelArgs) -> Result<KernelArgs> {
    if own.is_empty() {
        return Ok(base.clone());
    }
    let mut options = own.clone();
    options.delete("ostree");
    for link in base.iter().filter(|arg| arg.starts_with("ostree=")) {
        let added = options.append(link);
        added.map_err(|source| Error::Kargs {
            of: "the version on trial".to_owned(),
            source,
        })?;
    }
    Ok(options)
}
