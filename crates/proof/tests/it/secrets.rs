//! Secrets: there in time, whose they should be, off the disk, and nowhere else.

use proof::{Actor, Fleet, Stage, installed};
use testbed::nixos::Toplevel;

/// No text of anything else.
const TLS: &str = "s3cret-of-tls-5b1f";
const TOKEN: &str = "s3cret-of-token-90aa";
const BASE: &str = "s3cret-of-base-c47d";

const SETTINGS: &str = r#"
[defaults]
target_user = "root"
[defaults.keys.tls]
command = ["cat", "/root/secrets/tls"]
owner = "sshd"
group = "adm"
mode = "0440"
[defaults.keys.token]
env = "TOKEN"
when = "after"
[defaults.keys.base]
file = "/root/secrets/base"
persistent = true
"#;

/// A version that needs the one secret when it starts, and has not the other.
fn needs_secrets(version: &str) -> Toplevel {
    let unit = format!(
        "[Unit]\nDescription=Needs secrets, {version}\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         ExecStart=/bin/sh -c 'grep -q {TLS} /run/backstop/keys/tls && test ! -e /run/backstop/keys/token'\n"
    );
    installed(version).unit("needy.service", &unit)
}

/// The operator's shell, with what the secrets are made from.
fn prepare(stage: &Stage) {
    stage
        .operator()
        .run(&format!(
            "mkdir -p -m 700 /root/secrets; printf %s {TLS} >/root/secrets/tls; printf %s {BASE} >/root/secrets/base"
        ))
        .unwrap();
}

/// What a file of the host is like: mode, owner and group by number, content.
fn seen(host: &Actor, path: &str) -> String {
    host.tries(&format!("stat -c '%a %u %g' {path} && cat {path}"))
        .1
}

/// That none of the secrets is in a text.
fn clean(what: &str, text: &str) {
    for secret in [TLS, TOKEN, BASE] {
        assert!(!text.contains(secret), "{secret} is in {what}");
    }
}

#[test]
fn secrets_are_where_they_should_be_and_nowhere_else() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("keeper").unwrap();
    prepare(&stage);
    let version = stage.build(&needs_secrets("2")).unwrap();
    let fleet = Fleet::describe(&stage, "keeper", SETTINGS, &[("keeper", &version)]).unwrap();
    // All that is started on either machine is written down.
    let trace = "strace -f -qq -e trace=execve -s 4096 -o /var/tmp/execs";
    host.run(&format!(
        "systemd-run --quiet --collect --unit=tracer {trace} -p $(systemctl show -P MainPID sshd); sleep 1"
    ))
    .unwrap();
    let line = fleet
        .line("deploy")
        .replace("exec backstop", &format!("exec {trace} backstop"));
    let rollout = stage
        .operator()
        .output(&format!("export TOKEN={TOKEN}; {line}"))
        .unwrap();
    let said = [rollout.stdout, rollout.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert_eq!(
        rollout.status.code(),
        Some(0),
        "{said}\n{}",
        host.testimony()
    );
    host.assert_kept(&version);

    assert_eq!(
        seen(&host, "/run/backstop/keys/tls"),
        format!("440 101 4\n{TLS}")
    );
    assert_eq!(
        seen(&host, "/run/backstop/keys/token"),
        format!("600 0 0\n{TOKEN}")
    );
    assert_eq!(
        seen(&host, "/var/lib/backstop/keys/base"),
        format!("600 0 0\n{BASE}")
    );

    clean("what the deployer says", &said);
    host.run("systemctl stop tracer; journalctl --sync")
        .unwrap();
    let execs = "grep -q nix-store /var/tmp/execs && cat /var/tmp/execs";
    clean("an argument of the host's", &host.run(execs).unwrap());
    clean(
        "an argument of the operator's",
        &stage
            .operator()
            .run("grep -q ssh /var/tmp/execs && cat /var/tmp/execs")
            .unwrap(),
    );
    clean(
        "the journal",
        &host.run("journalctl --no-pager -o verbose").unwrap(),
    );
    // On the host's disk only where it was told to be.
    let search = format!(
        "grep -rlE 's3cret-of-(tls|token|base)-.{{4}}' /var /etc /root /boot /tmp 2>/dev/null; grep -rl '{TOKEN}' /nix; true"
    );
    let found = host.run(&search).unwrap();
    assert_eq!(found.trim(), "/var/lib/backstop/keys/base");
    clean(
        "what the deployer remembers",
        &stage
            .operator()
            .run("cat /root/keeper/state/backstop/rollouts/*")
            .unwrap(),
    );

    // What is in memory goes with a reboot, and comes with the next deployment.
    host.run("systemctl reboot").unwrap();
    host.wait_for_boot(2).unwrap();
    assert_eq!(host.tries("test -e /run/backstop/keys/tls").0, Some(1));
    assert_eq!(
        seen(&host, "/var/lib/backstop/keys/base"),
        format!("600 0 0\n{BASE}")
    );
    host.wait_until("ssh", || stage.ssh(&host, "true").unwrap().status.success());
    let line = fleet.line("deploy");
    let again = stage
        .operator()
        .output(&format!("export TOKEN={TOKEN}; {line}"))
        .unwrap();
    assert!(
        String::from_utf8_lossy(&again.stdout).contains("\"unchanged\""),
        "{again:?}"
    );
    assert_eq!(
        seen(&host, "/run/backstop/keys/tls"),
        format!("440 101 4\n{TLS}")
    );
}

