//! Bringing backstop along.
//!
//! The host needs nothing but a shell and the programs of POSIX's base that every
//! host has (`mkdir`, `head`, `ln`, `mv`, `sha256sum` of coreutils or busybox). A script
//! looks for the program under its digest; if it is not there, whole, it takes it
//! from its standard input, checks it and publishes it under its name; then it becomes
//! the program. One that another deployer has put there meanwhile is left in its
//! place: that deployer runs it.

use std::collections::BTreeMap;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Where a host notes which programs it has read: in memory.
pub(super) const NOTES: &str = "/run/backstop";
/// No program is longer.
const LONGEST: u64 = 1 << 30;

/// A backstop that hosts can be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bring {
    pub(super) path: PathBuf,
    pub(super) digest: String,
    pub(super) size: u64,
    pub(super) arch: &'static str,
}

/// The programs that can be brought along, each looked at only once.
#[derive(Debug, Default)]
pub struct Programs {
    known: Mutex<BTreeMap<PathBuf, Arc<Bring>>>,
}

impl Programs {
    /// The programs for a host that says which, or this program itself.
    ///
    /// # Errors
    /// One of them can't be read, or is none.
    pub(super) fn for_host(&self, said: &BTreeMap<String, PathBuf>) -> Result<Vec<Arc<Bring>>> {
        if !said.is_empty() {
            return said.values().map(|path| self.look(path)).collect();
        }
        if let Some(path) = std::env::var_os("BACKSTOP_FLEET_PROGRAM") {
            return Ok(vec![self.look(Path::new(&path))?]);
        }
        let own = Path::new("/proc/self/exe");
        let own = std::fs::canonicalize(own).map_err(Error::file("find", own))?;
        Ok(vec![self.look(&beside(&own))?])
    }

    fn look(&self, path: &Path) -> Result<Arc<Bring>> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(bring) = known.get(path) {
            return Ok(bring.clone());
        }
        let bring = Arc::new(read(path).map_err(Error::file("use the program", path))?);
        known.insert(path.to_owned(), bring.clone());
        Ok(bring)
    }
}

/// A static build that is installed beside the program, or the program itself.
fn beside(own: &Path) -> PathBuf {
    let fixed = own.with_file_name("backstop-static");
    if fixed.is_file() {
        fixed
    } else {
        own.to_owned()
    }
}

fn read(path: &Path) -> std::io::Result<Bring> {
    let mut file = std::fs::File::open(path)?;
    let mut head = [0; 20];
    file.read_exact(&mut head)?;
    let wrong = |why: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, why.to_owned());
    let arch = arch(&head).ok_or_else(|| wrong("it is no program for a Linux host"))?;
    file.rewind()?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        size += read as u64;
        if size > LONGEST {
            return Err(wrong("it is longer than 1 GiB"));
        }
        hasher.update(&buffer[..read]);
    }
    let digest = hasher.finalize();
    Ok(Bring {
        path: path.to_owned(),
        digest: digest.iter().map(|b| format!("{b:02x}")).collect(),
        size,
        arch,
    })
}

/// The processor of an ELF file, as `uname -m` calls it.
fn arch(head: &[u8; 20]) -> Option<&'static str> {
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    match u16::from_le_bytes([head[18], head[19]]) {
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64"),
        _ => None,
    }
}

