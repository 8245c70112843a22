//! Which filesystem a directory is on, and where on it.

use std::path::{Path, PathBuf};

/// A directory's place, as GRUB has to find it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The directory's path on its filesystem; empty for its root.
    pub dir: String,
    /// The filesystem's kind.
    pub kind: String,
    /// What is mounted: a device, mostly.
    pub source: String,
    /// The device's number, `8:1`.
    pub number: String,
    /// Where it is mounted.
    pub mounted_at: PathBuf,
}

/// The place of an absolute path without symlinks, by the text of
/// `/proc/self/mountinfo`; of several mounts the one that counts is the last.
pub(super) fn place(mountinfo: &str, path: &Path) -> Option<Place> {
    let mounts = mountinfo.lines().filter_map(mount);
    let over = mounts.filter(|m| path.starts_with(&m.mounted_at));
    let length = |m: &Place| m.mounted_at.components().count();
    let mut found = over.fold(None::<Place>, |best, m| match best {
        Some(best) if length(&best) > length(&m) => Some(best),
        _ => Some(m),
    })?;
    let below = path.strip_prefix(&found.mounted_at).ok()?;
    let dir = Path::new(&found.dir).join(below);
    found.dir = match dir.to_str()?.trim_end_matches('/') {
        "" => String::new(),
        dir => dir.to_owned(),
    };
    Some(found)
}

/// One line; its `dir` is what of the filesystem is mounted.
fn mount(line: &str) -> Option<Place> {
    let (before, after) = line.split_once(" - ")?;
    let before: Vec<_> = before.split(' ').collect();
    let after: Vec<_> = after.split(' ').collect();
    let ([_, _, number, dir, at, ..], [kind, source, ..]) = (&before[..], &after[..]) else {
        return None;
    };
    Some(Place {
        dir: plain(dir),
        kind: (*kind).to_owned(),
        source: plain(source),
        number: (*number).to_owned(),
        mounted_at: plain(at).into(),
    })
}

/// Blanks and the like are written in octal.
fn plain(field: &str) -> String {
    let escapes = [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ];
    escapes.iter().fold(field.to_owned(), |text, (code, sign)| {
        text.replace(code, sign)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOYED: &str = "\
21 1 254:3 /ostree/deploy/debian/deploy/ab.0 / rw shared:1 - ext4 /dev/vda3 rw
22 21 254:3 / /sysroot ro - ext4 /dev/vda3 rw
23 21 254:3 /boot /boot rw master:1 - ext4 /dev/vda3 rw
24 23 254:2 / /boot/efi rw - autofs systemd-1 rw
25 23 254:2 / /boot/efi rw - vfat /dev/vda2 rw
26 21 254:4 / /mnt/a\\040disk rw - ext4 /dev/vdb rw
";

    #[test]
    fn the_last_and_deepest_mount_counts() {
        let table = [
            ("/boot", "/boot", "ext4", "/dev/vda3"),
            ("/boot/grub", "/boot/grub", "ext4", "/dev/vda3"),
            ("/boot/efi", "", "vfat", "/dev/vda2"),
            (
                "/bootleg",
                "/ostree/deploy/debian/deploy/ab.0/bootleg",
                "ext4",
                "/dev/vda3",
            ),
            ("/sysroot/boot", "/boot", "ext4", "/dev/vda3"),
            ("/mnt/a disk/boot", "/boot", "ext4", "/dev/vdb"),
            ("/sysroot", "", "ext4", "/dev/vda3"),
        ];
        for (path, dir, kind, source) in table {
            let found = place(DEPLOYED, Path::new(path)).unwrap();
            let found = (&*found.dir, &*found.kind, &*found.source);
            assert_eq!(found, (dir, kind, source), "{path}");
        }
        assert_eq!(place("noise\n", Path::new("/boot")), None);
    }
}