#[test]
fn a_secret_that_cannot_be_had_changes_nothing() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("bereft").unwrap();
    let version = stage.build(&installed("2")).unwrap();
    let deploy = |key: &str, why: &str| {
        let settings = format!("[defaults]\ntarget_user = \"root\"\n[defaults.keys.k]\n{key}\n");
        let hosts = [("bereft", version.as_str())];
        let fleet = Fleet::describe(&stage, "bereft", &settings, &hosts).unwrap();
        let rollout = fleet.deploy("").unwrap();
        assert_eq!(rollout.end("bereft"), "failed", "{}", rollout.said);
        assert!(rollout.said.contains(why), "{}", rollout.said);
        clean("what the deployer says", &rollout.said);
        assert_eq!(host.ending(1), None);
        host.assert_back();
    };
    let failing = format!(
        "command = [\"sh\", \"-c\", \"echo {} >&2; echo half; exit 3\"]",
        TLS.replace('-', "\\\\055")
    );
    deploy(&failing, "its command failed");
    deploy("env = \"NOT_SET\"", "NOT_SET is not set");
    deploy("file = \"/root/none\"", "/root/none");
    deploy(
        "command = [\"echo\", \"x\"]\nowner = \"nobody-knows\"",
        "there is no user `nobody-knows`",
    );
}

#[test]
fn secrets_without_confirmation_and_over_a_reboot() {
    let Some(stage) = crate::stage() else {
        return;
    };
    prepare(&stage);
    let settings = SETTINGS.replace("env = \"TOKEN\"", "file = \"/root/secrets/tls\"");
    let arrive = |name: &str, more: &str, options: &str| {
        let host = stage.actor(name).unwrap();
        let version = stage.build(&installed(name)).unwrap();
        let settings = settings.replace("[defaults]\n", &format!("[defaults]\n{more}\n"));
        let fleet = Fleet::describe(&stage, name, &settings, &[(name, &version)]).unwrap();
        let rollout = fleet.deploy(options).unwrap();
        assert_eq!(rollout.end(name), "kept", "{}", rollout.said);
        for key in ["tls", "token"] {
            let found = seen(&host, &format!("/run/backstop/keys/{key}"));
            assert!(found.ends_with(TLS), "{key}: {found}");
        }
    };
    crate::together(&[&|| arrive("unasked", "confirm = false", ""), &|| {
        arrive("over-boot", "", "--boot")
    }]);
}
