//! Each move keeps its word: after a crash anywhere, and when any call fails.

use std::io::Write;
use std::path::Path;

use durable::sim::{Crashes, SimFs, View, When, each_failure};
use durable::{Batch, Fs};

use crate::{bytes, disk, names};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// Longer than a sector, so that it may be torn.
fn long(byte: u8) -> Vec<u8> {
    vec![byte; 1300]
}

/// A move, and what must hold of the disk: cut off anywhere, or with any call
/// failing. `finished` says that the move returned without an error.
struct Move {
    name: &'static str,
    start: SimFs,
    run: fn(&SimFs) -> durable::Result<()>,
    holds: fn(&SimFs, bool),
    /// Disks that a crash may leave, as both orders of the journal see them.
    images: usize,
}

fn old_or_new(fs: &SimFs, finished: bool) {
    let found = bytes(fs, "/d/file").expect("the file is gone");
    assert!(found == long(1) || found == long(2), "torn");
    assert!(!finished || found == long(2), "the new content is lost");
}

fn old_or_new_target(fs: &SimFs, finished: bool) {
    let target = fs.read_link(Path::new("/link")).unwrap();
    assert!(target == Path::new("old") || target == Path::new("new"));
    assert!(
        !finished || target == Path::new("new"),
        "the switch is lost"
    );
}

fn with_link() -> SimFs {
    let fs = disk(&[("/old", b"old\n"), ("/new", b"new\n")]);
    durable::publish_symlink(&fs, Path::new("old"), Path::new("/link")).unwrap();
    fs
}

fn with_dirs() -> SimFs {
    let fs = SimFs::new();
    durable::create_dir_all(&fs, Path::new("/d"), 0o755).unwrap();
    durable::create_dir_all(&fs, Path::new("/e"), 0o755).unwrap();
    durable::publish_file(&fs, Path::new("/d/file"), &long(1), 0o644).unwrap();
    fs
}

/// Two trees, of which the second is to take the place of the first.
fn with_trees() -> SimFs {
    let fs = SimFs::new();
    for (dir, byte) in [("/d", 1), ("/new/d", 2)] {
        durable::create_dir_all(&fs, Path::new(dir), 0o755).unwrap();
        for name in ["file", "second"] {
            let path = Path::new(dir).join(name);
            durable::publish_file(&fs, &path, &long(byte), 0o644).unwrap();
        }
    }
    fs
}

fn publish_batch(fs: &SimFs) -> durable::Result<()> {
    let mut batch = Batch::new();
    for name in ["a", "b", "c"] {
        let tmp = format!("/tmp-{name}");
        let failed = |source| durable::Error {
            doing: "write",
            path: tmp.clone().into(),
            source,
        };
        // A run that failed may have left it.
        let _ = fs.remove_file(Path::new(&tmp));
        let file = fs.create(Path::new(&tmp), 0o644);
        let written = file.and_then(|mut f| f.write_all(&long(2)));
        written.map_err(failed)?;
        batch.add(tmp.into(), format!("/d/{name}").into());
    }
    batch.publish(fs, Path::new("/d"))
}

/// Two directories of finished files, of which one has its place free.
fn publish_dirs(fs: &SimFs) -> durable::Result<()> {
    let mut batch = Batch::new();
    for (dir, names) in [("free", ["a", "b"]), ("taken", ["a", "b"])] {
        let tmp = format!("/tmp-{dir}");
        let failed = |source| durable::Error {
            doing: "write",
            path: tmp.clone().into(),
            source,
        };
        let from = Path::new(&tmp);
        // A run that failed may have left it.
        durable::remove_tree(fs, from)?;
        fs.create_dir(from, 0o755).map_err(failed)?;
        for name in names {
            let file = fs.create(&from.join(name), 0o644);
            let written = file.and_then(|mut f| f.write_all(&long(2)));
            written.map_err(failed)?;
        }
        batch.add_dir(tmp.clone().into(), format!("/d/{dir}").into());
    }
    batch.publish(fs, Path::new("/d"))
}

