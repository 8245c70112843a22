//! Publishing as `ostree admin` does, on hosts whose boot is not backstop's: no trial, no
//! state sector, and a configuration in the language of the bootloader that is there.
//!
//! Where the entries stay the same, letter by letter, and only lead to other
//! deployments, one rename of the link `ostree/boot.B` is all. Else the other set of
//! boot files is written from scratch, and `boot/loader` is switched, as
//! [`Sysroot::publish`] does. Either way one rename decides, after all else is on the
//! disk.

use std::path::Path;

use boot::BlsEntry;
use durable::Doing;
use monitor::Monitor;

use crate::deployment::DeploymentId;
use crate::order::{BootOrder, ORDER_NAME};
use crate::planned::{OwnKargs, Planned};
use crate::publish::write_new;
use crate::sysroot::{Sysroot, link_target};
use crate::{Error, Result};

/// What is to boot on a host that is not backstop's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlainOrder {
    /// The default first. None at all is allowed: the host boots something else then.
    pub deployments: Vec<DeploymentId>,
    /// Kernel arguments that deployments get instead of those they have.
    pub kargs: OwnKargs,
}

/// How an order was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainSwitch {
    /// Whether the boot entries are new; else only links were switched.
    pub entries: bool,
    /// The set of boot files, 0 or 1, that counts now.
    pub version: u8,
    /// The set of links, 0 or 1, that counts now.
    pub sub: u8,
}

/// An entry's file: name and text.
type EntryFile = (String, String);

