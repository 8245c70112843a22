//! `grub.cfg`: written once, at installation.

use super::PUBLISHED_NAME;

/// Where the state sector's file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatePlace {
    /// This path on the filesystem that `grub.cfg` is on: the EFI system
    /// partition.
    BesideGrubConfig(String),
    /// This path below the `/boot` directory of the root filesystem.
    Boot(String),
    /// This path on a filesystem that is found by its UUID: the EFI system partition of
    /// a host whose `grub.cfg` is elsewhere.
    Filesystem {
        /// Its UUID.
        uuid: String,
        /// The path on it.
        path: String,
    },
}

/// What `grub.cfg` has to know of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticConfig {
    /// UUID of the filesystem that holds `/boot`'s content.
    pub boot_uuid: String,
    /// The directory on it that holds `loader`: `/boot`, or empty where `/boot`
    /// is a filesystem of its own.
    pub boot_dir: String,
    /// Where the state sector is.
    pub state: StatePlace,
    /// Speed of the first serial port, to use it as a console too.
    pub serial: Option<u32>,
    /// The configuration from before backstop, below [`boot_dir`](Self::boot_dir): GRUB
    /// goes by it where nothing that backstop published boots.
    pub before: Option<String>,
}

/// The first line of every `grub.cfg` of backstop's.
const HEAD: &str =
    "# Written when backstop was installed, and never since: what boots is decided in";

/// Whether a `grub.cfg` is backstop's.
#[must_use]
pub fn is_static_config(text: &str) -> bool {
    text.starts_with(HEAD)
}

/// Why a [`StaticConfig`] was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum StaticConfigError {
    /// It would have to be quoted, and is not worth it.
    #[error("{0:?} is no filesystem UUID")]
    Uuid(String),
    /// Not absolute, or with characters that a path here never has.
    #[error("{0:?} is no plain absolute path")]
    Path(String),
}

const TAIL: &str = r#"
set backstop_version=
set backstop_config=
set backstop_left=
set backstop_failed=
set backstop_end=
if load_env --skip-sig -f "${backstop_state}" backstop_version backstop_config backstop_left backstop_failed backstop_end; then true; else
  echo "backstop: the state sector cannot be read"
fi
echo "backstop: sector ${backstop_version}:${backstop_config}:${backstop_left}:${backstop_failed}"

set backstop_menu=no
"#;

/// Boots what is published in one of these directories.
const SOURCE: &str = r#"for backstop_loader in DIRECTORIES; do
  if [ "${backstop_menu}" = "no" ]; then
    if [ -s "${backstop_loader}/PUBLISHED" ]; then
      source "${backstop_loader}/PUBLISHED"
    else
      echo "backstop: no ${backstop_loader}/PUBLISHED"
    fi
  fi
done
"#;

/// Nothing of backstop's counts: there may be what `ostree` published last.
const BEFORE: &str = r#"if [ "${backstop_menu}" = "no" ]; then
  if [ -s "${backstop_boot}BEFORE" ]; then
    echo "backstop: nothing is published, going by ${backstop_boot}BEFORE"
    set root="${backstop_start}"
    configfile "${backstop_boot}BEFORE"
  fi
fi
"#;

const END: &str = r#"if [ "${backstop_menu}" = "no" ]; then
  echo "backstop: nothing could be booted, trying again"
  sleep 10
  reboot
fi
"#;

