//! Boot entries as they will be published.

use std::collections::BTreeMap;

use boot::{FileDigest, KernelArgs};
use durable::FileKind;

use crate::deployment::DeploymentId;
use crate::entries::ListedEntry;
use crate::kernel::{self, DeviceTree};
use crate::order::BootOrder;
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// Kernel arguments that deployments get instead of those they have.
pub(crate) type OwnKargs = BTreeMap<DeploymentId, KernelArgs>;

/// One deployment's boot entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    pub id: DeploymentId,
    pub title: String,
    pub bootcsum: String,
    /// Tells deployments with the same kernel apart.
    pub bootserial: u32,
    /// Its kernel, as `/boot` names it.
    pub linux: String,
    pub initrds: Vec<String>,
    /// What a boot entry says of the hardware: its key and value.
    pub devicetree: Option<(&'static str, String)>,
    /// All kernel arguments, `ostree=` among them.
    pub options: KernelArgs,
    /// The digests of kernel and initrd; only a trial's are needed.
    pub digests: Vec<FileDigest>,
}

/// The kernel's place in `/boot`.
pub(crate) struct Installed {
    bootcsum: String,
    linux: String,
    initrds: Vec<String>,
    devicetree: Option<(&'static str, String)>,
    digests: Vec<FileDigest>,
}

impl Sysroot {
    /// The entries of an order, the default first, with their kernels installed.
    /// `kargs` are one deployment's new kernel arguments.
    pub(crate) fn plan_entries(
        &self,
        order: &BootOrder,
        version: u8,
        kargs: Option<(&DeploymentId, &KernelArgs)>,
    ) -> Result<Vec<Planned>> {
        let own = kargs.map(|(id, args)| (id.clone(), args.clone()));
        let planned = self.plan_with(order, version, &own.into_iter().collect())?;
        match planned.iter().find(|p| p.devicetree.is_some()) {
            Some(planned) => Err(Error::NotDeployable {
                path: self.layout().deployment(&planned.id),
                why: "backstop's boot configuration has no place for device trees",
            }),
            None => Ok(planned),
        }
    }

    /// The same; these deployments get other kernel arguments.
    pub(crate) fn plan_with(
        &self,
        order: &BootOrder,
        version: u8,
        kargs: &OwnKargs,
    ) -> Result<Vec<Planned>> {
        let listed: BTreeMap<_, _> = self
            .entries()?
            .into_iter()
            .map(|e| (e.deployment.clone(), e))
            .collect();
        let mut serials: BTreeMap<(String, String), u32> = BTreeMap::new();
        let mut planned = Vec::new();
        let proven = self.tried().filter(|id| order.good.contains(id));
        for id in order.all() {
            let trial = order.trial.as_ref().is_some_and(|t| t.deployment == *id);
            let compared = trial || proven.as_ref() == Some(id);
            let kernel = self.kernel_of(id, listed.get(id), compared)?;
            let key = (id.stateroot.clone(), kernel.bootcsum.clone());
            let next = serials.entry(key).or_default();
            let bootserial = *next;
            *next += 1;
            let kargs = match kargs.get(id) {
                Some(kargs) => kargs.clone(),
                None => self.deployment(id)?.kargs,
            };
            planned.push(self.planned(id, kernel, (bootserial, version), kargs)?);
        }
        Ok(planned)
    }

    fn planned(
        &self,
        id: &DeploymentId,
        kernel: Installed,
        (bootserial, version): (u32, u8),
        kargs: KernelArgs,
    ) -> Result<Planned> {
        let mut options = kargs;
        let link = format!(
            "ostree=/ostree/boot.{version}/{}/{}/{bootserial}",
            id.stateroot, kernel.bootcsum
        );
        let kargs_of = |source| Error::Kargs {
            of: id.to_string(),
            source,
        };
        options.append(&link).map_err(kargs_of)?;
        Ok(Planned {
            id: id.clone(),
            title: self.title(id),
            bootcsum: kernel.bootcsum,
            bootserial,
            linux: kernel.linux,
            initrds: kernel.initrds,
            devicetree: kernel.devicetree,
            options,
            digests: kernel.digests,
        })
    }

    /// Whether a deployment has its tree and a kernel, as far as that can be seen
    /// without reading it.
    pub(crate) fn can_boot(&self, id: &DeploymentId, listed: Option<&ListedEntry>) -> bool {
        let dir = self.layout().deployment(id);
        let installed = listed.is_some_and(|e| self.installed(e).is_some());
        self.fs().metadata(&dir).is_ok() && (installed || kernel::locate(self.fs(), &dir).is_ok())
    }