/// The script that finds or takes the program and becomes it. Its lines to us
/// begin with `mark`, since a host may print what it likes at a login. A program
/// that was `seen` whole a moment ago is not read again; nor is one that was read in this
/// boot, by the host's note in `notes`, and that nobody has touched since.
pub(super) fn script(
    mark: &str,
    (dir, notes): (&Path, &Path),
    programs: &[Arc<Bring>],
    seen: bool,
) -> String {
    let whole = if seen { "" } else { r#" && whole"# };
    let mut cases = String::new();
    for program in programs {
        let Bring {
            arch, digest, size, ..
        } = &**program;
        cases.push_str(&format!("{arch}) h={digest}; n={size};; "));
    }
    let (dir, notes) = (dir.display(), notes.display());
    format!(
        r#"umask 022; a=$(uname -m); case $a in {cases}*) echo "{mark} arch $a"; exit 1;; esac
d={dir}/$h; b=$d/backstop; w={notes}/whole-$h
ok() {{ [ "$(sha256sum <"$1" 2>/dev/null)" = "$h  -" ]; }}
whole() {{ read -r boot </proc/sys/kernel/random/boot_id; s=$(stat -Lc "%d %i %s %y %z" "$b" 2>/dev/null)
if [ "$s" ]; then {{ read -r known <"$w"; }} 2>/dev/null; [ "$known" = "$boot $s" ] && return; fi
ok "$b" || return
if [ "$s" ]; then {{ mkdir -p {notes} && echo "$boot $s" >"$w"; }} 2>/dev/null; fi; return 0; }}
if ! {{ [ -x "$b" ]{whole}; }}; then
mkdir -p "$d" && t=$(mktemp "$d/.upload.XXXXXX") || {{ echo "{mark} cannot write to $d"; exit 1; }}
trap "rm -f $t" EXIT HUP INT TERM
echo "{mark} send $h"
head -c $n >"$t" || {{ echo "{mark} cannot write to $d"; exit 1; }}
ok "$t" || {{ echo "{mark} cannot take backstop: it arrived damaged, or the disk of $d is full"; exit 1; }}
chmod 755 "$t" && sync "$t" && {{ ln "$t" "$b" 2>/dev/null || ok "$b" || mv -f "$t" "$b"; }} && sync "$d" || {{ echo "{mark} cannot put backstop into $d"; exit 1; }}
rm -f "$t"; trap - EXIT HUP INT TERM
"$b" --version >/dev/null 2>&1 || {{ rm -f "$b"; echo "{mark} cannot run $b: is it linked statically, and may programs run there?"; exit 1; }}
fi
echo "{mark} run"
exec "$b" target"#
    )
}

/// The command line for the host's login shell, whatever shell that is: nothing
/// in it needs more quoting than single quotes. With options for sudo, who is not
/// root becomes root.
pub(super) fn command_line(script: &str, sudo: Option<&str>) -> String {
    match sudo {
        Some(options) => format!(
            "exec sh -c 'if [ \"$(id -u)\" = 0 ]; then exec sh -c \"$1\"; \
             else exec sudo {options} -- sh -c \"$1\"; fi' sh '{script}'"
        ),
        None => format!("exec sh -c '{script}'"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods)]
    use super::*;
    use std::process::Command;

    #[test]
    fn our_own_program_can_be_brought() {
        let programs = Programs::default();
        let own = std::env::current_exe().unwrap();
        let bring = programs.look(&own).unwrap();
        assert_eq!(bring.arch, std::env::consts::ARCH);
        assert_eq!(bring.digest.len(), 64);
        assert!(programs.look(Path::new("/etc/hostname")).is_err());
    }

    #[test]
    fn the_script_is_one_that_shells_understand() {
        let bring = Arc::new(Bring {
            path: "/x".into(),
            digest: "0".repeat(64),
            size: 3,
            arch: "x86_64",
        });
        let script = script(
            "MARK",
            (Path::new("/var/lib/backstop/bin"), Path::new(NOTES)),
            &[bring],
            false,
        );
        assert!(!script.contains('\''), "it is put between single quotes");
        let checked = Command::new("sh")
            .args(["-n", "-c", &script])
            .status()
            .unwrap();
        assert!(checked.success());
        let line = command_line(&script, Some("-S -p PROMPT"));
        let checked = Command::new("sh")
            .args(["-n", "-c", &line])
            .status()
            .unwrap();
        assert!(checked.success());
    }

    #[test]
    fn a_program_that_another_deployer_brought_meanwhile_stays() {
        use std::io::Write;
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let program = b"#!/bin/sh\nexit 0\n";
        let digest: String = Sha256::digest(program)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let bring = Arc::new(Bring {
            path: "/x".into(),
            digest: digest.clone(),
            size: program.len() as u64,
            arch: std::env::consts::ARCH,
        });
        let script = script("MARK", (dir.path(), dir.path()), &[bring], false);
        let start = || {
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            command.stdin(std::process::Stdio::piped());
            command.stdout(std::process::Stdio::piped());
            command.spawn().unwrap()
        };
        let finish = |mut child: std::process::Child| {
            child.stdin.take().unwrap().write_all(program).unwrap();
            let said = child.wait_with_output().unwrap().stdout;
            let said = String::from_utf8(said).unwrap();
            assert!(said.ends_with("MARK run\n"), "{said}");
        };
        let place = dir.path().join(&digest);
        let uploads = || std::fs::read_dir(&place).map_or(0, Iterator::count);
        let both = [start(), start()];
        while uploads() < 2 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let [one, other] = both;
        finish(one);
        let first = std::fs::metadata(place.join("backstop")).unwrap().ino();
        finish(other);
        assert_eq!(
            std::fs::metadata(place.join("backstop")).unwrap().ino(),
            first
        );
        assert_eq!(uploads(), 1, "nothing is left over");
    }

    #[test]
    fn root_needs_no_sudo() {
        let line = command_line("echo done", Some("-n --no-such-option"));
        let out = Command::new("sh").args(["-c", &line]).output().unwrap();
        assert_eq!(out.status.success(), rustix::process::geteuid().is_root());
    }

    #[test]
    fn a_program_that_is_damaged_is_noticed_by_a_session() {
        let dir = tempfile::tempdir().unwrap();
        let bring = Arc::new(Bring {
            path: "/x".into(),
            digest: "0".repeat(64),
            size: 3,
            arch: std::env::consts::ARCH,
        });
        let place = dir.path().join(&bring.digest);
        std::fs::create_dir(&place).unwrap();
        // Not what its digest says.
        let program = std::path::Path::new("/bin/echo");
        std::os::unix::fs::symlink(program, place.join("backstop")).unwrap();
        let notes = dir.path().join("notes");
        let run = |seen| {
            let script = script(
                "MARK",
                (dir.path(), &notes),
                std::slice::from_ref(&bring),
                seen,
            );
            let mut sh = Command::new("sh");
            sh.args(["-c", &script]).stdin(std::process::Stdio::null());
            String::from_utf8(sh.output().unwrap().stdout).unwrap()
        };
        let first = run(false);
        assert!(first.starts_with("MARK send 000"), "{first}");
        assert_eq!(run(true), "MARK run\ntarget\n", "it was seen just now");
    }

    #[test]
    fn a_program_is_read_once_a_boot_unless_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let text = "#!/bin/sh\necho \"$1\"\n";
        let digest = Sha256::digest(text);
        let bring = Arc::new(Bring {
            path: "/x".into(),
            digest: digest.iter().map(|b| format!("{b:02x}")).collect(),
            size: text.len() as u64,
            arch: std::env::consts::ARCH,
        });
        let place = dir.path().join(&bring.digest);
        let program = place.join("backstop");
        std::fs::create_dir(&place).unwrap();
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(
            &program,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        // The only `sha256sum` that is found tells that it was asked.
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        let sum = "#!/bin/sh\necho asked >>\"$ASKED\"\nexec /usr/bin/sha256sum\n";
        std::fs::write(bin.join("sha256sum"), sum).unwrap();
        std::fs::set_permissions(
            bin.join("sha256sum"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let asked = dir.path().join("asked");
        let notes = dir.path().join("notes");
        let run = || {
            let places = (dir.path(), notes.as_path());
            let script = script("MARK", places, std::slice::from_ref(&bring), false);
            let path = format!("{}:/usr/bin:/bin", bin.display());
            let mut sh = Command::new("sh");
            sh.args(["-c", &script]).stdin(std::process::Stdio::null());
            sh.env("PATH", path).env("ASKED", &asked);
            let said = String::from_utf8(sh.output().unwrap().stdout).unwrap();
            let asked = std::fs::read_to_string(&asked).unwrap_or_default();
            (said, asked.lines().count())
        };
        let well = || "MARK run\ntarget\n".to_owned();
        assert_eq!(run(), (well(), 1));
        assert_eq!(run(), (well(), 1), "known");
        // The same size, and the same time of change to the second or so.
        std::fs::write(&program, text.replace("echo", "true")).unwrap();
        let (said, times) = run();
        assert!(said.starts_with("MARK send "), "{said}");
        assert_eq!(times, 3, "it, and what came instead");
    }

    #[test]
    fn a_host_of_another_kind_is_told_apart() {
        let script = script(
            "MARK",
            (Path::new("/nonexistent"), Path::new("/nonexistent")),
            &[],
            true,
        );
        let out = Command::new("sh").args(["-c", &script]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout);
        assert_eq!(text.trim(), format!("MARK arch {}", std::env::consts::ARCH));
    }
}
