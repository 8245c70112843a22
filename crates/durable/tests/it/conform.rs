//! The simulated filesystem answers as the kernel's does.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use durable::sim::SimFs;
use durable::{Attributes, FileKind, Fs, LockMode, RealFs};
use proptest::prelude::*;
use proptest::sample::select;

/// A call, with paths below the test's directory.
#[derive(Debug, Clone)]
enum Op {
    Create(&'static str, Vec<u8>),
    CreateDir(&'static str),
    Symlink(&'static str, &'static str),
    Link(&'static str, &'static str),
    Mode(&'static str, u32),
    Xattr(&'static str, Vec<u8>),
    Mtime(&'static str, i64),
    Overwrite(&'static str, u64, Vec<u8>),
    Append(&'static str, Vec<u8>),
    Truncate(&'static str, u64),
    Rename(&'static str, &'static str),
    Exchange(&'static str, &'static str),
    Remove(&'static str),
    RemoveDir(&'static str),
    Read(&'static str),
    List(&'static str),
    ReadLink(&'static str),
    Sync(&'static str),
    SyncDir(&'static str),
    PublishFile(&'static str, Vec<u8>),
    PublishSymlink(&'static str, &'static str),
    SwitchSymlink(&'static str, &'static str),
    AppendRecord(&'static str, Vec<u8>),
    OverwriteInPlace(&'static str, Vec<u8>),
    RenameAndSync(&'static str, &'static str),
    CreateDirAll(&'static str),
    RemoveTree(&'static str),
    TryLock(&'static str),
}

/// Few names, so that calls meet.
const PATHS: [&str; 12] = [
    "a", "b", "d", "d/a", "d/e", "d/e/a", "d/e/f/g", "s", "s/a", "a/x", "d/../b", "d/..",
];

const TARGETS: [&str; 6] = ["a", "d", "d/e", "../d", "missing", "s"];

fn path() -> impl Strategy<Value = &'static str> {
    select(&PATHS[..])
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..6)
}

fn op() -> impl Strategy<Value = Op> {
    let target = || select(&TARGETS[..]);
    // Kernels disagree on what creating `d/..` answers.
    let new = || select(&PATHS[..PATHS.len() - 1]);
    prop_oneof![
        4 => (new(), bytes()).prop_map(|(p, b)| Op::Create(p, b)),
        4 => path().prop_map(Op::CreateDir),
        2 => (target(), path()).prop_map(|(t, p)| Op::Symlink(t, p)),
        2 => (path(), path()).prop_map(|(p, q)| Op::Link(p, q)),
        1 => (path(), select(&[0o700, 0o755, 0o711][..])).prop_map(|(p, m)| Op::Mode(p, m)),
        1 => (path(), bytes()).prop_map(|(p, b)| Op::Xattr(p, b)),
        1 => (path(), 1..9i64).prop_map(|(p, t)| Op::Mtime(p, t)),
        1 => (path(), 0..4u64, bytes()).prop_map(|(p, o, b)| Op::Overwrite(p, o, b)),
        2 => (path(), bytes()).prop_map(|(p, b)| Op::Append(p, b)),
        1 => (path(), 0..9u64).prop_map(|(p, l)| Op::Truncate(p, l)),
        6 => (path(), path()).prop_map(|(p, q)| Op::Rename(p, q)),
        3 => (path(), path()).prop_map(|(p, q)| Op::Exchange(p, q)),
        2 => path().prop_map(Op::Remove),
        2 => path().prop_map(Op::RemoveDir),
        1 => path().prop_map(Op::Read),
        1 => path().prop_map(Op::List),
        1 => path().prop_map(Op::ReadLink),
        1 => path().prop_map(Op::Sync),
        1 => path().prop_map(Op::SyncDir),
        2 => (path(), bytes()).prop_map(|(p, b)| Op::PublishFile(p, b)),
        1 => (target(), path()).prop_map(|(t, p)| Op::PublishSymlink(t, p)),
        1 => (target(), path()).prop_map(|(t, p)| Op::SwitchSymlink(t, p)),
        1 => (path(), bytes()).prop_map(|(p, b)| Op::AppendRecord(p, b)),
        1 => (path(), bytes()).prop_map(|(p, b)| Op::OverwriteInPlace(p, b)),
        1 => (path(), path()).prop_map(|(p, q)| Op::RenameAndSync(p, q)),
        2 => path().prop_map(Op::CreateDirAll),
        1 => path().prop_map(Op::RemoveTree),
        1 => path().prop_map(Op::TryLock),
    ]
}

/// The errno, or the kind of an error that the kernel did not make.
fn why(e: &std::io::Error) -> String {
    match e.raw_os_error() {
        Some(errno) => format!("errno {errno}"),
        None => format!("{:?}", e.kind()),
    }
}

fn moved(result: durable::Result<()>) -> Result<String, String> {
    result.map(|()| String::new()).map_err(|e| why(&e.source))
}

fn done(result: std::io::Result<()>) -> Result<String, String> {
    result.map(|()| String::new()).map_err(|e| why(&e))
}

fn set(fs: &dyn Fs, path: &Path, attributes: Attributes) -> Result<String, String> {
    done(fs.set_attributes(path, &attributes))
}

/// Makes one call; what it answers, or the errno.
fn run(fs: &dyn Fs, root: &Path, op: &Op) -> Result<String, String> {
    let at = |p: &&str| root.join(p);
    let none = Attributes::default;
    match op {
        Op::Create(p, bytes) => done(fs.create(&at(p), 0o644).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync()
        })),
        Op::CreateDir(p) => done(fs.create_dir(&at(p), 0o755)),
        Op::Symlink(t, p) => done(fs.symlink(Path::new(t), &at(p))),
        Op::Link(p, q) => done(fs.hard_link(&at(p), &at(q))),
        Op::Mode(p, mode) => {
            let mode = Some(*mode);
            set(fs, &at(p), Attributes { mode, ..none() })
        }
        Op::Xattr(p, value) => {
            let xattrs = vec![(b"user.backstop".to_vec(), value.clone())];
            set(fs, &at(p), Attributes { xattrs, ..none() })
        }
        Op::Mtime(p, mtime) => {
            let mtime = Some(*mtime);
            set(fs, &at(p), Attributes { mtime, ..none() })?;
            Ok(format!("{:?}", fs.metadata(&at(p)).map(|m| m.mtime).ok()))
        }
        Op::Overwrite(p, offset, bytes) => done(fs.overwrite(&at(p), *offset, bytes)),
        Op::Append(p, bytes) => done(fs.append(&at(p), bytes)),
        Op::Truncate(p, len) => done(fs.truncate(&at(p), *len)),
        Op::Rename(p, q) => done(fs.rename(&at(p), &at(q))),
        Op::Exchange(p, q) => done(fs.exchange(&at(p), &at(q))),
        Op::Remove(p) => done(fs.remove_file(&at(p))),
        Op::RemoveDir(p) => done(fs.remove_dir(&at(p))),
        Op::Read(p) => {
            let mut bytes = Vec::new();
            let read = fs.open(&at(p)).and_then(|mut f| f.read_to_end(&mut bytes));
            read.map(|_| format!("{bytes:?}")).map_err(|e| why(&e))
        }
        Op::List(p) => listed(fs, &at(p)),
        Op::ReadLink(p) => match fs.read_link(&at(p)) {
            Ok(target) => Ok(format!("{target:?}")),
            Err(e) => Err(why(&e)),
        },
        Op::Sync(p) => done(fs.sync_file(&at(p))),
        Op::SyncDir(p) => done(fs.sync_dir(&at(p))),
        Op::PublishFile(p, bytes) => moved(durable::publish_file(fs, &at(p), bytes, 0o640)),
        Op::PublishSymlink(t, p) => moved(durable::publish_symlink(fs, Path::new(t), &at(p))),
        Op::SwitchSymlink(t, p) => moved(durable::switch_symlink(fs, Path::new(t), &at(p))),
        Op::AppendRecord(p, bytes) => moved(durable::append_record(fs, &at(p), bytes)),
        Op::OverwriteInPlace(p, bytes) => moved(durable::overwrite_in_place(fs, &at(p), bytes)),
        Op::RenameAndSync(p, q) => moved(durable::rename_and_sync(fs, &at(p), &at(q))),
        Op::CreateDirAll(p) => moved(durable::create_dir_all(fs, &at(p), 0o750)),
        Op::RemoveTree(p) => moved(durable::remove_tree(fs, &at(p))),
        Op::TryLock(p) => match fs.try_lock(&at(p), LockMode::Exclusive) {
            Ok(Some(_held)) => {
                let second = fs.try_lock(&at(p), LockMode::Shared);
                Ok(format!("{:?}", second.map(|l| l.is_some()).ok()))
            }
            Ok(None) => Ok("held".to_owned()),
            Err(e) => Err(why(&e)),
        },
    }
}

fn listed(fs: &dyn Fs, dir: &Path) -> Result<String, String> {
    let entries = fs.read_dir(dir).map_err(|e| why(&e))?;
    Ok(format!("{entries:?}"))
}

/// Everything below a directory: path, kind, mode, number of names, content,
/// extended attributes.
fn tree(fs: &dyn Fs, root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(below) = todo.pop() {
        let path = root.join(&below);
        let m = fs.metadata(&path).unwrap();
        let content = match m.kind {
            FileKind::Dir => {
                let entries = fs.read_dir(&path).unwrap();
                todo.extend(entries.iter().map(|e| below.join(&e.name)));
                String::new()
            }
            FileKind::Symlink => format!("-> {:?} {}", fs.read_link(&path).unwrap(), m.size),
            _ => format!("{:?} {}", durable::read(fs, &path).unwrap(), m.size),
        };
        let own = |(name, _): &(Vec<u8>, _)| name.starts_with(b"user.");
        let mut xattrs = fs.xattrs(&path).unwrap();
        xattrs.retain(own);
        lines.push(format!(
            "{} {:?} {:o} {} {content} {xattrs:?}",
            below.display(),
            m.kind,
            m.mode,
            m.nlink
        ));
    }
    lines.sort();
    lines
}

/// Whether the filesystem that the test runs on has user attributes.
fn knows_xattrs(dir: &Path) -> bool {
    let xattrs = vec![(b"user.probe".to_vec(), Vec::new())];
    let probe = dir.with_file_name("probe");
    RealFs.create_dir(&probe, 0o755).unwrap();
    set(
        &RealFs,
        &probe,
        Attributes {
            xattrs,
            ..Attributes::default()
        },
    )
    .is_ok()
}

/// Makes the same calls on both and compares each answer and the trees.
fn compare(ops: &[Op]) -> Result<(), TestCaseError> {
    let dir = tempfile::tempdir().unwrap();
    let real_root = dir.path().join("root");
    let sim_root = Path::new("/root");
    let (real, sim) = (RealFs, SimFs::new());
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    real.create_dir(&real_root, 0o755).unwrap();
    sim.set_xattrs(knows_xattrs(&real_root));
    sim.create_dir(sim_root, 0o755).unwrap();
    for (n, op) in ops.iter().enumerate() {
        let expected = run(&real, &real_root, op);
        let found = run(&sim, sim_root, op);
        prop_assert_eq!(found, expected, "call {}: {:?} of {:?}", n, op, ops);
    }
    let expected = tree(&real, &real_root);
    prop_assert_eq!(tree(&sim, sim_root), expected, "tree after {:?}", ops);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_calls_have_the_same_answers(ops in proptest::collection::vec(op(), 1..40)) {
        compare(&ops)?;
    }
}

/// Calls whose answers are easily got wrong, one line each.
#[test]
fn delicate_calls_have_the_same_answers() {
    use Op::*;
    let file = |p| Create(p, b"abc".to_vec());
    let cases: Vec<Vec<Op>> = vec![
        vec![CreateDir("d"), CreateDir("d/e"), Rename("d", "d/e/a")],
        vec![CreateDir("d"), CreateDir("d/e"), Rename("d/e", "d")],
        vec![CreateDir("d"), file("d/a"), Rename("d/a", "d")],
        vec![file("a"), Link("a", "b"), Rename("a", "b"), List("")],
        vec![
            file("a"),
            CreateDir("d"),
            Rename("a", "d"),
            Rename("d", "a"),
        ],
        vec![
            CreateDir("d"),
            CreateDir("s"),
            file("s/a"),
            Rename("d", "s"),
        ],
        vec![
            CreateDir("d"),
            file("d/a"),
            file("b"),
            Exchange("d", "b"),
            Exchange("d", "d"),
            Exchange("a", "d"),
            Exchange("b", "a"),
            List("b"),
        ],
        vec![
            CreateDir("d"),
            CreateDir("d/e"),
            file("d/e/a"),
            Exchange("d", "d/e"),
            Exchange("d/e/a", "d"),
            Exchange("d/e/a", "d/e"),
            Exchange("d/..", "d"),
        ],
        vec![
            Symlink("missing", "s"),
            Create("s", vec![]),
            Append("s", vec![1]),
        ],
        vec![
            Symlink("a", "s"),
            file("a"),
            Overwrite("s", 0, vec![1]),
            Truncate("s", 0),
        ],
        vec![Symlink("s", "s"), Read("s"), List("s"), Remove("s")],
        vec![
            CreateDir("d"),
            Symlink("d", "s"),
            Create("s/a", vec![7]),
            List("d"),
        ],
        vec![
            CreateDir("d"),
            Append("d", vec![1]),
            Truncate("d", 0),
            Read("d"),
            Remove("d"),
        ],
        vec![file("a"), Create("a/x", vec![]), List("a"), RemoveDir("a")],
        vec![
            file("a"),
            Mode("a", 0o4755),
            Xattr("a", vec![1]),
            Xattr("s", vec![1]),
        ],
        vec![
            Symlink("a", "s"),
            Xattr("s", vec![1]),
            Mode("s", 0o600),
            Mtime("s", 5),
        ],
        vec![
            RemoveDir("d/.."),
            Rename("d/..", "a"),
            CreateDir("d"),
            RemoveDir("d/.."),
        ],
        vec![
            CreateDir("d"),
            Link("d", "b"),
            Symlink("a", "s"),
            Link("s", "b"),
            Remove("s"),
        ],
        vec![
            file("a"),
            Overwrite("a", 2, vec![1, 2]),
            Overwrite("a", 2, vec![9]),
            Read("a"),
        ],
    ];
    for ops in cases {
        compare(&ops).unwrap();
    }
}
