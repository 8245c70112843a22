//! The boot entries of a sysroot, as they are on the disk.

use std::path::{Component, Path, PathBuf};

use boot::{BlsEntry, KernelArgs};

use crate::deployment::{DeploymentId, is_stateroot_name};
use crate::sysroot::{Sysroot, link_target};
use crate::{Error, Result};

/// A boot entry and the deployment that it boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedEntry {
    pub deployment: DeploymentId,
    /// The digest that its kernel's directory is named by.
    pub bootcsum: String,
    pub kargs: KernelArgs,
    pub entry: BlsEntry,
}

/// The same, before it is known that its link leads to a deployment.
struct ReadEntry {
    deployment: Result<DeploymentId>,
    bootcsum: String,
    kargs: KernelArgs,
    entry: BlsEntry,
}

impl Sysroot {
    /// Which of the two `loader` directories counts.
    ///
    /// # Errors
    /// The disk's, or a symlink that leads elsewhere.
    pub(crate) fn boot_version(&self) -> Result<Option<u8>> {
        let path = self.layout().loader();
        let Some(target) = link_target(self.fs(), &path)? else {
            return Ok(None);
        };
        match target.to_str() {
            Some("loader.0") => Ok(Some(0)),
            Some("loader.1") => Ok(Some(1)),
            _ => Err(Error::Invalid {
                path,
                why: "it leads neither to loader.0 nor to loader.1".to_owned(),
            }),
        }
    }

    /// The entries for deployments, the default first.
    pub(crate) fn entries(&self) -> Result<Vec<ListedEntry>> {
        let Some(version) = self.boot_version()? else {
            return Ok(Vec::new());
        };
        let dir = self.layout().loader_of(version).join("entries");
        let mut found = Vec::new();
        let files = match self.fs().read_dir(&dir) {
            // Whoever set up the boot loader made the directory, but no entries yet.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => durable::Doing::doing(other, "list", &dir)?,
        };
        for file in files {
            let path = dir.join(&file.name);
            if path.extension().is_some_and(|e| e == "conf")
                && let Some(entry) = self.entry(&path, version)?
            {
                let number = entry
                    .entry
                    .get("version")
                    .and_then(|v| v.parse::<u64>().ok());
                found.push((number, file.name, entry));
            }
        }
        found.sort_by(|a, b| (&b.0, &b.1).cmp(&(&a.0, &a.1)));
        let mut listed = Vec::new();
        for (_, _, entry) in found {
            let link = entry.deployment;
            let deployment = link.or_else(|e| self.written_down(version, listed.len(), e))?;
            listed.push(ListedEntry {
                deployment,
                bootcsum: entry.bootcsum,
                kargs: entry.kargs,
                entry: entry.entry,
            });
        }
        Ok(listed)
    }

    /// The deployment of the entry at this place where its link is gone: the order that
    /// was published with the entries knows it. A version on trial whose link is damaged
    /// must not keep anybody from putting the host back.
    fn written_down(&self, version: u8, place: usize, gone: Error) -> Result<DeploymentId> {
        let published = self.published_with(version).ok().flatten();
        let id = published.and_then(|p| p.order.all().get(place).map(|id| (*id).clone()));
        id.ok_or(gone)
    }

    /// Reads an entry; `None` when it is not for a deployment.
    fn entry(&self, path: &Path, version: u8) -> Result<Option<ReadEntry>> {
        let invalid = |why: String| Error::Invalid {
            path: path.to_owned(),
            why,
        };
        let text = durable::read_to_string(self.fs(), path)?;
        let entry = BlsEntry::parse(&text).map_err(|e| invalid(e.to_string()))?;
        let mut kargs = entry.options().map_err(|e| invalid(e.to_string()))?;
        let Some(link) = kargs.get("ostree") else {
            return Ok(None);
        };
        let parsed = parse_link(&link).filter(|l| l.version == version);
        let Some(parsed) = parsed else {
            return Err(invalid(format!(
                "ostree={link} is no link of loader.{version}"
            )));
        };
        let deployment = self.follow_link(&link);
        kargs.delete("ostree");
        if kargs.get("init").is_some_and(|i| i.starts_with(&link)) {
            // Of an entry without an initramfs: it goes with the link.
            kargs.delete("init");
        }
        Ok(Some(ReadEntry {
            deployment,
            bootcsum: parsed.bootcsum,
            kargs,
            entry,
        }))
    }

    /// Whether an entry's link leads to its deployment.
    pub(crate) fn is_linked(&self, listed: &ListedEntry) -> bool {
        let link = listed.entry.options().ok().and_then(|o| o.get("ostree"));
        let leads = link.map(|link| self.follow_link(&link));
        leads.is_some_and(|id| id.is_ok_and(|id| id == listed.deployment))
    }

    /// The deployment that `/ostree/boot.B/SR/BOOTCSUM/SERIAL` leads to.
    pub(crate) fn follow_link(&self, link: &str) -> Result<DeploymentId> {
        let Some(parsed) = parse_link(link) else {
            return Err(Error::Invalid {
                path: PathBuf::from(link),
                why: "it is no boot link".to_owned(),
            });
        };
        let path = self.layout().root().join(link.trim_start_matches('/'));
        let target = link_target(self.fs(), &path)?;
        let name = target.as_deref().and_then(Path::file_name);
        let id = name
            .and_then(|n| n.to_str())
            .and_then(|n| DeploymentId::from_dir_name(&parsed.stateroot, n));
        id.ok_or_else(|| Error::Invalid {
            path,
            why: "it leads to no deployment".to_owned(),
        })
    }
}

/// The parts of a boot link.
struct Link {
    version: u8,
    stateroot: String,
    bootcsum: String,
}

fn parse_link(link: &str) -> Option<Link> {
    let mut parts = Vec::new();
    for part in Path::new(link).components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => parts.push(name.to_str()?),
            _ => return None,
        }
    }
    let ["ostree", boot, stateroot, bootcsum, serial] = parts.as_slice() else {
        return None;
    };
    let version = match *boot {
        "boot.0" => 0,
        "boot.1" => 1,
        _ => return None,
    };
    let hex = |b: u8| b.is_ascii_hexdigit();
    let valid = is_stateroot_name(stateroot)
        && bootcsum.len() == 64
        && bootcsum.bytes().all(hex)
        && serial.bytes().all(|b| b.is_ascii_digit());
    valid.then(|| Link {
        version,
        stateroot: (*stateroot).to_owned(),
        bootcsum: (*bootcsum).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_parsed_strictly() {
        let sum = "0f".repeat(32);
        let link = parse_link(&format!("/ostree/boot.1/debian/{sum}/0")).unwrap();
        assert_eq!((link.version, link.stateroot.as_str()), (1, "debian"));
        for bad in [
            format!("/ostree/boot.2/debian/{sum}/0"),
            format!("/ostree/boot.1/../{sum}/0"),
            format!("/ostree/boot.1/debian/{sum}/x"),
            format!("/ostree/boot.1/debian/{sum}"),
            "/ostree/boot.1/debian/0f/0".to_owned(),
            String::new(),
        ] {
            assert!(parse_link(&bad).is_none(), "{bad}");
        }
    }
}
