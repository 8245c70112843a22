//! Emptying a filesystem's journal, for readers that replay none.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::ioctl;

use crate::watchdog::Watchdog;

/// `FIFREEZE` of `linux/fs.h`: `_IOWR('X', 119, int)`.
const FIFREEZE: ioctl::Opcode = ioctl::opcode::read_write::<i32>(b'X', 119);
/// `FITHAW` of `linux/fs.h`: `_IOWR('X', 120, int)`.
pub(crate) const FITHAW: ioctl::Opcode = ioctl::opcode::read_write::<i32>(b'X', 120);
/// `EXT4_IOC_CHECKPOINT` of `linux/ext4.h`: `_IOW('f', 43, __u32)`.
const EXT4_IOC_CHECKPOINT: ioctl::Opcode = ioctl::opcode::write::<u32>(b'f', 43);
/// `EXT4_SUPER_MAGIC` of `linux/magic.h`.
const EXT4_SUPER_MAGIC: i64 = 0xEF53;

/// Writes everything that is in the journal of the ext4 filesystem that `fd` is on
/// to its place, without stopping other writers. Needs root and Linux 5.15.
///
/// # Errors
/// The kernel's answer: `ENOTTY` on another filesystem or an older kernel,
/// `ENODEV` without a journal, `EPERM` without the right.
#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
pub fn checkpoint_ext4(fd: impl AsFd) -> io::Result<()> {
    // Other filesystems may use the same number for something else.
    #[expect(clippy::useless_conversion, reason = "f_type is no i64 on 32-bit")]
    if i64::from(rustix::fs::fstatfs(&fd)?.f_type) != EXT4_SUPER_MAGIC {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    // SAFETY: the call reads one u32 of flags, of which none is set.
    unsafe { ioctl::ioctl(fd, ioctl::Setter::<EXT4_IOC_CHECKPOINT, u32>::new(0)) }?;
    Ok(())
}

/// Freezes the filesystem that `fd` is on, which empties its journal, and thaws it
/// at once. Needs root.
///
/// A filesystem that stays frozen stops the host, so a child process, in a session
/// of its own, thaws it when this process dies in between or takes longer than
/// `limit`. If both are killed in the same instant, a reboot thaws it.
///
/// # Errors
/// The kernel's answer: `EOPNOTSUPP` where the filesystem cannot be frozen,
/// `EBUSY` when somebody else froze it, `EPERM` without the right; or why the
/// child could not be started, and nothing was frozen.
pub fn freeze_and_thaw(fd: impl AsFd, limit: Duration) -> io::Result<()> {
    let watchdog = Watchdog::start(fd.as_fd().as_raw_fd(), limit)?;
    let result = freeze(&fd).and_then(|()| match thaw(&fd) {
        // The watchdog was quicker.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    });
    watchdog.stop();
    result
}

/// What [`freeze_and_thaw`] does should this process die in between, tried out:
/// everything but the freezing. Answers whether the child has thawed.
///
/// # Errors
/// Why the child could not be started.
pub fn rehearse_thaw(fd: impl AsFd, limit: Duration) -> io::Result<bool> {
    let watchdog = Watchdog::start(fd.as_fd().as_raw_fd(), limit)?;
    Ok(watchdog.abandon())
}

#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
fn freeze(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: FIFREEZE ignores its argument and touches no memory of ours.
    unsafe { ioctl::ioctl(fd, ioctl::NoArg::<FIFREEZE>::new()) }?;
    Ok(())
}

#[expect(unsafe_code, reason = "ioctl with no typed wrapper in rustix")]
fn thaw(fd: impl AsFd) -> io::Result<()> {
    // SAFETY: FITHAW ignores its argument and touches no memory of ours.
    unsafe { ioctl::ioctl(fd, ioctl::NoArg::<FITHAW>::new()) }?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests prepare disks")]
mod tests {
    use std::fs::File;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::sync::mpsc;

    use super::*;

    /// Names the directory that [`dies_frozen`] freezes.
    const FROZEN: &str = "BACKSTOP_TEST_FROZEN";

    /// An ext4 filesystem in a file, mounted.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new() -> Option<Self> {
            let dir = std::env::temp_dir().join(format!("backstop-sys-{}", std::process::id()));
            let mounted = Self(dir);
            let (image, point) = (mounted.image(), mounted.point());
            std::fs::create_dir_all(&point).unwrap();
            File::create(&image).unwrap().set_len(16 << 20).unwrap();
            let mounts = rustix::process::geteuid().is_root()
                && ran(Command::new("mkfs.ext4").arg("-q").arg(&image))
                && ran(Command::new("mount")
                    .args(["-o", "loop"])
                    .arg(&image)
                    .arg(&point));
            let needs: &[&str] = match mounts {
                true => &[],
                false => &["root", "mkfs.ext4", "loop devices"],
            };
            testing::nothing_lacks(needs).then_some(mounted)
        }
        fn image(&self) -> PathBuf {
            self.0.join("image")
        }
        fn point(&self) -> PathBuf {
            self.0.join("point")
        }
        fn open(&self) -> File {
            File::open(self.point()).unwrap()
        }
        /// What GRUB reads at `/link`, from the disk alone.
        fn grub_reads(&self) -> Option<String> {
            let image = self.image();
            let mut grub = Command::new("grub-fstest");
            let out = grub.arg(image).args(["cat", "/link"]).output();
            Some(String::from_utf8(out.ok()?.stdout).unwrap())
        }
        fn switch(&self, target: &str) {
            let link = self.point().join("link");
            let _ = std::fs::remove_file(&link);
            std::os::unix::fs::symlink(target, &link).unwrap();
            self.open().sync_all().unwrap();
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            ran(Command::new("umount").arg(self.point()));
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn ran(command: &mut Command) -> bool {
        let output = command.output();
        output.is_ok_and(|o| o.status.success())
    }

    /// Whether a file can be written within a few seconds; thaws if not.
    fn can_write(dir: &Path) -> bool {
        let (done, written) = mpsc::channel();
        let file = dir.join("probe");
        std::thread::spawn(move || done.send(std::fs::write(file, b"x").is_ok()));
        let answer = written.recv_timeout(Duration::from_secs(20));
        if answer.is_err() {
            thaw(File::open(dir).unwrap()).unwrap();
        }
        answer == Ok(true)
    }

    /// Not a test of its own: a process that dies between freeze and thaw.
    #[test]
    fn dies_frozen() {
        let Some(dir) = std::env::var_os(FROZEN) else {
            return;
        };
        let dir = File::open(dir).unwrap();
        let _watchdog = Watchdog::start(dir.as_raw_fd(), Duration::from_secs(60)).unwrap();
        freeze(&dir).unwrap();
        let me = rustix::process::getpid();
        rustix::process::kill_process(me, rustix::process::Signal::KILL).unwrap();
    }

    #[test]
    fn a_reader_without_a_journal_sees_what_was_done() {
        let Some(mounted) = Mounted::new() else {
            return;
        };
        for name in ["one", "two", "three"] {
            std::fs::write(mounted.point().join(name), name).unwrap();
        }
        rustix::fs::syncfs(mounted.open()).unwrap();
        let expect = |content: &str| match mounted.grub_reads() {
            Some(read) => assert_eq!(read, content),
            None => {
                let _ = testing::nothing_lacks(&["grub-fstest"]);
            }
        };
        mounted.switch("one");
        checkpoint_ext4(mounted.open()).unwrap();
        expect("one");
        mounted.switch("two");
        // An fsync reaches the journal only.
        expect("one");
        freeze_and_thaw(mounted.open(), Duration::from_secs(10)).unwrap();
        expect("two");
        mounted.switch("three");
        checkpoint_ext4(mounted.open()).unwrap();
        expect("three");
        assert!(can_write(&mounted.point()), "it is still frozen");

        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "journal::tests::dies_frozen"])
            .env(FROZEN, mounted.point())
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "the child was to be killed");
        let thawed = can_write(&mounted.point());
        assert!(thawed, "a killed process left it frozen");
    }
}
