//! The generated scripts are GRUB scripts.

use std::io::Write;
use std::process::{Command, Stdio};

use boot::grub::{StatePlace, StaticConfig, published_config, static_config};
use boot::{BootConfig, Entry, FileDigest, Trial};

use testing::have;

fn entry(name: &str, options: &str) -> Entry {
    Entry {
        name: name.into(),
        title: format!("Debian's \"{name}\" $x"),
        linux: format!("/ostree/{name}/vmlinuz-6.1"),
        initrds: vec![format!("/ostree/{name}/initramfs-6.1.img"), "/b.img".into()],
        options: options.parse().unwrap(),
    }
}

fn parses(script: &str) {
    let mut check = Command::new("grub-script-check")
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    check
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(check.wait().unwrap().success(), "{script}");
}

#[test]
fn generated_scripts_parse() {
    if !have(&["grub-script-check"], &[]) {
        return;
    }
    let odd = "ro a=\"b; c\" '}' if=$fi { dyndbg=\"file x +p; y\" é=\\x2d |&<>";
    for trial in [false, true] {
        let trial = trial.then(|| Trial {
            entry: entry("new", odd),
            attempts: 3,
            digests: vec![FileDigest {
                path: "/ostree/new/vmlinuz".into(),
                sha256: "a".repeat(64),
            }],
        });
        let mut plain = entry("old", odd);
        plain.initrds.clear();
        let config = BootConfig::new(vec![entry("good", ""), plain], trial).unwrap();
        parses(&published_config(&config));
    }
    for state in [
        StatePlace::BesideGrubConfig("/backstop/state".into()),
        StatePlace::Boot("/backstop/state".into()),
        StatePlace::Filesystem {
            uuid: "1A2B-3C4D".into(),
            path: "/backstop/state".into(),
        },
    ] {
        let config = StaticConfig {
            boot_uuid: "b0b5cf62-8ad6-4ac5-a6a4-1f6d3fe0b7bb".into(),
            boot_dir: "/boot".into(),
            state,
            serial: Some(115_200),
            before: Some("/grub/grub.cfg.before-backstop".into()),
        };
        parses(&static_config(&config).unwrap());
    }
}
