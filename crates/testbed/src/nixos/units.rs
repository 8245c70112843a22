//! The units of an imitated system.

/// Name and text of each.
pub(super) const UNITS: [(&str, &str); 27] = [
    ("app.service", include_str!("system/units/app.service")),
    ("basic.target", include_str!("system/units/basic.target")),
    (
        "boot-complete.target",
        include_str!("system/units/boot-complete.target"),
    ),
    (
        "emergency.target",
        include_str!("system/units/emergency.target"),
    ),
    ("final.target", include_str!("system/units/final.target")),
    (
        "local-fs.target",
        include_str!("system/units/local-fs.target"),
    ),
    (
        "multi-user.target",
        include_str!("system/units/multi-user.target"),
    ),
    (
        "network-online.target",
        include_str!("system/units/network-online.target"),
    ),
    (
        "network.service",
        include_str!("system/units/network.service"),
    ),
    (
        "network.target",
        include_str!("system/units/network.target"),
    ),
    (
        "nss-lookup.target",
        include_str!("system/units/nss-lookup.target"),
    ),
    ("paths.target", include_str!("system/units/paths.target")),
    (
        "poweroff.target",
        include_str!("system/units/poweroff.target"),
    ),
    ("reboot.target", include_str!("system/units/reboot.target")),
    (
        "shutdown.target",
        include_str!("system/units/shutdown.target"),
    ),
    ("slices.target", include_str!("system/units/slices.target")),
    (
        "sockets.target",
        include_str!("system/units/sockets.target"),
    ),
    ("sshd.service", include_str!("system/units/sshd.service")),
    (
        "sysinit.target",
        include_str!("system/units/sysinit.target"),
    ),
    (
        "systemd-journald.service",
        include_str!("system/units/systemd-journald.service"),
    ),
    (
        "systemd-journald.socket",
        include_str!("system/units/systemd-journald.socket"),
    ),
    (
        "systemd-poweroff.service",
        include_str!("system/units/systemd-poweroff.service"),
    ),
    (
        "systemd-reboot.service",
        include_str!("system/units/systemd-reboot.service"),
    ),
    (
        "testbed-ready.service",
        include_str!("system/units/testbed-ready.service"),
    ),
    (
        "time-sync.target",
        include_str!("system/units/time-sync.target"),
    ),
    ("timers.target", include_str!("system/units/timers.target")),
    ("umount.target", include_str!("system/units/umount.target")),
];
