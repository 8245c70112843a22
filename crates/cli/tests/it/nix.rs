//! Nix hosts in a directory, with a real store and the real program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use testbed::packages;

use crate::host::{BACKSTOP, text};

/// A Nix host below a directory, whose processes end when it is dropped.
struct NixHost {
    dir: tempfile::TempDir,
    busybox: String,
}

impl NixHost {
    /// A host that runs version 1; `None` where Nix is not installed.
    fn new() -> Option<Self> {
        if !testing::nothing_lacks(&packages::missing(&[packages::NIX])) {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut host = Self {
            dir,
            busybox: String::new(),
        };
        host.make();
        Some(host)
    }

    fn make(&mut self) {
        let root = self.root();
        for dir in [
            "nix/store",
            "nix/var/nix",
            "run",
            "etc/nix",
            "etc/backstop",
            "tools/bin",
        ] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        let config = "sandbox = false\nbuild-users-group =\nsubstituters =\n\
                      experimental-features = nix-command flakes\n";
        std::fs::write(root.join("etc/nix/nix.conf"), config).unwrap();
        let limits = "lock_wait = \"1s\"\nactivation_timeout = \"2s\"\n";
        std::fs::write(root.join("etc/backstop/nix.toml"), limits).unwrap();
        let busybox = root.join("tools/bin/busybox");
        std::fs::copy("/bin/busybox", busybox).unwrap();
        for name in ["sh", "mkdir", "cat", "chmod"] {
            std::os::unix::fs::symlink("busybox", root.join("tools/bin").join(name)).unwrap();
        }
        let tools = root.join("tools");
        self.busybox = self.nix("nix-store", &["--add", &tools.to_string_lossy()]);
        let first = self.version("1", "0");
        for link in ["run/current-system", "run/booted-system"] {
            std::os::unix::fs::symlink(&first, root.join(link)).unwrap();
        }
    }

    fn root(&self) -> PathBuf {
        std::fs::canonicalize(self.dir.path()).unwrap()
    }

    /// A command in the surroundings of this host.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("NIX_CONF_DIR", self.root().join("etc/nix"))
            .env("HOME", self.root().join("home"));
        command
    }

