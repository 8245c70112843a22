//! A login that becomes root by sudo, with a password that is asked once.

use proof::{Actor, Fleet, Stage, installed};

const PASSWORD: &str = "p4ss-of-deploy-77ab";
/// As shadow files keep it.
const HASH: &str = "$6$proofproof$vIRYfXn2xhqvT9moGzsyZSGh7tZ.x8HPzKlwapUF2Uf0ST.fQpC/y.qHNfPhC/SLQU7GNRAuOncATEeKu7SG9/";

/// Lets `deploy` log in with the operator's key, and become root with its password.
fn admit(host: &Actor) {
    host.run(&format!(
        "echo 'deploy:x:1000:1000::/home/deploy:/bin/sh' >>/etc/passwd
echo 'deploy:x:1000:' >>/etc/group
echo 'deploy:{HASH}:19000::::::' >>/etc/shadow
mkdir -p /home/deploy /etc/pam.d
chown 1000:1000 /home/deploy
cp /etc/ssh/authorized_keys.d/root /etc/ssh/authorized_keys.d/deploy
printf 'Defaults lecture=never\nroot ALL=(ALL:ALL) ALL\ndeploy ALL=(ALL:ALL) ALL\n' >/etc/sudoers
chmod 440 /etc/sudoers
printf 'auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_permit.so\n' >/etc/pam.d/sudo
chmod 640 /etc/shadow"
    ))
    .unwrap();
}

/// Deploys with this password at standard input; the exit code and all that was said.
fn deploy(
    stage: &Stage,
    fleet: &Fleet<'_>,
    before: &str,
    password: Option<&str>,
) -> (Option<i32>, String) {
    let line = fleet.line(match password {
        Some(_) => "--ask-sudo-password deploy",
        None => "deploy",
    });
    let line = line.replace("exec backstop", &format!("{before} backstop"));
    // The shell's own word: no argument of any program.
    let script = format!("{line} <<'.'\n{}\n.", password.unwrap_or_default());
    let output = stage.operator().output(&script).unwrap();
    let both = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&both).into_owned(),
    )
}

#[test]
fn a_password_for_sudo_is_asked_once_and_goes_nowhere() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("sudoed").unwrap();
    admit(&host);
    let version = stage.build(&installed("2")).unwrap();
    let settings = "[defaults]\ntarget_user = \"deploy\"\n";
    let fleet = Fleet::describe(&stage, "sudoed", settings, &[("sudoed", &version)]).unwrap();

    let (code, said) = deploy(&stage, &fleet, "", None);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("--ask-sudo-password"), "{said}");
    let (code, said) = deploy(&stage, &fleet, "", Some("wrong"));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("password"), "{said}");
    host.assert_back();
    assert_eq!(host.ending(1), None);

    let trace = "strace -f -qq -e trace=execve -s 4096 -o /var/tmp/sudo-execs";
    host.run(&format!(
        "systemd-run --quiet --collect --unit=tracer {trace} -p $(systemctl show -P MainPID sshd); sleep 1"
    ))
    .unwrap();
    let (code, said) = deploy(&stage, &fleet, trace, Some(PASSWORD));
    assert_eq!(code, Some(0), "{said}\n{}", host.testimony());
    assert_eq!(said.matches("\"login\"").count(), 2, "{said}");
    host.assert_kept(&version);
    host.run("systemctl stop tracer; journalctl --sync")
        .unwrap();
    let seen = "grep -q sudo /var/tmp/sudo-execs && cat /var/tmp/sudo-execs";
    let texts = [
        said,
        host.run(seen).unwrap(),
        stage.operator().run(seen).unwrap(),
        host.run("journalctl --no-pager -o verbose").unwrap(),
        host.run(&format!(
            "grep -rl '{PASSWORD}' /var /etc /run/backstop /root /home /tmp || echo none"
        ))
        .unwrap(),
        stage
            .operator()
            .run("cat /root/sudoed/state/backstop/rollouts/*")
            .unwrap(),
    ];
    assert_eq!(texts[4].trim(), "none");
    assert!(texts.iter().all(|text| !text.contains(PASSWORD)));
}