fn with_one_taken() -> SimFs {
    let fs = with_dirs();
    durable::create_dir_all(&fs, Path::new("/d/taken"), 0o755).unwrap();
    durable::publish_file(&fs, Path::new("/d/taken/old"), &long(1), 0o644).unwrap();
    fs
}

fn moves() -> Vec<Move> {
    vec![
        Move {
            name: "publish_file over an old file",
            start: with_dirs(),
            run: |fs| durable::publish_file(fs, Path::new("/d/file"), &long(2), 0o600),
            holds: old_or_new,
            images: 26,
        },
        Move {
            name: "publish_symlink over an old one",
            start: with_link(),
            run: |fs| durable::publish_symlink(fs, Path::new("new"), Path::new("/link")),
            holds: old_or_new_target,
            images: 8,
        },
        Move {
            name: "switch_symlink over an old one",
            start: with_link(),
            run: |fs| durable::switch_symlink(fs, Path::new("new"), Path::new("/link")),
            holds: old_or_new_target,
            images: 12,
        },
        Move {
            name: "switch_file over an old file",
            start: with_dirs(),
            run: |fs| durable::switch_file(fs, Path::new("/d/file"), &long(2), 0o600),
            holds: old_or_new,
            images: 30,
        },
        Move {
            name: "overwrite_in_place of one sector",
            start: disk(&[("/sector", &[1; 512])]),
            run: |fs| durable::overwrite_in_place(fs, Path::new("/sector"), &[2; 512]),
            holds: |fs, finished| {
                let found = bytes(fs, "/sector").unwrap();
                assert!(found == [1; 512] || found == [2; 512], "torn");
                assert!(!finished || found == [2; 512]);
            },
            images: 6,
        },
        Move {
            name: "overwrite_in_place of three sectors",
            start: with_dirs(),
            run: |fs| durable::overwrite_in_place(fs, Path::new("/d/file"), &long(2)),
            holds: |fs, finished| {
                let found = bytes(fs, "/d/file").unwrap();
                assert_eq!(found.len(), 1300, "the length changed");
                for sector in found.chunks(512) {
                    assert!(sector.iter().all(|b| *b == sector[0]), "a torn sector");
                }
                assert!(!finished || found == long(2));
            },
            images: 18,
        },
        Move {
            name: "append_record to a new file",
            start: SimFs::new(),
            run: |fs| durable::append_record(fs, Path::new("/log"), &long(3)),
            holds: |fs, finished| {
                let found = bytes(fs, "/log").unwrap_or_default();
                assert!(found.len() <= 1300);
                assert!(!finished || found == long(3));
            },
            images: 24,
        },
        Move {
            name: "append_record to an old one",
            start: disk(&[("/log", b"first\n")]),
            run: |fs| durable::append_record(fs, Path::new("/log"), &long(3)),
            holds: |fs, finished| {
                let found = bytes(fs, "/log").unwrap();
                assert!(found.starts_with(b"first\n"), "an earlier record is lost");
                assert!(!finished || found[6..] == long(3));
            },
            images: 22,
        },
        Move {
            name: "rename_and_sync between directories",
            start: with_dirs(),
            run: |fs| durable::rename_and_sync(fs, Path::new("/d/file"), Path::new("/e/file")),
            holds: |fs, finished| {
                let old = bytes(fs, "/d/file");
                let new = bytes(fs, "/e/file");
                let whole = |found: &Option<Vec<u8>>| found.as_ref().is_none_or(|b| *b == long(1));
                assert!(whole(&old) && whole(&new), "torn");
                assert!(old.is_some() || new.is_some(), "under no name");
                assert!(!finished || (old.is_none() && new.is_some()));
            },
            images: 7,
        },
        Move {
            name: "exchange_and_sync of two trees",
            start: with_trees(),
            run: |fs| durable::exchange_and_sync(fs, Path::new("/new/d"), Path::new("/d")),
            holds: |fs, finished| {
                let found = bytes(fs, "/d/file").expect("there is none");
                assert!(found == long(1) || found == long(2), "torn");
                assert_eq!(bytes(fs, "/d/second").unwrap(), found, "two halves");
                assert!(!finished || found == long(2), "the exchange is lost");
            },
            images: 6,
        },
        Move {
            name: "a batch of three files",
            start: with_dirs(),
            run: publish_batch,
            holds: |fs, finished| {
                for name in ["a", "b", "c"] {
                    let found = bytes(fs, &format!("/d/{name}"));
                    let whole = found.as_ref().is_none_or(|b| *b == long(2));
                    assert!(whole, "{name} is torn");
                    assert!(!finished || found.is_some(), "{name} is lost");
                }
                assert_eq!(bytes(fs, "/d/file"), Some(long(1)));
            },
            images: 670,
        },
        Move {
            name: "a batch of two directories",
            start: with_one_taken(),
            run: publish_dirs,
            holds: |fs, finished| {
                for path in ["free/a", "free/b", "taken/a", "taken/b"] {
                    let found = bytes(fs, &format!("/d/{path}"));
                    let whole = found.as_ref().is_none_or(|b| *b == long(2));
                    assert!(whole, "{path} is torn");
                    assert!(!finished || found.is_some(), "{path} is lost");
                }
                assert_eq!(bytes(fs, "/d/taken/old"), Some(long(1)));
            },
            images: 1070,
        },
        Move {
            name: "create_dir_all of three",
            start: SimFs::new(),
            run: |fs| durable::create_dir_all(fs, Path::new("/a/b/c"), 0o750),
            holds: |fs, finished| {
                let made = fs.metadata(Path::new("/a/b/c"));
                assert!(!finished || made.unwrap().mode & 0o7777 == 0o750);
            },
            images: 10,
        },
    ]
}

