//! `/etc` of a staged version follows what is edited until it is activated.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use durable::{FileKind, Fs, RealFs};
use sysroot::{DeploymentId, Error, EtcConflict, EtcReport};

use crate::host::{Host, is_root, write};

/// Something that a person does to `/etc`.
struct Edit {
    name: &'static str,
    make: fn(&Path),
    /// The path that is told.
    path: &'static str,
    conflict: Option<EtcConflict>,
}

const EDITS: [Edit; 11] = [
    Edit {
        name: "change",
        make: |etc| fs::write(etc.join("file"), "mine").unwrap(),
        path: "file",
        conflict: None,
    },
    Edit {
        name: "add",
        make: |etc| fs::write(etc.join("added"), "mine").unwrap(),
        path: "added",
        conflict: None,
    },
    Edit {
        name: "delete",
        make: |etc| fs::remove_file(etc.join("file")).unwrap(),
        path: "file",
        conflict: None,
    },
    Edit {
        name: "mode of a file",
        make: |etc| chmod(&etc.join("file"), 0o600),
        path: "file",
        conflict: None,
    },
    Edit {
        name: "mode of a directory",
        make: |etc| chmod(&etc.join("dir"), 0o700),
        path: "dir",
        conflict: None,
    },
    Edit {
        name: "symlink in the place of a file",
        make: |etc| {
            fs::remove_file(etc.join("file")).unwrap();
            symlink("dir/x", etc.join("file")).unwrap();
        },
        path: "file",
        conflict: None,
    },
    Edit {
        name: "new directory",
        make: |etc| write(&etc.join("new/below/it"), "mine"),
        path: "new",
        conflict: None,
    },
    Edit {
        name: "deleted directory",
        make: |etc| fs::remove_dir_all(etc.join("dir")).unwrap(),
        path: "dir",
        conflict: None,
    },
    Edit {
        name: "changed, and in the new version too",
        make: |etc| fs::write(etc.join("renewed"), "mine").unwrap(),
        path: "renewed",
        conflict: Some(EtcConflict::BothChanged),
    },
    Edit {
        name: "deleted, changed in the new version",
        make: |etc| fs::remove_file(etc.join("renewed")).unwrap(),
        path: "renewed",
        conflict: Some(EtcConflict::DeletedHere),
    },
    Edit {
        name: "changed, deleted in the new version",
        make: |etc| fs::write(etc.join("dropped"), "mine").unwrap(),
        path: "dropped",
        conflict: Some(EtcConflict::DeletedInNew),
    },
];

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

impl Edit {
    fn report(&self) -> EtcReport {
        let path = PathBuf::from(self.path);
        let mut report = EtcReport::default();
        match self.conflict {
            Some(conflict) => report.conflicts.push((path, conflict)),
            None => report.carried.push(path),
        }
        report
    }
}

/// When it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    BeforeStaging,
    AfterStaging,
    AfterActivation,
    Never,
}

/// Path, kind, mode, owner, and content of all below a directory.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let m = RealFs.metadata(&path).unwrap();
        let content = match m.kind {
            FileKind::Dir => {
                let entries = RealFs.read_dir(&path).unwrap();
                todo.extend(entries.iter().map(|e| path.join(&e.name)));
                String::new()
            }
            FileKind::Symlink => format!("-> {}", fs::read_link(&path).unwrap().display()),
            _ => fs::read_to_string(&path).unwrap(),
        };
        let below = path.strip_prefix(root).unwrap().display();
        lines.push(format!(
            "{below} {:o} {}:{} {content}",
            m.mode, m.uid, m.gid
        ));
    }
    lines.sort();
    lines
}

/// Version 1 runs; 2 changes one default and drops another.
fn host() -> (Host, DeploymentId, ostree::Checksum) {
    let host = Host::new();
    let old = [
        ("usr/etc/file", "1"),
        ("usr/etc/dir/x", "1"),
        ("usr/etc/renewed", "1"),
        ("usr/etc/dropped", "1"),
    ];
    let good = host.stage(host.version("1", &old), None).deployment;
    host.publish(&[&good], None);
    let new = [
        ("usr/etc/file", "1"),
        ("usr/etc/dir/x", "1"),
        ("usr/etc/renewed", "2"),
        ("usr/etc/brought", "2"),
    ];
    let commit = host.version("2", &new);
    (host, good, commit)
}

/// Goes through an upgrade with an edit at a moment; answers with what the new
/// version's `/etc` is in the end.
fn upgrade(edit: &Edit, moment: Moment) -> Vec<String> {
    let (host, good, commit) = host();
    let etc = host.tree(&good).join("etc");
    let at = |now: Moment| {
        if now == moment {
            (edit.make)(&etc);
        }
    };
    let told = |now: Moment| match now == moment {
        true => edit.report(),
        false => EtcReport::default(),
    };
    let row = format!("{}, {moment:?}", edit.name);
    at(Moment::BeforeStaging);
    let staged = host.stage(commit, Some(&good));
    assert_eq!(staged.etc, told(Moment::BeforeStaging), "{row}");
    let new = staged.deployment;
    at(Moment::AfterStaging);
    let again = || host.sysroot.remerge_etc(&good, &new).unwrap();
    assert_eq!(again(), told(Moment::AfterStaging), "{row}");
    host.publish(&[&good], Some(&new));
    at(Moment::AfterActivation);
    assert_eq!(again(), told(Moment::AfterActivation), "{row}");
    assert_eq!(again(), EtcReport::default(), "{row}: told twice");
    assert_eq!(host.boot(), new);
    let staging = host.root().join("ostree/backstop/staging");
    assert!(fs::read_dir(staging).map_or(0, Iterator::count) == 0);
    listing(&host.tree(&new).join("etc"))
}

