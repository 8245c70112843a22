//! Putting a secret where it belongs.

use std::io::Write;
use std::path::Path;

use durable::{Attributes, Fs};

use crate::wire::KeyFile;

/// No secret is longer.
pub(super) const LONGEST: usize = 16 << 20;
/// What statfs says of filesystems that are in memory: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Puts it there: whole, with its owner and mode, or not at all.
pub(super) fn put(fs: &dyn Fs, file: &KeyFile, content: &[u8]) -> Result<(), String> {
    let of = |e: &dyn std::error::Error| crate::chain(e);
    // Others may pass through on the way to what is theirs, and list nothing.
    durable::create_dir_all(fs, &file.directory, 0o711).map_err(|e| of(&e))?;
    if !file.persistent && !in_memory(&file.directory)? {
        return Err(format!(
            "{} is on a disk; a secret that may lie there has `persistent = true`",
            file.directory.display()
        ));
    }
    let owner = number(&file.owner, Path::new("/etc/passwd"), "user")?;
    let group = number(&file.group, Path::new("/etc/group"), "group")?;
    let path = file.directory.join(&file.name);
    let temporary = file
        .directory
        .join(format!(".{}.{}.tmp", file.name, std::process::id()));
    let attributes = Attributes {
        owner: Some((owner, group)),
        mode: Some(file.mode),
        ..Attributes::default()
    };
    let written = (|| {
        let mut new = fs.create(&temporary, 0o600)?;
        new.write_all(content)?;
        new.set(&attributes)?;
        new.sync()?;
        fs.rename(&temporary, &path)?;
        fs.sync_dir(&file.directory)
    })();
    written.map_err(|e| {
        // Best effort: the first error is the one that matters.
        let _ = fs.remove_file(&temporary);
        format!("{}: {e}", path.display())
    })
}

fn in_memory(directory: &Path) -> Result<bool, String> {
    let found =
        rustix::fs::statfs(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    Ok(u64::try_from(found.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind)))
}

/// The number of a user or group, read from its file: a static program asks no
/// name service.
fn number(name: &str, file: &Path, what: &str) -> Result<u32, String> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    found.ok_or_else(|| format!("there is no {what} `{name}` in {}", file.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use durable::RealFs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn key(directory: &Path, persistent: bool) -> KeyFile {
        let own = std::fs::metadata("/proc/self").unwrap();
        KeyFile {
            directory: directory.to_owned(),
            name: "k".to_owned(),
            owner: own.uid().to_string(),
            group: own.gid().to_string(),
            mode: 0o440,
            persistent,
        }
    }

    #[test]
    fn a_secret_has_its_mode_and_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("deep/keys");
        for content in ["one", "two"] {
            put(&RealFs, &key(&keys, true), content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(keys.join("k")).unwrap(), content);
        }
        let mode = std::fs::metadata(keys.join("k"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o440);
        assert_eq!(
            std::fs::read_dir(&keys).unwrap().count(),
            1,
            "nothing is left over"
        );
    }

    #[test]
    fn a_secret_stays_off_the_disk_unless_it_may_be_there() {
        let dir = tempfile::tempdir_in("/proc/self/cwd").unwrap();
        let refused = put(&RealFs, &key(dir.path(), false), b"x");
        match in_memory(dir.path()).unwrap() {
            true => refused.unwrap(),
            false => assert!(refused.unwrap_err().contains("is on a disk")),
        }
        if in_memory(Path::new("/dev/shm")) == Ok(true) {
            let shm = tempfile::tempdir_in("/dev/shm").unwrap();
            put(&RealFs, &key(shm.path(), false), b"x").unwrap();
        }
    }

    #[test]
    fn names_have_numbers() {
        let passwd = Path::new("/etc/passwd");
        assert_eq!(number("root", passwd, "user"), Ok(0));
        assert_eq!(number("1234", passwd, "user"), Ok(1234));
        assert!(
            number("no such one", passwd, "user")
                .unwrap_err()
                .contains("no such one")
        );
    }
}