#[test]
fn every_move_survives_a_crash_anywhere() {
    for m in moves() {
        let holds = |fs: &SimFs, when: &When| (m.holds)(fs, when.finished);
        let report = Crashes::from(&m.start).check(|fs| (m.run)(fs).unwrap(), holds);
        println!("{}: {report}", m.name);
        assert_eq!(report.images, m.images, "{}", m.name);
    }
}

/// Once the fault is gone, the same move works.
fn try_again(m: &Move, fs: &SimFs, result: &durable::Result<()>) {
    let moved = m.name.starts_with("rename") && bytes(fs, "/e/file").is_some();
    // Done again, it would be undone.
    let exchanged = m.name.starts_with("exchange") && bytes(fs, "/d/file") == Some(long(2));
    let may_be_done = moved || exchanged;
    if result.is_err() && !may_be_done {
        (m.run)(fs).unwrap();
        (m.holds)(fs, true);
    }
}

#[test]
fn every_move_survives_the_failure_of_any_call() {
    for m in moves() {
        for errno in [EIO, ENOSPC] {
            let failures = each_failure(&m.start, errno, m.run, |fs, result, call| {
                println!("{}: call {call} of {:?}", m.name, fs.calls());
                (m.holds)(fs, result.is_ok());
                try_again(&m, fs, &result);
            });
            assert!(failures >= 2, "{}: {failures}", m.name);
        }
    }
}

#[test]
fn every_move_survives_a_full_disk() {
    for m in moves() {
        for space in [0, 1, 511, 512, 700, 1299, 1301, 2000, 3000] {
            let fs = m.start.snapshot();
            fs.set_space(Some(space));
            let result = (m.run)(&fs);
            (m.holds)(&fs, result.is_ok());
            fs.heal();
            try_again(&m, &fs, &result);
        }
    }
}