impl Sysroot {
    /// Whether backstop decides what boots on this host, so that [`Self::publish`] is
    /// the way.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        let settings = self.layout().boot_settings();
        let ordered = || self.published().is_ok_and(|p| p.config.is_some());
        self.fs().metadata(&settings).is_ok() || ordered()
    }

    /// Publishes an order on a host that is not backstop's.
    ///
    /// # Errors
    /// That it is backstop's; a deployment that is not there or has no kernel; a
    /// bootloader's configuration that cannot be made; the disk's. Unless it is the
    /// disk's answer to the last rename, the old order stands then.
    pub fn publish_plain(&self, order: &PlainOrder, monitor: &dyn Monitor) -> Result<PlainSwitch> {
        if self.is_managed() {
            return Err(Error::Order(
                "backstop decides what boots here: use `backstop upgrade` and its like",
            ));
        }
        self.switch_plain(order, monitor)
    }

    /// The same, whosever the host is.
    pub(crate) fn switch_plain(
        &self,
        order: &PlainOrder,
        monitor: &dyn Monitor,
    ) -> Result<PlainSwitch> {
        let _lock = self.lock()?;
        let current = self.boot_version()?;
        self.settle_switch()?;
        if let Some(version) = current {
            let planned = self.plan_plain(order, version)?;
            if self.entry_files_stand(version, &entry_files(&planned))? {
                return self.swap_links(version, &planned, monitor);
            }
        }
        let version = current.map_or(1, |v| v ^ 1);
        let planned = self.plan_plain(order, version)?;
        self.write_links(version, &planned)?;
        self.write_plain_loader(version, &planned)?;
        let own = self.layout().boot().join("boot");
        if self.fs().metadata(&own).is_err() {
            // So `/boot/…` leads there whether `/boot` is a filesystem or not.
            durable::publish_symlink(self.fs(), Path::new("."), &own)?;
        }
        self.tell_of(self.write_sub_refs(version, 1, &planned), monitor);
        self.reach_disk()?;
        let loader = self.layout().loader();
        let target = format!("loader.{version}");
        durable::switch_symlink(self.fs(), Path::new(&target), &loader)?;
        self.tell_of(self.drop_refs(&format!("ostree/{version}/0"), 0), monitor);
        self.tell_of(
            self.drop_refs(&format!("ostree/{}", version ^ 1), 0),
            monitor,
        );
        self.tell_of(self.announce(), monitor);
        Ok(PlainSwitch {
            entries: true,
            version,
            sub: 1,
        })
    }

    /// What nothing depends on: a failure is told and no more.
    fn tell_of(&self, result: Result<()>, monitor: &dyn Monitor) {
        if let Err(e) = result {
            monitor.note(&format!("while publishing: {e}"));
        }
    }

    fn plan_plain(&self, order: &PlainOrder, version: u8) -> Result<Vec<Planned>> {
        let boot_order = BootOrder {
            good: order.deployments.clone(),
            ..BootOrder::default()
        };
        let mut planned = self.plan_with(&boot_order, version, &order.kargs)?;
        for entry in planned.iter_mut().filter(|p| p.initrds.is_empty()) {
            // What an initramfs does, the first process of the tree has to do.
            let link = entry.options.get("ostree").unwrap_or_default();
            let init = format!("init={link}/usr/lib/ostree/ostree-prepare-root");
            let failed = |source| Error::Kargs {
                of: entry.id.to_string(),
                source,
            };
            entry.options.append(&init).map_err(failed)?;
        }
        Ok(planned)
    }

    /// Whether the entries of a set are these, and nobody but `ostree` made it.
    fn entry_files_stand(&self, version: u8, wanted: &[EntryFile]) -> Result<bool> {
        let loader = self.layout().loader_of(version);
        let dir = loader.join("entries");
        let Ok(names) = self.fs().read_dir(&dir) else {
            return Ok(false);
        };
        let all_named = names.len() == wanted.len() && !wanted.is_empty();
        if !all_named || self.fs().metadata(&loader.join(ORDER_NAME)).is_ok() {
            return Ok(false);
        }
        let same = |(name, text): &EntryFile| {
            durable::read_to_string(self.fs(), &dir.join(name)).is_ok_and(|known| known == *text)
        };
        Ok(wanted.iter().all(same))
    }

    /// Leads the entries that are there to other deployments.
    fn swap_links(
        &self,
        version: u8,
        planned: &[Planned],
        monitor: &dyn Monitor,
    ) -> Result<PlainSwitch> {
        let (fs, layout) = (self.fs(), self.layout());
        let sub = self.current_links(version)?.map_or(1, |sub| sub ^ 1);
        durable::remove_tree(fs, &layout.links_of(version, sub))?;
        self.write_link_dir(version, sub, planned)?;
        self.tell_of(self.write_sub_refs(version, sub, planned), monitor);
        self.reach_disk()?;
        let target = format!("boot.{version}.{sub}");
        durable::publish_symlink(fs, Path::new(&target), &layout.links(version))?;
        self.reach_disk()?;
        let old = format!("ostree/{version}/{}", sub ^ 1);
        self.tell_of(self.drop_refs(&old, 0), monitor);
        self.tell_of(self.announce(), monitor);
        Ok(PlainSwitch {
            entries: false,
            version,
            sub,
        })
    }

    /// Which set of links counts.
    fn current_links(&self, version: u8) -> Result<Option<u8>> {
        let target = link_target(self.fs(), &self.layout().links(version))?;
        let target = target.as_deref().and_then(Path::to_str);
        Ok(
            match target.and_then(|t| t.strip_prefix(&format!("boot.{version}."))) {
                Some("0") => Some(0),
                Some("1") => Some(1),
                _ => None,
            },
        )
    }

    /// Removes links that count no more.
    pub(crate) fn remove_other_links(&self, version: u8) -> Result<()> {
        if let Some(sub) = self.current_links(version)? {
            let other = self.layout().links_of(version, sub ^ 1);
            durable::remove_tree(self.fs(), &other)?;
        }
        Ok(())
    }

    /// `boot/loader.B`: the entries, and what the bootloader reads instead.
    fn write_plain_loader(&self, version: u8, planned: &[Planned]) -> Result<()> {
        let fs = self.fs();
        let dir = self.layout().loader_of(version);
        durable::remove_tree(fs, &dir)?;
        let entries = dir.join("entries");
        durable::create_dir_all(fs, &entries, 0o755)?;
        for (name, text) in entry_files(planned) {
            write_new(fs, &entries.join(name), &text)?;
        }
        self.write_bootloader(version, planned)
    }

    /// Forgets that services of this stateroot have seen its `/var` as the new version
    /// wants it.
    ///
    /// # Errors
    /// The disk's.
    pub fn forget_updated(&self, stateroot: &str) -> Result<()> {
        let path = self.layout().stateroot(stateroot).join("var/.updated");
        match self.fs().remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => Ok(other.doing("remove", &path)?),
        }
    }
}

/// The boot entries as files, as `ostree` names and writes them.
pub(crate) fn entry_files(planned: &[Planned]) -> Vec<EntryFile> {
    let first = planned.first().map(|p| &p.id.stateroot);
    let several = planned.iter().any(|p| Some(&p.id.stateroot) != first);
    let files = planned.iter().enumerate();
    let file = |(index, entry): (usize, &Planned)| {
        let number = planned.len() - index;
        let name = boot::bls::file_name(number, &entry.id.stateroot);
        let place = match several {
            true => format!("{}:{index}", entry.id.stateroot),
            false => index.to_string(),
        };
        let mut bls = BlsEntry::new();
        bls.push("title", &format!("{} (ostree:{place})", entry.title));
        bls.push("version", &number.to_string());
        bls.push("options", &entry.options.to_string());
        bls.push("linux", &entry.linux);
        for initrd in &entry.initrds {
            bls.push("initrd", initrd);
        }
        if let Some((key, path)) = &entry.devicetree {
            bls.push(key, path);
        }
        (name, bls.to_string())
    };
    files.map(file).collect()
}
