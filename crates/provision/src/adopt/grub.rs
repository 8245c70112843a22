//! The GRUB that is there: which file it goes by, and whether it can do what backstop's
//! script asks of it.

use std::path::{Path, PathBuf};

use durable::Fs;
use sysroot::Sysroot;

use super::{ESP_DIR, refuse};
use crate::Result;

/// What systemd-boot tells the booted system.
const LOADER_INFO: &str =
    "sys/firmware/efi/efivars/LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Whether the firmware runs signed programs only.
const SECURE_BOOT: &str =
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// Other boot loaders, by the file that they go by, relative to the sysroot.
const OTHERS: [(&str, &str); 3] = [
    ("boot/syslinux/syslinux.cfg", "SYSLINUX"),
    ("boot/extlinux/extlinux.conf", "EXTLINUX"),
    ("boot/uEnv.txt", "U-Boot"),
];
/// No stub is longer.
const LONGEST_STUB: u64 = 1 << 20;
/// Without these modules a script still does all but compare digests.
const DISPENSABLE: [&str; 2] = ["hashsum", "gcry_sha256"];

/// Refuses a host that another boot loader boots.
pub(super) fn check_other_loaders(root: &Path) -> Result<()> {
    if root == Path::new("/") && booted_by_systemd(&root.join(LOADER_INFO)) {
        return refuse(
            root,
            "systemd-boot booted it, and only hosts that GRUB boots can be taken over in place",
        );
    }
    match OTHERS.iter().find(|(file, _)| root.join(file).exists()) {
        Some((file, name)) => refuse(
            root,
            &format!("it has /{file}: {name} boots it, and only GRUB hosts can be taken over"),
        ),
        None => Ok(()),
    }
}

/// The firmware shows text as UTF-16; the letters are every other byte.
fn booted_by_systemd(variable: &Path) -> bool {
    let bytes = durable::read_bounded(&durable::RealFs, variable, 4096).unwrap_or_default();
    let text: Vec<u8> = bytes.into_iter().filter(|b| *b != 0).collect();
    String::from_utf8_lossy(&text).contains("systemd-boot")
}

/// The file that GRUB goes by, relative to the sysroot.
pub(super) fn config(fs: &dyn Fs, sysroot: &Sysroot, told: Option<&Path>) -> Result<PathBuf> {
    let root = sysroot.path();
    let found = sysroot.grub_configs();
    let config = match (told, &found[..]) {
        (Some(told), _) => {
            let relative = told.strip_prefix("/").unwrap_or(told);
            if !relative.starts_with("boot") || fs.metadata(&root.join(relative)).is_err() {
                let why = format!("there is no {} below its /boot", told.display());
                return refuse(root, &why);
            }
            relative.to_owned()
        }
        (None, [one]) => one.clone(),
        (None, []) => return refuse(root, &no_config(fs, root)),
        (None, _) => {
            return refuse(
                root,
                "it has both /boot/grub/grub.cfg and /boot/grub2/grub.cfg: say which one GRUB \
                 goes by, with --grub-config",
            );
        }
    };
    match whole_on_esp(fs, root) {
        Some(path) if told.is_none() => refuse(
            root,
            &format!(
                "/{} does not lead to /{}: with UEFI GRUB goes by that file, which ostree writes \
                 itself; make it one line, `configfile` and the other one's path",
                path.display(),
                config.display()
            ),
        ),
        _ => Ok(config),
    }
}

fn no_config(fs: &dyn Fs, root: &Path) -> String {
    let systemd = ["EFI/systemd", "loader/loader.conf"];
    let has = |path: &str| fs.metadata(&root.join(ESP_DIR).join(path)).is_ok();
    let entries = root.join("boot/loader/loader.conf");
    if systemd.iter().any(|path| has(path)) || fs.metadata(&entries).is_ok() {
        return "systemd-boot boots it, and only hosts that GRUB boots can be taken over in place"
            .into();
    }
    "GRUB does not boot it: there is neither /boot/grub/grub.cfg nor /boot/grub2/grub.cfg".into()
}

/// A `grub.cfg` in a vendor's directory of the EFI system partition that is more than a
/// pointer to the one in `/boot`.
fn whole_on_esp(fs: &dyn Fs, root: &Path) -> Option<PathBuf> {
    let vendors = Path::new(ESP_DIR).join("EFI");
    let names = fs.read_dir(&root.join(&vendors)).unwrap_or_default();
    let configs = names
        .into_iter()
        .map(|e| vendors.join(e.name).join("grub.cfg"));
    let whole = |path: &PathBuf| {
        let read = durable::read_bounded(fs, &root.join(path), LONGEST_STUB);
        read.is_ok_and(|bytes| !String::from_utf8_lossy(&bytes).contains("configfile"))
    };
    let mut configs: Vec<_> = configs.filter(whole).collect();
    configs.sort();
    configs.into_iter().next()
}

/// Refuses a GRUB whose directory of modules lacks some: it takes an unknown command for
/// one that went well. One without such a directory has them built in.
pub(super) fn check_modules(fs: &dyn Fs, root: &Path, config: &Path, esp: bool) -> Result<()> {
    let Some(dir) = config.parent() else {
        return Ok(());
    };
    for platform in ["i386-pc", "x86_64-efi"] {
        let modules = dir.join(platform);
        if fs.metadata(&root.join(&modules)).is_err() {
            continue;
        }
        let needed = boot::grub::MODULES.iter().chain(esp.then_some(&"fat"));
        let missing: Vec<&str> = needed
            .copied()
            .filter(|m| !DISPENSABLE.contains(m))
            .filter(|m| {
                fs.metadata(&root.join(&modules).join(format!("{m}.mod")))
                    .is_err()
            })
            .collect();
        if !missing.is_empty() {
            let why = format!(
                "GRUB's /{} lacks {}: run grub-install first",
                modules.display(),
                missing.join(", ")
            );
            return refuse(root, &why);
        }
    }
    Ok(())
}

/// Whether this GRUB can compare a kernel with its digest: the modules for that are in its
/// directory, and no Secure Boot keeps it from loading them.
pub(super) fn compares_digests(fs: &dyn Fs, root: &Path, config: &Path) -> bool {
    let Some(dir) = config.parent() else {
        return false;
    };
    let there = |path: PathBuf| fs.metadata(&root.join(path)).is_ok();
    let modules = ["i386-pc", "x86_64-efi"].map(|platform| dir.join(platform));
    let mut modules = modules.into_iter().filter(|m| there(m.clone())).peekable();
    let secure = durable::read_bounded(fs, &root.join(SECURE_BOOT), 16);
    // Four bytes of attributes, then 1 where it is enforced.
    let secure = secure.is_ok_and(|variable| variable.get(4) == Some(&1));
    let can = |dir: PathBuf| {
        let module = |name: &&str| there(dir.join(format!("{name}.mod")));
        DISPENSABLE.iter().all(module)
    };
    !secure && modules.peek().is_some() && modules.all(can)
}
