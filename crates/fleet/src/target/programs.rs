//! The programs that deployers brought along.

use std::path::Path;

use durable::Fs;

/// So many stay besides the one that runs: a timer or unit of an earlier trial
/// may still name them.
const KEPT: usize = 3;

/// Removes all but the newest programs beside this one. Whatever stands in the
/// way can wait for the next time.
pub(super) fn tidy(fs: &dyn Fs) {
    let Ok(own) = std::env::current_exe() else {
        return;
    };
    let Some(own) = own.parent() else { return };
    if let (true, Some(dir)) = (is_digest(own), own.parent()) {
        remove_old(fs, dir, own);
    }
}

fn is_digest(dir: &Path) -> bool {
    let name = dir.file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn remove_old(fs: &dyn Fs, dir: &Path, own: &Path) {
    let Ok(entries) = fs.read_dir(dir) else {
        return;
    };
    let mut others: Vec<_> = entries
        .into_iter()
        .map(|entry| dir.join(entry.name))
        .filter(|path| path != own && is_digest(path))
        .filter_map(|path| Some((fs.metadata(&path).ok()?.mtime, path)))
        .collect();
    others.sort();
    let too_many = others.len().saturating_sub(KEPT);
    for (_, path) in others.into_iter().take(too_many) {
        // Still in use is no reason to keep it: a running program stays whole.
        let _ = durable::remove_tree(fs, &path);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use durable::RealFs;

    #[test]
    fn the_newest_stay_and_what_is_no_program_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        let of = |n: usize| dir.path().join(format!("{n}").repeat(64));
        for n in 0..7 {
            std::fs::create_dir(of(n)).unwrap();
            std::fs::write(of(n).join("backstop"), "x").unwrap();
            let time = durable::Attributes {
                mtime: Some(1000 + n as i64),
                ..durable::Attributes::default()
            };
            RealFs.set_attributes(&of(n), &time).unwrap();
        }
        std::fs::create_dir(dir.path().join("other")).unwrap();
        remove_old(&RealFs, dir.path(), &of(0));
        let left: Vec<_> = (0..7).filter(|n| of(*n).exists()).collect();
        assert_eq!(left, [0, 4, 5, 6]);
        assert!(dir.path().join("other").exists());
    }
}
