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
for backstop_loader in "${backstop_boot}/loader" "${backstop_boot}/loader.0" "${backstop_boot}/loader.1"; do
  if [ "${backstop_menu}" = "no" ]; then
    if [ -s "${backstop_loader}/PUBLISHED" ]; then
      source "${backstop_loader}/PUBLISHED"
    else
      echo "backstop: no ${backstop_loader}/PUBLISHED"
    fi
  fi
done
if [ "${backstop_menu}" = "no" ]; then
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
    let hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    if config.boot_uuid.is_empty() || !config.boot_uuid.chars().all(hex) {
        return Err(StaticConfigError::Uuid(config.boot_uuid.clone()));
    }
    if !config.boot_dir.is_empty() {
        check(&config.boot_dir)?;
    }
    let mut text = String::from(
        "# Written when backstop was installed, and never since: what boots is decided in\n\
         # loader/backstop.cfg, which is replaced together with the boot entries.\n",
    );
    if let Some(speed) = config.serial {
        text += &format!("serial --unit=0 --speed={speed}\n");
        // Not the screen as well: on a machine without one GRUB may print line
        // breaks to it for ever.
        text += "terminal_input serial console\nterminal_output serial\n";
    }
    text += "set pager=0\nset backstop_esp=\"${root}\"\n";
    text += &format!(
        "search --no-floppy --fs-uuid --set=root {}\n",
        config.boot_uuid
    );
    text += &format!("set backstop_boot=\"(${{root}}){}\"\n", config.boot_dir);
    let state = match &config.state {
        StatePlace::BesideGrubConfig(path) => format!("(${{backstop_esp}}){}", check(path)?),
        StatePlace::Boot(path) => format!("${{backstop_boot}}{}", check(path)?),
    };
    text += &format!("set backstop_state=\"{state}\"\n");
    text += &TAIL.replace("PUBLISHED", PUBLISHED_NAME);
    Ok(text)
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
        };
        assert!(static_config(&good).is_ok());
        type Change = fn(&mut StaticConfig);
        let changes: [Change; 5] = [
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
        };
        let text = static_config(&config).unwrap();
        assert!(text.contains("set backstop_state=\"(${backstop_esp})/backstop/state\"\n"));
        assert!(text.contains("set backstop_boot=\"(${root})\"\n"));
        assert!(text.contains("serial --unit=0 --speed=115200\n"));
    }
}
