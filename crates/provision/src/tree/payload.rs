//! The files that backstop puts into a tree.

/// A file and where it goes.
#[derive(Debug)]
pub(crate) struct Payload {
    /// Where, relative to the tree.
    pub path: &'static str,
    /// What.
    pub bytes: &'static [u8],
    /// Permission bits.
    pub mode: u32,
    /// Whether the initramfs holds it.
    pub in_initramfs: bool,
}

const UNITS: &str = "usr/lib/systemd/system/";

macro_rules! unit {
    ($name:literal) => {
        Payload {
            path: concat!("usr/lib/systemd/system/", $name),
            bytes: include_bytes!(concat!("../../units/", $name)),
            mode: 0o644,
            in_initramfs: false,
        }
    };
}

macro_rules! initramfs {
    ($from:literal, $to:literal, $mode:literal) => {
        Payload {
            path: $to,
            bytes: include_bytes!(concat!("../../initramfs/", $from)),
            mode: $mode,
            in_initramfs: true,
        }
    };
}

/// Every file but the binary.
pub(crate) const FILES: &[Payload] = &[
    unit!("boot.mount"),
    unit!("backstop-settle.service"),
    unit!("backstop-deadline.timer"),
    unit!("backstop-deadline.service"),
    unit!("backstop-health.service"),
    unit!("backstop-going-down.service"),
    unit!("backstop-supervise.service"),
    unit!("backstop-republish.path"),
    unit!("backstop-republish.service"),
    unit!("backstop-upgrade.service"),
    unit!("backstop-upgrade.timer"),
    initramfs!(
        "enter-deployment.sh",
        "usr/lib/backstop/enter-deployment.sh",
        0o644
    ),
    initramfs!(
        "initramfs-tools/hook",
        "usr/share/initramfs-tools/hooks/backstop",
        0o755
    ),
    initramfs!(
        "initramfs-tools/init-top",
        "usr/share/initramfs-tools/scripts/init-top/backstop",
        0o755
    ),
    initramfs!(
        "initramfs-tools/local-bottom",
        "usr/share/initramfs-tools/scripts/local-bottom/backstop",
        0o755
    ),
    initramfs!(
        "dracut/module-setup.sh",
        "usr/lib/dracut/modules.d/90backstop/module-setup.sh",
        0o755
    ),
    initramfs!(
        "dracut/watchdog-hook.sh",
        "usr/lib/dracut/modules.d/90backstop/watchdog-hook.sh",
        0o755
    ),
    initramfs!(
        "dracut/enter-deployment-hook.sh",
        "usr/lib/dracut/modules.d/90backstop/enter-deployment-hook.sh",
        0o755
    ),
];

/// What pulls each unit in. Links below `/usr`, so that no version depends on
/// what a host's `/etc` says.
const PULLED_IN: &[(&str, &str)] = &[
    ("boot.mount", "local-fs.target.wants"),
    ("backstop-settle.service", "sysinit.target.wants"),
    ("backstop-deadline.timer", "sysinit.target.wants"),
    ("backstop-going-down.service", "sysinit.target.wants"),
    ("backstop-health.service", "multi-user.target.wants"),
    ("backstop-health.service", "boot-complete.target.requires"),
    ("backstop-supervise.service", "multi-user.target.wants"),
    ("backstop-republish.path", "multi-user.target.wants"),
    ("backstop-republish.service", "multi-user.target.wants"),
    ("backstop-upgrade.timer", "timers.target.wants"),
];

/// The links that enable the units: path relative to the tree, target.
pub(crate) fn links() -> impl Iterator<Item = (String, String)> {
    PULLED_IN
        .iter()
        .map(|(unit, by)| (format!("{UNITS}{by}/{unit}"), format!("../{unit}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_enabled_unit_is_shipped() {
        for (path, target) in links() {
            let unit = target.trim_start_matches("../");
            let shipped = FILES.iter().any(|f| f.path == format!("{UNITS}{unit}"));
            assert!(shipped, "{path} leads to no unit");
        }
    }
}
