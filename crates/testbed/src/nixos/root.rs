//! The root directory of a host: what is its own, and the programs it shares
//! with the machine that runs the test.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Doing;
use crate::{Result, program};

/// Directories of its own.
const DIRS: [&str; 20] = [
    "boot/loader/entries",
    "dev",
    "etc/nix",
    "etc/ssh/authorized_keys.d",
    "etc/systemd",
    "etc/testbed",
    "firmware/efi/efivars",
    "home",
    "mnt",
    "nix/var/nix/gcroots",
    "opt/bin",
    "proc",
    "root/.ssh",
    "run",
    "sys",
    "tmp",
    "usr",
    "var/lib",
    "var/log/journal",
    "var/tmp",
];
/// Where `/usr` has what used to be here.
const MERGED: [&str; 5] = ["bin", "sbin", "lib", "lib32", "lib64"];
/// Small files that programs look for.
const FILES: [(&str, &str); 9] = [
    ("etc/NIXOS", ""),
    (
        "etc/os-release",
        "ID=nixos\nNAME=NixOS\nVERSION_ID=\"26.05\"\nPRETTY_NAME=\"NixOS, imitated\"\n",
    ),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nsshd:x:101:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    ),
    (
        "etc/group",
        "root:x:0:\ntty:x:5:\nadm:x:4:\nutmp:x:43:\nsystemd-journal:x:102:\nnogroup:x:65534:\n",
    ),
    (
        "etc/shadow",
        "root:*:19000::::::\nsshd:*:19000::::::\nnobody:*:19000::::::\n",
    ),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    ),
    (
        "etc/nix/nix.conf",
        "sandbox = false\nbuild-users-group =\nsubstituters =\nexperimental-features = nix-command flakes\n",
    ),
    (
        "etc/systemd/system.conf",
        "[Manager]\nDefaultEnvironment=PATH=/run/current-system/sw/bin:/usr/sbin:/usr/bin\n",
    ),
    ("etc/hosts", "127.0.0.1 localhost\n"),
];
/// Enters a root without booting it, with its own mounts and processes.
const ENTER: &str =
    "mount --bind /usr \"$0/usr\"; mount --rbind /dev \"$0/dev\"; mount -t proc proc \"$0/proc\"
exec chroot \"$0\" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin /bin/sh -ec \"$1\"";

/// The same for a root that has programs of its own.
const ENTER_OWN: &str = "mount --rbind /dev \"$0/dev\"; mount -t proc proc \"$0/proc\"
exec chroot \"$0\" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -ec \"$1\"";

/// A root directory.
#[derive(Debug, Clone)]
pub(super) struct Root(PathBuf);

impl Root {
    /// Makes a new one.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        for path in DIRS {
            let path = dir.join(path);
            fs::create_dir_all(&path).doing("create", &path)?;
        }
        for name in MERGED {
            if Path::new("/usr").join(name).exists() {
                let link = dir.join(name);
                symlink(Path::new("usr").join(name), &link).doing("create", &link)?;
            }
        }
        let root = Self(dir.to_owned());
        for (path, text) in FILES {
            root.put(path, text)?;
        }
        for name in ["current-system", "booted-system"] {
            let link = dir.join("nix/var/nix/gcroots").join(name);
            symlink(Path::new("/run").join(name), &link).doing("create", &link)?;
        }
        for name in ["tmp", "var/tmp"] {
            let path = dir.join(name);
            let open = fs::Permissions::from_mode(0o1777);
            fs::set_permissions(&path, open).doing("set the mode of", &path)?;
        }
        Ok(root)
    }

    /// A copy of a Debian root with Nix, made to look like NixOS.
    pub(super) fn of_debian(debian: &Path, dir: &Path) -> Result<Self> {
        program::run(Command::new("cp").arg("-a").args([debian, dir]))?;
        let root = Self(dir.to_owned());
        // A link elsewhere in Debian.
        let release = dir.join("etc/os-release");
        fs::remove_file(&release).doing("remove", &release)?;
        for (path, text) in FILES {
            let accounts = ["etc/passwd", "etc/group", "etc/shadow", "etc/nsswitch.conf"];
            if accounts.contains(&path) {
                continue;
            }
            let file = dir.join(path);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).doing("create", parent)?;
            }
            root.put(path, text)?;
        }
        Ok(root)
    }

    /// A copy that shares the files of the store, which nobody changes.
    pub(super) fn copy(&self, to: &Path) -> Result<Self> {
        let script = "mkdir -p -- \"$1/nix\"; cd \"$0\"
for name in *; do [ \"$name\" = nix ] || cp -a -- \"$name\" \"$1/\"; done
cp -a nix/var \"$1/nix/\"; cp -al nix/store \"$1/nix/\"";
        let mut command = Command::new("/bin/sh");
        program::run(command.args(["-ec", script]).args([&self.0, to]))?;
        Ok(Self(to.to_owned()))
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file.
    pub(super) fn put(&self, path: &str, text: &str) -> Result<()> {
        let path = self.0.join(path);
        fs::write(&path, text).doing("write", &path)
    }

    /// Runs a script inside while the host is off, and gives what it printed.
    pub(super) fn run(&self, script: &str) -> Result<String> {
        self.enter(ENTER, script)
    }

    /// The same in a root that has programs of its own.
    pub(super) fn run_own(&self, script: &str) -> Result<String> {
        self.enter(ENTER_OWN, script)
    }

    fn enter(&self, enter: &str, script: &str) -> Result<String> {
        program::run(
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "--"])
                .args(["/bin/sh", "-ec", enter])
                .arg(&self.0)
                .arg(script),
        )
    }
}