    fn nix(&self, program: &str, arguments: &[&str]) -> String {
        let root = self.root();
        let output = self
            .command(program)
            .args(arguments)
            .env("NIX_REMOTE", "local")
            .env("NIX_STORE_DIR", root.join("nix/store"))
            .env("NIX_LOG_DIR", root.join("nix/var/log/nix"))
            .env("NIX_STATE_DIR", root.join("nix/var/nix"))
            .env("NIX_LOCALSTATE_DIR", root.join("nix/var"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Builds a version whose activation ends so.
    fn version(&self, version: &str, ending: &str) -> String {
        let nix = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nix/toplevel.nix");
        let busybox = format!("builtins.storePath \"{}\"", self.busybox);
        let strings = ["--argstr", "version", version, "--argstr", "ending", ending];
        let mut arguments = vec!["--no-out-link"];
        arguments.extend(strings);
        arguments.extend(["--arg", "busybox", &busybox]);
        let nix = nix.to_string_lossy().into_owned();
        arguments.push(&nix);
        self.nix("nix-build", &arguments)
    }

    fn try_backstop(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(BACKSTOP);
        command.arg("--sysroot").arg(self.root()).args(arguments);
        command.output().unwrap()
    }

    #[track_caller]
    fn backstop(&self, arguments: &[&str], code: i32) -> String {
        let output = self.try_backstop(arguments);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}\n{text}");
        text
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let text = self.backstop(&[&["--json"], arguments].concat(), 0);
        let lines = text.lines();
        lines.map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    fn active(&self) -> String {
        let link = std::fs::read_link(self.root().join("run/current-system")).unwrap();
        link.to_string_lossy().into_owned()
    }

    fn loader_default(&self) -> String {
        let file = self.root().join("run/loader-default");
        std::fs::read_to_string(file)
            .unwrap_or_default()
            .trim()
            .to_owned()
    }

    /// The profile's generations, oldest first.
    fn generations(&self) -> Vec<String> {
        let status = self.json(&["status"]);
        let generations = status[0]["generations"].as_array().unwrap();
        let version = |g: &Value| g["version"].as_str().unwrap().to_owned();
        generations.iter().map(version).collect()
    }

    /// How the last upgrade ended.
    fn last_end(&self) -> String {
        let history = self.json(&["history"]);
        let outcome = &history.last().unwrap()["outcome"];
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let reason = &outcome["reason"];
        format!(
            "{} {} {}",
            word(&outcome["end"]),
            word(&reason["why"]),
            word(&reason["fault"])
        )
    }
}

impl Drop for NixHost {
    fn drop(&mut self) {
        // Ends what an upgrade that a failed test left open still waits for.
        let _ = self.try_backstop(&["rollback"]);
    }
}

#[test]
fn a_version_is_kept_and_gone_back_from() {
    let Some(host) = NixHost::new() else { return };
    let (one, two) = (host.version("1", "0"), host.version("2", "0"));
    host.backstop(&["switch", &two], 0);
    assert_eq!(host.active(), two);
    assert_eq!(host.loader_default(), two);
    // The profile was empty: without a generation there is no way back by the menu.
    let both = [one.clone(), two.clone()];
    assert_eq!(host.generations(), both);
    assert_eq!(host.last_end(), "kept - -");
    // Nothing to do, and no generation more.
    host.backstop(&["switch", &two], 0);
    assert_eq!(host.generations(), both);
    // Neither version can be collected.
    host.nix("nix-store", &["--gc"]);
    assert!(Path::new(&one).exists() && Path::new(&two).exists());
    host.backstop(&["rollback"], 0);
    assert_eq!(
        (host.active(), host.loader_default()),
        (one.clone(), one.clone())
    );
    assert_eq!(host.generations(), [one.clone(), two.clone(), one]);
    let refused = host.backstop(&["switch", &two], 5);
    assert!(refused.contains("declared bad"), "{refused}");
}

#[test]
fn each_ending_has_its_own_outcome() {
    let Some(host) = NixHost::new() else { return };
    let first = host.active();
    let table = [
        ("1", 21, "rolled-back activate-failed program"),
        ("2", 22, "rolled-back activate-failed script"),
        ("4", 24, "rolled-back checks-failed -"),
        ("101", 21, "rolled-back activate-failed program"),
        ("hang", 25, "rolled-back activate-failed hung"),
        ("boot", 4, "rolled-back keep-failed -"),
        ("11", 8, "rejected not-activated busy"),
        ("100", 9, "rejected not-activated needs-reboot"),
        ("inhibited", 9, "rejected not-activated needs-reboot"),
        ("check", 3, "rejected preflight-failed -"),
    ];
    for (ending, code, end) in table {
        let version = host.version(ending, ending);
        let said = host.backstop(&["switch", &version], code);
        assert_eq!(host.last_end(), end, "{ending}\n{said}");
        assert_eq!(host.active(), first, "{ending}\n{said}");
        // What did not begin says nothing of the version.
        let again = if matches!(code, 8 | 9) { code } else { 5 };
        host.backstop(&["switch", &version], again);
    }
    // The one that could not be kept had been made a generation; it is not the
    // default.
    let status = &host.json(&["status"])[0];
    assert_eq!(status["default"].as_str().unwrap(), first);
    let brief = &host.json(&["status", "--brief"])[0];
    assert_eq!(brief["running"], status["running"]);
    assert!(brief["default"].is_null(), "the boot loader is not asked");
    assert_eq!(host.loader_default(), first);
}

#[test]
fn nobody_confirms_and_somebody_does() {
    let Some(host) = NixHost::new() else { return };
    let first = host.active();
    let two = host.version("2", "0");
    let confirm = ["--confirm-by", "person", "--confirm-within"];
    let wait = |within| [&["switch", &two], &confirm[..], &[within]].concat();
    host.backstop(&[&wait("1s")[..], &["--wait"]].concat(), 4);
    assert_eq!(host.last_end(), "rolled-back deadline -");
    assert_eq!(
        (host.active(), host.loader_default()),
        (first.clone(), String::new())
    );
    host.backstop(&[&wait("5m")[..], &["--force"]].concat(), 0);
    assert_eq!(
        (host.active(), host.loader_default()),
        (two.clone(), String::new())
    );
    host.backstop(&["confirm"], 0);
    assert_eq!(host.last_end(), "kept - -");
    assert_eq!((host.active(), host.loader_default()), (two.clone(), two));
}

#[test]
fn the_deployer_must_come_over_a_connection() {
    let Some(host) = NixHost::new() else { return };
    let first = host.active();
    let two = host.version("2", "0");
    let arguments = [
        "switch",
        &two,
        "--confirm-by",
        "deployer",
        "--confirm-within",
        "5m",
    ];
    host.backstop(&arguments, 0);
    let refused = host.backstop(&["confirm"], 1);
    assert!(refused.contains("over a new connection"), "{refused}");
    host.backstop(&["rollback"], 0);
    let until = Instant::now() + Duration::from_secs(60);
    while !host.json(&["status"])[0]["under_way"].is_null() {
        assert!(Instant::now() < until);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(host.active(), first);
}

#[test]
fn a_boot_trial_waits_and_can_be_stopped() {
    let Some(host) = NixHost::new() else { return };
    let first = host.active();
    let refuses = host.version("2", "inhibited");
    let grub = host.root().join("boot/grub");
    std::fs::create_dir_all(&grub).unwrap();
    std::fs::write(grub.join("grub.cfg"), "# nothing yet\n").unwrap();
    let said = host.backstop(&["nix", "boot", &refuses], 3);
    assert!(said.contains("does not look at next_entry"), "{said}");
    let head = "set default=\"${next_entry}\"\nsave_env next_entry\n";
    std::fs::write(grub.join("grub.cfg"), head).unwrap();
    // A live trial that is refused is staged: the default stays, and GRUB is told to
    // boot the version once.
    let said = host.backstop(&["switch", &refuses], 7);
    assert!(said.contains("The next reboot tries it"), "{said}");
    let block = || String::from_utf8(std::fs::read(grub.join("grubenv")).unwrap()).unwrap();
    let entry = "next_entry=NixOS - All configurations>NixOS - Configuration 2\n";
    assert!(block().contains(entry), "{}", block());
    let status = &host.json(&["status"])[0];
    assert_eq!(status["attempts_left"], 1);
    assert_eq!(status["default"].as_str().unwrap(), first);
    assert_eq!(
        (host.active(), host.loader_default()),
        (first.clone(), first.clone())
    );
    let profile = std::fs::canonicalize(host.root().join("nix/var/nix/profiles/system"));
    assert_eq!(profile.unwrap(), Path::new(&first));
    host.backstop(&["rollback"], 0);
    assert!(!block().contains("next_entry"), "{}", block());
    // It never ran, so nothing is held against it.
    let said = host.backstop(&["nix", "boot", &refuses], 0);
    assert!(said.contains("The next reboot tries it"), "{said}");
    assert_eq!(host.generations(), [first, refuses]);
}

#[test]
fn a_flake_is_built_and_its_provenance_kept() {
    let Some(host) = NixHost::new() else { return };
    let flake = host.root().join("flake");
    std::fs::create_dir(&flake).unwrap();
    let nix = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nix");
    for name in ["toplevel.nix", "switch-to-configuration"] {
        std::fs::copy(nix.join(name), flake.join(name)).unwrap();
    }
    let tools = flake.join("tools");
    std::fs::create_dir(&tools).unwrap();
    let bin = tools.join("bin");
    std::fs::create_dir(&bin).unwrap();
    std::fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
    for name in ["sh", "mkdir", "cat", "chmod"] {
        std::os::unix::fs::symlink("busybox", bin.join(name)).unwrap();
    }
    let system = match std::env::consts::ARCH {
        "x86_64" => "x86_64-linux",
        _ => "aarch64-linux",
    };
    let text = format!(
        "{{ outputs = _: {{ nixosConfigurations.web.config.system.build.toplevel =\n  import \
         ./toplevel.nix {{ version = \"9\"; system = \"{system}\"; busybox = \"${{./tools}}\"; \
         }}; }}; }}\n"
    );
    std::fs::write(flake.join("flake.nix"), text).unwrap();
    let reference = format!("path:{}#web", flake.display());
    let built = host.backstop(&["switch", "--flake", &reference], 0);
    assert_eq!(
        std::fs::read_to_string(Path::new(&host.active()).join("nixos-version")).unwrap(),
        "9\n",
        "{built}"
    );
    let history = host.json(&["history"]);
    let request = &history.last().unwrap()["request"];
    let source = request["source"].as_str().unwrap();
    assert!(source.starts_with("flake path:"), "{source}");
    let provenance = &request["provenance"];
    assert!(
        provenance["flake"].as_str().unwrap().starts_with("path:"),
        "{provenance}"
    );
    assert!(
        provenance["source"]
            .as_str()
            .unwrap()
            .starts_with("sha256-"),
        "{provenance}"
    );
    // The same, unattended.
    let policy = format!("[upgrade]\nflake = \"{reference}\"\n");
    std::fs::write(host.root().join("etc/backstop/backstop.toml"), policy).unwrap();
    let said = host.backstop(&["upgrade", "--unattended"], 0);
    assert!(said.contains("which is running"), "{said}");
}