#[test]
fn a_failed_move_leaves_no_litter() {
    for m in moves().iter().take(4) {
        let before = m.start.snapshot();
        each_failure(&m.start, ENOSPC, m.run, |fs, result, call| {
            let unsynced = result.is_ok() || !fs.same_tree(&before);
            let litter = ["/", "/d"]
                .iter()
                .filter(|d| fs.metadata(Path::new(d)).is_ok())
                .flat_map(|d| names(fs, d))
                .any(|name| durable::is_leftover(name.as_ref()));
            assert!(!litter, "{}: call {call}: {:?}", m.name, fs.calls());
            assert!(unsynced || fs.same_tree(&before));
        });
    }
}

#[test]
fn a_boot_loader_without_a_journal_sees_the_old_target_or_the_new() {
    // The content is new, and only the switch makes it certain.
    let switch = |fs: &SimFs| {
        durable::publish_file(fs, Path::new("/newer"), b"newer\n", 0o644)?;
        durable::switch_symlink(fs, Path::new("newer"), Path::new("/link"))
    };
    let report = Crashes::from(&with_link()).view(View::BootLoader).check(
        |fs| switch(fs).unwrap(),
        |fs, when| {
            let found = bytes(fs, "/link").expect("the link leads nowhere");
            assert!(found == b"old\n" || found == b"newer\n", "{found:?}");
            assert!(!when.finished || found == b"newer\n");
        },
    );
    assert!(report.images > 20, "{report}");
}

#[test]
fn a_plain_symlink_switch_is_not_enough_for_a_boot_loader() {
    let switches: [fn(&SimFs) -> durable::Result<()>; 2] = [
        |fs| durable::publish_symlink(fs, Path::new("new"), Path::new("/link")),
        |fs| {
            durable::publish_symlink(fs, Path::new("new"), Path::new("/link"))?;
            fs.checkpoint(Path::new("/")).unwrap();
            Ok(())
        },
    ];
    for switch in switches {
        let crashes = Crashes::from(&with_link()).view(View::BootLoader);
        let failure = crashes.find(
            |fs| switch(fs).unwrap(),
            |fs, _| {
                let found = bytes(fs, "/link").unwrap_or_default();
                assert!(found == b"old\n" || found == b"new\n", "{found:?}");
            },
        );
        assert!(failure.is_err(), "the old inode is freed too early");
    }
}

/// A symlink that becomes a file, in the eyes of GRUB.
#[test]
fn a_boot_loader_without_a_journal_sees_the_old_file_or_the_new() {
    let switch = |fs: &SimFs| durable::switch_file(fs, Path::new("/link"), b"file\n", 0o644);
    let report = Crashes::from(&with_link()).view(View::BootLoader).check(
        |fs| switch(fs).unwrap(),
        |fs, when| {
            let found = bytes(fs, "/link").expect("there is nothing");
            assert!(found == b"old\n" || found == b"file\n", "{found:?}");
            assert!(!when.finished || found == b"file\n");
        },
    );
    assert!(report.images > 10, "{report}");
}

/// On FAT a rename is two writes, so that replacing a file may leave none.
#[test]
fn nothing_but_a_sector_in_place_replaces_a_file_on_fat() {
    let start = disk(&[("/conf", &[1; 512])]);
    let crashes = Crashes::from(&start).view(View::Fat);
    let whole = |fs: &SimFs| {
        let found = bytes(fs, "/conf").unwrap_or_default();
        assert!(found == [1; 512] || found == [2; 512], "torn, or gone");
    };
    let replaced = crashes.clone().find(
        |fs| durable::publish_file(fs, Path::new("/conf"), &[2; 512], 0o644).unwrap(),
        |fs, _| whole(fs),
    );
    assert!(replaced.is_err(), "a rename passed for safe");
    crashes.check(
        |fs| durable::overwrite_in_place(fs, Path::new("/conf"), &[2; 512]).unwrap(),
        |fs, when| {
            whole(fs);
            assert!(!when.finished || bytes(fs, "/conf").unwrap() == [2; 512]);
        },
    );
}