#[test]
fn an_edit_is_carried_whenever_it_is_made() {
    for edit in &EDITS {
        let unedited = upgrade(edit, Moment::Never);
        let expected = upgrade(edit, Moment::BeforeStaging);
        assert_ne!(expected, unedited, "{}", edit.name);
        for moment in [Moment::AfterStaging, Moment::AfterActivation] {
            assert_eq!(upgrade(edit, moment), expected, "{}, {moment:?}", edit.name);
        }
    }
}

#[test]
fn an_edit_that_is_taken_back_is_taken_back() {
    let (host, good, commit) = host();
    let etc = host.tree(&good).join("etc");
    write(&etc.join("added"), "mine");
    let new = host.stage(commit, Some(&good)).deployment;
    fs::remove_file(etc.join("added")).unwrap();
    let report = host.sysroot.remerge_etc(&good, &new).unwrap();
    assert_eq!(report.carried, [PathBuf::from("added")]);
    assert!(!host.tree(&new).join("etc/added").exists());
}

#[test]
fn where_nothing_was_edited_nothing_is_written() {
    let (host, good, commit) = host();
    // A conflict was told when it was staged.
    write(&host.tree(&good).join("etc/renewed"), "mine");
    let new = host.stage(commit, Some(&good)).deployment;
    let inode = || fs::metadata(host.tree(&new).join("etc")).unwrap().ino();
    let before = inode();
    let report = host.sysroot.remerge_etc(&good, &new).unwrap();
    assert_eq!((report, inode()), (EtcReport::default(), before));
}

/// Owners, set-user-ID bits, extended attributes; and the deployment stays closed.
#[test]
fn what_is_merged_again_is_as_staging_makes_it() {
    let (host, good, commit) = host();
    let edit = || {
        let file = host.tree(&good).join("etc/file");
        fs::write(&file, "mine").unwrap();
        if is_root() {
            std::os::unix::fs::chown(&file, Some(12), Some(34)).unwrap();
        }
        chmod(&file, 0o4750);
        let xattrs = vec![(b"user.mine".to_vec(), b"1".to_vec())];
        let attributes = durable::Attributes {
            xattrs,
            ..durable::Attributes::default()
        };
        // Not every filesystem has them.
        let _ = RealFs.set_attributes(&file, &attributes);
        // Two names of one file are two files in the new version.
        fs::hard_link(&file, file.with_file_name("second")).unwrap();
    };
    let first = host.stage(commit, Some(&good)).deployment;
    let closed = |id: &DeploymentId| fs::write(host.tree(id).join("x"), "").is_err();
    let was_closed = closed(&first);
    edit();
    host.sysroot.remerge_etc(&good, &first).unwrap();
    assert_eq!(closed(&first), was_closed);
    let second = host.stage(commit, Some(&good)).deployment;
    let etc = |id: &DeploymentId| host.tree(id).join("etc");
    assert_eq!(listing(&etc(&first)), listing(&etc(&second)));
    let file = |id: &DeploymentId| etc(id).join("file");
    let xattrs = |id: &DeploymentId| RealFs.xattrs(&file(id)).unwrap();
    assert_eq!(xattrs(&first), xattrs(&second));
    let m = fs::metadata(file(&first)).unwrap();
    assert_eq!((m.nlink(), m.mode() & 0o7777), (1, 0o4750));
    assert!(!is_root() || (m.uid(), m.gid()) == (12, 34));
}

#[test]
fn what_is_gone_cannot_be_merged() {
    let (host, good, commit) = host();
    let new = host.stage(commit, Some(&good)).deployment;
    let gone = DeploymentId {
        serial: 7,
        ..new.clone()
    };
    for (from, to) in [(&gone, &new), (&good, &gone)] {
        let answer = host.sysroot.remerge_etc(from, to);
        assert!(matches!(answer, Err(Error::NoDeployment(id)) if id == gone));
    }
}

/// Going back leaves the edits of the version that is left where they are, and names
/// them.
#[test]
fn what_going_back_leaves_behind_is_named() {
    let (host, good, commit) = host();
    write(&host.tree(&good).join("etc/file"), "mine");
    let new = host.stage(commit, Some(&good)).deployment;
    let named = || host.sysroot.etc_left_behind(&new, &good).unwrap();
    assert_eq!(named(), Vec::<PathBuf>::new());
    let etc = host.tree(&new).join("etc");
    write(&etc.join("file"), "later");
    write(&etc.join("new/below"), "later");
    write(&etc.join("brought"), "later");
    write(&etc.join(".updated"), "");
    fs::remove_file(etc.join("dir/x")).unwrap();
    let expected = ["brought", "dir/x", "file", "new"];
    assert_eq!(named(), expected.map(PathBuf::from));
    let kept = fs::read_to_string(host.tree(&good).join("etc/file")).unwrap();
    assert_eq!(kept, "mine");
}