    /// The deployment on trial, unless it is a good one that is tried with other
    /// arguments. When it becomes good it may have run with a kernel that is damaged on
    /// the disk: not every boot loader compares digests.
    fn tried(&self) -> Option<DeploymentId> {
        // Going back must not depend on this.
        let published = self.published().ok()?.order;
        let tried = published.trial?.deployment;
        (!published.good.contains(&tried)).then_some(tried)
    }

    /// Keeps the kernel of an entry that is there, or installs it. One that is compared
    /// with its tree gets what is damaged in `/boot` anew.
    fn kernel_of(
        &self,
        id: &DeploymentId,
        listed: Option<&ListedEntry>,
        compared: bool,
    ) -> Result<Installed> {
        let dir = self.layout().deployment(id);
        if self.fs().metadata(&dir).is_err() {
            return Err(Error::NoDeployment(id.clone()));
        }
        // A trial's digests come from its tree, not from what /boot holds.
        if !compared
            && let Some(entry) = listed
            && let Some(installed) = self.installed(entry)
            && (installed.devicetree.is_some() || !kernel::has_device_tree(self.fs(), &dir))
        {
            return Ok(installed);
        }
        let mut kernel = kernel::find(self.fs(), &dir)?;
        if let Some(entry) = listed
            && !compared
        {
            // It keeps the name by which its entry leads to it.
            kernel.bootcsum.clone_from(&entry.bootcsum);
        }
        let name = format!("{}-{}", id.stateroot, kernel.bootcsum);
        kernel.install(self.fs(), &self.layout().kernels().join(&name))?;
        let path = |file: &kernel::KernelFile| format!("/ostree/{name}/{}", file.name);
        let digest = |file: &kernel::KernelFile| FileDigest {
            path: path(file),
            sha256: file.sha256.clone(),
        };
        Ok(Installed {
            linux: path(&kernel.linux),
            initrds: kernel.initrd.iter().map(path).collect(),
            devicetree: match &kernel.devicetree {
                Some(DeviceTree::File(file)) => Some(("devicetree", path(file))),
                Some(DeviceTree::Dir(_)) => Some(("fdtdir", format!("/ostree/{name}/dtb"))),
                None => None,
            },
            digests: kernel.files().map(digest).collect(),
            bootcsum: kernel.bootcsum,
        })
    }

    /// The kernel that an entry names, if all of it is there.
    pub(crate) fn installed(&self, entry: &ListedEntry) -> Option<Installed> {
        let linux = below_boot(entry.entry.get("linux")?);
        let initrds: Vec<String> = entry.entry.all("initrd").map(below_boot).collect();
        let there = |path: &String| {
            let path = self.layout().boot().join(path.trim_start_matches('/'));
            let meta = self.fs().metadata(&path);
            meta.is_ok_and(|m| m.kind == FileKind::File && m.size > 0)
        };
        let whole = there(&linux) && initrds.iter().all(there);
        whole.then(|| Installed {
            bootcsum: entry.bootcsum.clone(),
            linux,
            initrds,
            devicetree: ["devicetree", "fdtdir"]
                .into_iter()
                .find_map(|key| Some((key, below_boot(entry.entry.get(key)?)))),
            digests: Vec::new(),
        })
    }

    /// What the system calls itself, with the version of the commit.
    fn title(&self, id: &DeploymentId) -> String {
        let dir = self.layout().deployment(id);
        let text = durable::read_to_string(self.fs(), &dir.join("usr/lib/os-release"))
            .or_else(|_| durable::read_to_string(self.fs(), &dir.join("etc/os-release")))
            .unwrap_or_default();
        let line = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
        let name = line.map(|l| l.trim().trim_matches(['"', '\'']));
        let name = name.filter(|n| !n.is_empty()).unwrap_or(&id.stateroot);
        let commit = self.repo().load_commit(&id.checksum).ok();
        let version = commit.as_ref().and_then(|c| c.version());
        // Some systems have it in their name.
        let version = version.filter(|v| !v.is_empty() && !name.contains(v));
        let name = match version {
            Some(version) => format!("{name} {version}"),
            None => name.to_owned(),
        };
        name.chars().filter(|c| !c.is_control()).collect()
    }
}

/// A path as seen from the filesystem or directory that is `/boot`.
fn below_boot(path: &str) -> String {
    path.strip_prefix("/boot/")
        .map_or_else(|| path.to_owned(), |rest| format!("/{rest}"))
}
