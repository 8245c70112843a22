//! The enumerator finds what is unsafe, and passes what is safe.

use std::io::Write;
use std::path::Path;

use durable::sim::{Crashes, Failure, SimFs, View, When};
use durable::{Fs, NewFile};

use crate::{bytes, disk, names};

const OLD: &[u8] = b"the old content";
const NEW: &[u8] = b"the new content, which is longer";

fn start() -> SimFs {
    disk(&[("/file", OLD)])
}

fn old_or_new(fs: &SimFs, when: &When) {
    let found = bytes(fs, "/file").expect("the file is gone");
    assert!(found == OLD || found == NEW, "torn: {found:?}");
    assert!(!when.finished || found == NEW, "the new content is lost");
}

fn written(fs: &SimFs, path: &str) -> Box<dyn NewFile> {
    let mut file = fs.create(Path::new(path), 0o644).unwrap();
    file.write_all(NEW).unwrap();
    file
}

fn rename(fs: &SimFs) {
    fs.rename(Path::new("/tmp"), Path::new("/file")).unwrap();
}

/// Ways to replace a file that people use and that are not safe.
fn failure_of(operation: impl Fn(&SimFs)) -> Option<Box<Failure>> {
    Crashes::from(&start()).find(operation, old_or_new).err()
}

#[test]
fn a_rename_without_a_sync_of_the_content_is_caught() {
    let failure = failure_of(|fs| {
        written(fs, "/tmp");
        rename(fs);
        fs.sync_dir(Path::new("/")).unwrap();
    });
    let failure = failure.expect("an unsafe write passed");
    let text = failure.to_string();
    assert!(text.contains("rename /tmp -> /file"), "{text}");
    assert!(failure.message.contains("torn"), "{text}");
}

#[test]
fn a_rename_without_a_sync_of_the_directory_is_caught() {
    let failure = failure_of(|fs| {
        written(fs, "/tmp").sync().unwrap();
        rename(fs);
    });
    let failure = failure.expect("a write that is not durable passed");
    assert!(failure.when.finished);
    assert!(failure.message.contains("lost"), "{failure}");
}

#[test]
fn overwriting_a_longer_content_is_caught() {
    let failure = failure_of(|fs| {
        fs.truncate(Path::new("/file"), 0).unwrap();
        fs.append(Path::new("/file"), NEW).unwrap();
        fs.sync_file(Path::new("/file")).unwrap();
    });
    assert!(failure.is_some(), "truncate and write passed");
}

#[test]
fn removing_before_renaming_is_caught() {
    let failure = failure_of(|fs| {
        written(fs, "/tmp").sync().unwrap();
        fs.remove_file(Path::new("/file")).unwrap();
        rename(fs);
        fs.sync_dir(Path::new("/")).unwrap();
    });
    let failure = failure.expect("a moment without the file passed");
    assert!(failure.message.contains("gone"), "{failure}");
}

#[test]
fn a_sync_that_fails_does_not_count() {
    let failure = failure_of(|fs| {
        let mut file = written(fs, "/tmp");
        fs.fail_call(0, 5);
        file.sync().unwrap_err();
        // The second answers "fine", and the pages are gone all the same.
        file.sync().unwrap();
        rename(fs);
        fs.sync_dir(Path::new("/")).unwrap();
    });
    assert!(failure.is_some(), "a retried fsync passed");
}

#[test]
fn sync_write_sync_rename_sync_passes() {
    let report = Crashes::from(&start()).check(
        |fs| {
            written(fs, "/tmp").sync().unwrap();
            rename(fs);
            fs.sync_dir(Path::new("/")).unwrap();
        },
        old_or_new,
    );
    assert_eq!((report.calls, report.points, report.sampled), (5, 12, 0));
    assert!(report.images >= 10, "{report}");
}

#[test]
fn a_file_moved_between_directories_is_never_nowhere() {
    let fs = disk(&[]);
    fs.create_dir(Path::new("/a"), 0o755).unwrap();
    fs.create_dir(Path::new("/b"), 0o755).unwrap();
    written(&fs, "/a/f");
    let mut both = false;
    let both_seen = std::cell::RefCell::new(&mut both);
    Crashes::from(&fs).check(
        |fs| fs.rename(Path::new("/a/f"), Path::new("/b/f")),
        |fs, _| {
            let count = names(fs, "/a").len() + names(fs, "/b").len();
            assert!(count > 0, "the file is nowhere");
            **both_seen.borrow_mut() |= count == 2;
        },
    );
    assert!(both, "POSIX allows both names");
}

#[test]
fn names_are_kept_in_order_where_the_journal_orders_them() {
    let create_two = |fs: &SimFs| {
        fs.create(Path::new("/1"), 0o644).unwrap();
        fs.create(Path::new("/2"), 0o644).unwrap();
    };
    let in_order = |fs: &SimFs, _: &When| {
        let found = names(fs, "/");
        assert!(found != ["2"], "the second without the first");
    };
    let crashes = Crashes::from(&SimFs::new());
    let ordered = crashes.clone().view(View::Ordered);
    assert_eq!(ordered.check(create_two, in_order).images, 5);
    let relaxed = crashes.view(View::Relaxed);
    assert!(relaxed.find(create_two, in_order).is_err());
}

#[test]
fn marks_tell_how_far_the_operation_got() {
    Crashes::from(&SimFs::new()).check(
        |fs| {
            durable::publish_file(fs, Path::new("/file"), NEW, 0o644).unwrap();
            fs.mark("published");
            fs.remove_file(Path::new("/file")).unwrap();
            fs.mark("removed");
        },
        |fs, when| {
            if when.passed("published") && bytes(fs, "/file").is_none() {
                let last = when.kept.last().unwrap();
                assert!(last.contains("remove /file"), "{last}");
            }
            assert!(!when.passed("removed") || when.passed("published"));
        },
    );
}

#[test]
fn a_boot_loader_may_miss_what_was_only_synced() {
    let publish = |fs: &SimFs| {
        durable::publish_file(fs, Path::new("/file"), NEW, 0o644).unwrap();
        fs.sync_filesystem(Path::new("/")).unwrap();
    };
    let crashes = Crashes::from(&start()).view(View::BootLoader);
    let failure = crashes.find(publish, old_or_new).unwrap_err();
    // The old file's inode is freed before the directory's block is written.
    assert!(failure.message.contains("torn"), "{failure}");
}

#[test]
fn a_boot_loader_sees_a_synced_overwrite() {
    let (old, new) = ([1u8; 512], [2u8; 512]);
    let start = disk(&[("/sector", &old)]);
    let report = Crashes::from(&start).view(View::BootLoader).check(
        |fs| durable::overwrite_in_place(fs, Path::new("/sector"), &new).unwrap(),
        |fs, when| {
            let found = bytes(fs, "/sector").unwrap();
            assert!(found == old || found == new);
            assert!(!when.finished || found == new);
        },
    );
    assert_eq!(report.images, 3, "{report}");
}