#[test]
fn a_switch_cut_short_can_be_done_again() {
    let switch = |fs: &SimFs| durable::switch_symlink(fs, Path::new("new"), Path::new("/link"));
    let crashes = Crashes::from(&with_link()).per_point(60);
    crashes.check(
        |fs| switch(fs).unwrap(),
        |fs, _| {
            switch(fs).unwrap();
            old_or_new_target(fs, true);
            let left = names(fs, "/");
            assert!(!left.contains(&".link.old".to_owned()), "{left:?}");
        },
    );
}

/// After a crash, process numbers come again: whatever names are taken, the
/// next write finds a free one.
#[test]
fn leftovers_do_not_stand_in_the_way() {
    let fs = SimFs::new();
    let publish = |fs: &SimFs| durable::publish_file(fs, Path::new("/file"), b"x", 0o644);
    fs.fail_from(2, EIO);
    publish(&fs).unwrap_err();
    fs.heal();
    let left = names(&fs, "/");
    assert!(durable::is_leftover(left[0].as_ref()), "{left:?}");
    let number = |name: &str| -> u32 {
        let name = name.trim_end_matches(".tmp");
        name.rsplit('-').next().unwrap().parse().unwrap()
    };
    // The names that the next writes would take.
    let prefix = left[0].rsplit_once('-').unwrap().0.to_owned();
    for n in 0..100 {
        let taken = format!("/{prefix}-{}.tmp", number(&left[0]) + 1 + n);
        fs.create(Path::new(&taken), 0o644).unwrap();
    }
    publish(&fs).unwrap();
    assert_eq!(bytes(&fs, "/file"), Some(b"x".to_vec()));
}

#[test]
fn leftovers_are_told_from_other_files_and_removed() {
    let names_of = |names: &[&'static str]| -> Vec<(String, bool)> {
        let told = |n: &&str| (format!("/{n}"), durable::is_leftover(n.as_ref()));
        names.iter().map(told).collect()
    };
    let ours = [".file.12-0.tmp", ".a.b.7-31.tmp"];
    let others = [
        "file.12-0.tmp",
        ".file.tmp",
        ".x.1-a.tmp",
        ".x.-1.tmp",
        ".x.1-2",
        ".loader.old",
    ];
    assert!(names_of(&ours).iter().all(|(_, told)| *told));
    assert!(names_of(&others).iter().all(|(_, told)| !told));
    let fs = SimFs::new();
    for (path, _) in names_of(&ours).iter().chain(&names_of(&others)) {
        fs.create(Path::new(path), 0o644).unwrap();
    }
    let removed = durable::remove_leftovers(&fs, Path::new("/")).unwrap();
    assert_eq!((removed, names(&fs, "/").len()), (ours.len(), others.len()));
}

#[test]
fn remove_tree_goes_through_immutable_directories_and_can_be_resumed() {
    let fs = with_dirs();
    fs.set_immutable(Path::new("/d"), true).unwrap();
    Crashes::from(&fs).check(
        |fs| durable::remove_tree(fs, Path::new("/d")).unwrap(),
        |fs, _| {
            durable::remove_tree(fs, Path::new("/d")).unwrap();
            assert_eq!(names(fs, "/"), ["e"]);
        },
    );
}

#[test]
fn reading_is_bounded() {
    let fs = disk(&[("/file", &long(1)), ("/latin1", b"\xe9")]);
    let path = Path::new("/file");
    assert_eq!(durable::read_bounded(&fs, path, 1300).unwrap(), long(1));
    let e = durable::read_bounded(&fs, path, 1299).unwrap_err();
    assert_eq!(e.to_string(), "cannot read /file");
    assert_eq!(e.source.to_string(), "it is longer than 1299 bytes");
    assert!(durable::read_to_string(&fs, Path::new("/latin1")).is_err());
}