/// The text of `grub.cfg`.
///
/// A published script returns only when nothing of it could be booted. Then the
/// two directories that `loader` points to in turn are tried themselves: one of
/// them is complete when the symlink is damaged.
///
/// # Errors
/// A UUID or path that is none.
pub fn static_config(config: &StaticConfig) -> Result<String, StaticConfigError> {
    let boot_uuid = check_uuid(&config.boot_uuid)?;
    if !config.boot_dir.is_empty() {
        check(&config.boot_dir)?;
    }
    let mut text = format!(
        "{HEAD}\n# loader/backstop.cfg, which is replaced together with the boot entries.\n"
    );
    if let Some(speed) = config.serial {
        text += &format!("serial --unit=0 --speed={speed}\n");
        // Not the screen as well: on a machine without one GRUB may print line
        // breaks to it for ever.
        text += "terminal_input serial console\nterminal_output serial\n";
    }
    text += "set pager=0\nset backstop_start=\"${root}\"\n";
    text += &format!("search --no-floppy --fs-uuid --set=root {boot_uuid}\n");
    text += &format!("set backstop_boot=\"(${{root}}){}\"\n", config.boot_dir);
    let state = match &config.state {
        StatePlace::BesideGrubConfig(path) => format!("(${{backstop_start}}){}", check(path)?),
        StatePlace::Boot(path) => format!("${{backstop_boot}}{}", check(path)?),
        StatePlace::Filesystem { uuid, path } => {
            text += &format!(
                "search --no-floppy --fs-uuid --set=backstop_esp {}\n",
                check_uuid(uuid)?
            );
            format!("(${{backstop_esp}}){}", check(path)?)
        }
    };
    text += &format!("set backstop_state=\"{state}\"\n");
    text += TAIL;
    text += &source(&["loader"]);
    if let Some(before) = &config.before {
        text += &BEFORE.replace("BEFORE", check(before)?);
    }
    text += &source(&["loader.0", "loader.1"]);
    Ok(text + END)
}

fn source(directories: &[&str]) -> String {
    let quoted = |dir: &&str| format!("\"${{backstop_boot}}/{dir}\"");
    let all: Vec<String> = directories.iter().map(quoted).collect();
    SOURCE
        .replace("DIRECTORIES", &all.join(" "))
        .replace("PUBLISHED", PUBLISHED_NAME)
}

fn check_uuid(uuid: &str) -> Result<&str, StaticConfigError> {
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    if !uuid.is_empty() && uuid.chars().all(hex) {
        return Ok(uuid);
    }
    Err(StaticConfigError::Uuid(uuid.to_owned()))
}

fn check(path: &str) -> Result<&str, StaticConfigError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.starts_with('/') && !path.ends_with('/') && path.chars().all(plain) {
        return Ok(path);
    }
    Err(StaticConfigError::Path(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_it_would_have_to_quote() {
        let good = StaticConfig {
            boot_uuid: "1b2c-0f".into(),
            boot_dir: "/boot".into(),
            state: StatePlace::Boot("/backstop/state".into()),
            serial: None,
            before: Some("/grub/grub.cfg.before-backstop".into()),
        };
        assert!(static_config(&good).is_ok());
        type Change = fn(&mut StaticConfig);
        let changes: [Change; 7] = [
            |c| c.before = Some("/a\"b".into()),
            |c| {
                c.state = StatePlace::Filesystem {
                    uuid: "$(x)".into(),
                    path: "/s".into(),
                }
            },
            |c| c.boot_uuid = "x; reboot".into(),
            |c| c.boot_uuid.clear(),
            |c| c.boot_dir = "boot".into(),
            |c| c.boot_dir = "/".into(),
            |c| c.state = StatePlace::BesideGrubConfig("/a b".into()),
        ];
        for change in changes {
            let mut bad = good.clone();
            change(&mut bad);
            assert!(static_config(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_state_is_on_the_filesystem_it_was_said_to_be_on() {
        let config = StaticConfig {
            boot_uuid: "0f".into(),
            boot_dir: String::new(),
            state: StatePlace::BesideGrubConfig("/backstop/state".into()),
            serial: Some(115_200),
            before: None,
        };
        let text = static_config(&config).unwrap();
        assert!(text.contains("set backstop_state=\"(${backstop_start})/backstop/state\"\n"));
        assert!(text.contains("set backstop_boot=\"(${root})\"\n"));
        assert!(text.contains("serial --unit=0 --speed=115200\n"));
        assert!(is_static_config(&text) && !is_static_config("set default=0\n"));
        let elsewhere = StaticConfig {
            state: StatePlace::Filesystem {
                uuid: "AB-1".into(),
                path: "/backstop/state".into(),
            },
            before: Some("/grub/old".into()),
            ..config
        };
        let text = static_config(&elsewhere).unwrap();
        assert!(text.contains("--set=backstop_esp AB-1\nset backstop_state=\"(${backstop_esp})/"));
        assert!(text.contains("  configfile \"${backstop_boot}/grub/old\"\n"));
    }
}
