//! The trees of the demonstration's versions, taken from this machine's `/usr`.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use durable::{Doing, FileKind, Fs};
use monitor::{Monitor, Progress, Unit};

use crate::shop;

/// What is taken from the machine, in this order, until [`TREE_LIMIT`] is reached.
pub const TAKEN: &[&str] = &[
    "/usr/lib/os-release",
    "/usr/bin",
    "/usr/share/common-licenses",
];
/// The most that is taken, in bytes.
pub const TREE_LIMIT: u64 = 32 << 20;
/// A single file larger than this is left out, so that the tree has many files.
const FILE_LIMIT: u64 = 4 << 20;
/// What the host boots by, in a tree: run with `ROOT` and `PORT` set.
pub const INIT: &str = "usr/lib/shop/init";

/// How a version behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Boots, and its service answers as it should.
    Healthy,
    /// Boots, and its service answers 500.
    AnswersWrongly,
    /// Waits for ever during boot.
    NeverBoots,
}

/// What is in a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies the bounded, named part of this machine's `/usr` to `dest`, which must
/// not exist, and adds what a tree needs to be deployed. Files that this user
/// may not read are left out.
///
/// # Errors
/// The disk is full or `dest` can't be written.
pub fn take(fs: &dyn Fs, dest: &Path, monitor: &dyn Monitor) -> durable::Result<Taken> {
    let mut taken = Taken::default();
    for source in TAKEN {
        copy(
            fs,
            Path::new(source),
            &inside(dest, source),
            &mut taken,
            monitor,
        )?;
    }
    // The boot is played by a directory, so these stand for themselves: their
    // bytes are hashed, copied and named in boot entries, but never executed.
    put(
        fs,
        dest,
        "usr/lib/modules/6.1-demo/vmlinuz",
        "demonstration kernel\n",
    )?;
    put(
        fs,
        dest,
        "usr/lib/modules/6.1-demo/initramfs.img",
        "demonstration initramfs\n",
    )?;
    put(fs, dest, "usr/etc/hostname", "shop\n")?;
    put(fs, dest, "usr/etc/shop/greeting", "Welcome.\n")?;
    Ok(taken)
}

fn inside(dest: &Path, absolute: &str) -> PathBuf {
    dest.join(absolute.trim_start_matches('/'))
}

fn copy(
    fs: &dyn Fs,
    from: &Path,
    to: &Path,
    taken: &mut Taken,
    monitor: &dyn Monitor,
) -> durable::Result<()> {
    // What has gone or can't be looked at is not part of the named part.
    let Ok(metadata) = fs.metadata(from) else {
        return Ok(());
    };
    match metadata.kind {
        FileKind::Dir => {
            durable::create_dir_all(fs, to, 0o755)?;
            for entry in fs.read_dir(from).doing("list", from)? {
                copy(
                    fs,
                    &from.join(&entry.name),
                    &to.join(&entry.name),
                    taken,
                    monitor,
                )?;
            }
            Ok(())
        }
        FileKind::Symlink => {
            let target = fs.read_link(from).doing("read the link", from)?;
            if let Some(dir) = to.parent() {
                durable::create_dir_all(fs, dir, 0o755)?;
            }
            fs.symlink(&target, to).doing("create the symlink", to)
        }
        FileKind::File => copy_file(fs, from, to, metadata, taken, monitor),
        FileKind::Other => Ok(()),
    }
}

fn copy_file(
    fs: &dyn Fs,
    from: &Path,
    to: &Path,
    metadata: durable::Metadata,
    taken: &mut Taken,
    monitor: &dyn Monitor,
) -> durable::Result<()> {
    if metadata.size > FILE_LIMIT || taken.bytes + metadata.size > TREE_LIMIT {
        return Ok(());
    }
    let mut reader = match fs.open(from) {
        Ok(reader) => reader,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(e) => return Err(e).doing("open", from),
    };
    if let Some(dir) = to.parent() {
        durable::create_dir_all(fs, dir, 0o755)?;
    }
    let mut file = fs.create(to, metadata.mode & 0o755).doing("create", to)?;
    io::copy(&mut reader, &mut file).doing("copy", from)?;
    taken.files += 1;
    taken.bytes += metadata.size;
    monitor.progress(Progress {
        step: "taking /usr",
        done: taken.bytes,
        total: None,
        unit: Unit::Bytes,
    });
    Ok(())
}

/// Writes one file of the tree; it need not be durable, since a commit is.
fn put(fs: &dyn Fs, tree: &Path, name: &str, text: &str) -> durable::Result<()> {
    put_mode(fs, tree, name, text, 0o644)
}

fn put_mode(fs: &dyn Fs, tree: &Path, name: &str, text: &str, mode: u32) -> durable::Result<()> {
    let path = tree.join(name);
    if let Some(dir) = path.parent() {
        durable::create_dir_all(fs, dir, 0o755)?;
    }
    durable::publish_file(fs, &path, text.as_bytes(), mode)
}

/// Makes the tree version `number`, which behaves so and whose service listens
/// on `port`.
///
/// # Errors
/// The disk is full or the tree can't be written.
pub fn set_version(
    fs: &dyn Fs,
    tree: &Path,
    number: u32,
    behaviour: Behaviour,
    port: u16,
) -> durable::Result<()> {
    put(fs, tree, "usr/share/shop/version", &format!("{number}\n"))?;
    put(fs, tree, shop::PAGE, &page(number, behaviour))?;
    put(
        fs,
        tree,
        "usr/lib/backstop/checks.d/shop.toml",
        &check(port),
    )?;
    put_mode(fs, tree, INIT, &init(behaviour), 0o755)
}

fn page(number: u32, behaviour: Behaviour) -> String {
    match behaviour {
        Behaviour::AnswersWrongly => "500 Internal Server Error\nno database driver\n".to_owned(),
        _ => format!("200 OK\nshop, version {number}\n"),
    }
}

fn check(port: u16) -> String {
    format!(
        r#"description = "the shop answers"
stage = ["live", "boot"]
timeout = "1s"
retries = 3
interval = "200ms"

[http]
url = "http://127.0.0.1:{port}/"
status = 200
contains = "shop, version"
"#
    )
}

/// The script that the directory host runs as its first process. It starts the
/// service from the deployment's own binary and ends when the host is up.
fn init(behaviour: Behaviour) -> String {
    let mut script = String::from("#!/usr/bin/sh\nset -eu\necho \"init: $ROOT\"\n");
    if behaviour == Behaviour::NeverBoots {
        script.push_str("echo 'init: waiting for a disk that is not there'\n");
        script.push_str("while :; do sleep 1; done\n");
    }
    let _ = writeln!(
        script,
        "\"$ROOT/usr/bin/backstop\" demo serve --root \"$ROOT\" --port \"$PORT\" &"
    );
    script.push_str("echo 'init: the shop is started'\n");
    script
}
