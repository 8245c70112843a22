//! What goes to the disk early, and whose error is not lost.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use durable::sim::SimFs;
use durable::{Fs, Writeback};

const MUCH: u64 = 64 << 20;

fn writeback() -> (Arc<SimFs>, Writeback) {
    let fs = Arc::new(SimFs::new());
    let door: Arc<dyn Fs> = Arc::clone(&fs) as _;
    (fs, Writeback::new(door, "/".into()))
}

fn syncs(fs: &SimFs) -> usize {
    fs.calls().iter().filter(|c| c.starts_with("sync")).count()
}

#[test]
fn little_waits_for_the_sync_that_counts() {
    let (fs, writeback) = writeback();
    for _ in 0..100 {
        writeback.wrote(1000).unwrap();
    }
    writeback.finish().unwrap();
    assert_eq!(syncs(&fs), 0);
}

#[test]
fn much_is_on_the_disk_before() {
    let (fs, writeback) = writeback();
    let written = fs.create(Path::new("/file"), 0o644);
    written.unwrap().write_all(b"content").unwrap();
    writeback.wrote(MUCH - 1).unwrap();
    writeback.wrote(1).unwrap();
    writeback.finish().unwrap();
    assert_eq!(syncs(&fs), 1);
    writeback.wrote(MUCH * 3).unwrap();
    writeback.finish().unwrap();
    assert_eq!(syncs(&fs), 2);
}

#[test]
fn an_error_of_the_disk_is_told_once_it_is_known() {
    let (fs, writeback) = writeback();
    fs.fail_call(0, 5);
    writeback.wrote(MUCH).unwrap();
    let error = writeback.finish().unwrap_err();
    assert_eq!(error.to_string(), "cannot sync the filesystem of /");
    // The sync after that finds nothing wrong: who did not ask is not told.
    assert!(fs.sync_filesystem(Path::new("/")).is_ok());
    writeback.finish().unwrap();
}

#[test]
fn an_error_of_the_disk_stops_who_goes_on_writing() {
    let (fs, writeback) = writeback();
    fs.fail_from(0, 5);
    let failed = (0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        writeback.wrote(MUCH).is_err()
    });
    assert!(failed);
}
