#!/bin/sh
# customize.sh ROOT PUBLIC-KEY
# Makes a fresh Debian root a small, quiet guest that boots quickly, reached by ssh as root.
set -eu
r=$1 key=$2

# Documentation and drivers that no virtual machine has.
for d in man doc info locale lintian bug zoneinfo bash-completion; do rm -rf "$r/usr/share/$d"; done
find "$r/var/cache/apt" "$r/var/lib/apt/lists" "$r/var/cache/debconf" -type f -delete
kver=$(ls "$r/usr/lib/modules")
keep='virtio[a-z_-]*|net_failover|failover|fat|vfat|nls_[a-z0-9_-]*|overlay|squashfs|erofs|watchdog|softdog|i6300esb'
keep="$keep|dm-[a-z-]*|loop|fuse|af_packet|efivarfs|rng-core|qemu_fw_cfg|crc[a-z0-9_-]*|xxhash[a-z0-9_-]*|autofs4|libcrc32c"
keep="$keep|ahci|libahci|libata|sd_mod|scsi_mod|scsi_common|nf_tables|nfnetlink|configfs|evdev|button|binfmt_misc|dax"
find "$r/usr/lib/modules/$kver/kernel" -name '*.ko*' | grep -vE "/($keep)\.ko(\.xz)?\$" | xargs -r rm -f
find "$r/usr/lib/modules/$kver/kernel" -type d -empty -delete
chroot "$r" depmod "$kver"
# One initramfs is enough, and it is made when the tree is prepared.
rm -f "$r"/boot/initrd.img-* "$r"/initrd.img* "$r"/vmlinuz*

# Identity.
echo testhost >"$r/etc/hostname"
: >"$r/etc/machine-id"
rm -f "$r/var/lib/dbus/machine-id" "$r/etc/resolv.conf"
printf '127.0.0.1 localhost testhost\n' >"$r/etc/hosts"

# ssh: one host key, made here because making keys is slow in a guest; only cheap algorithms.
rm -f "$r"/etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -C testhost -f "$r/etc/ssh/ssh_host_ed25519_key"
mkdir -p "$r/etc/ssh/authorized_keys.d"
install -m 644 "$key" "$r/etc/ssh/authorized_keys.d/root"
cat >"$r/etc/ssh/sshd_config.d/00-testbed.conf" <<'S'
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
KexAlgorithms curve25519-sha256
Ciphers aes128-gcm@openssh.com
S

# Network: an address by DHCP. QEMU offers no way out to a guest that is shut in, so the
# default route is given here: checks look for one.
mkdir -p "$r/etc/systemd/network"
cat >"$r/etc/systemd/network/20-wired.network" <<'N'
[Match]
Name=en* eth*
[Network]
DHCP=ipv4
Gateway=10.0.2.2
LinkLocalAddressing=no
IPv6AcceptRA=no
N
enable() { mkdir -p "$r/etc/systemd/system/$2.wants"; ln -sf "/lib/systemd/system/$1" "$r/etc/systemd/system/$2.wants/$1"; }
enable systemd-networkd.service multi-user.target
enable systemd-networkd.socket sockets.target

# A line on the console when the machine is up.
cat >"$r/usr/lib/systemd/system/testbed-ready.service" <<'U'
[Unit]
Description=Tell the test bed that multi-user.target is reached
DefaultDependencies=no
After=multi-user.target
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/console
ExecStart=/bin/sh -c 'read up x </proc/uptime; echo; echo "TESTBED-READY up=$up version=$(cat /usr/lib/testbed-version 2>/dev/null)"'
U
mkdir -p "$r/usr/lib/systemd/system/multi-user.target.wants"
ln -sf ../testbed-ready.service "$r/usr/lib/systemd/system/multi-user.target.wants/testbed-ready.service"
echo 1 >"$r/usr/lib/testbed-version"

# What a throw-away guest does without.
for u in systemd-udev-settle.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-networkd-wait-online.service \
    getty@tty1.service systemd-pstore.service systemd-hwdb-update.service keyboard-setup.service \
    console-setup.service systemd-update-utmp.service systemd-update-utmp-runlevel.service \
    modprobe@drm.service modprobe@configfs.service modprobe@fuse.service sys-kernel-tracing.mount \
    sys-kernel-debug.mount dev-hugepages.mount dev-mqueue.mount systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount systemd-repart.service modprobe@loop.service \
    modprobe@dm_mod.service systemd-sysusers.service; do
    ln -sf /dev/null "$r/etc/systemd/system/$u"
done
# Each of these is a process at every start of systemd, and there is nothing for it here.
mkdir -p "$r/etc/systemd/system-generators"
for g in cryptsetup debug gpt-auto hibernate-resume integritysetup rc-local run system-update sysv veritysetup; do
    ln -sf /dev/null "$r/etc/systemd/system-generators/systemd-$g-generator"
done
mkdir -p "$r/etc/systemd/journald.conf.d" "$r/etc/systemd/system.conf.d"
printf '[Journal]\nStorage=persistent\nSyncIntervalSec=1s\nForwardToConsole=no\nSystemMaxUse=32M\n' >"$r/etc/systemd/journald.conf.d/testbed.conf"
printf '[Manager]\nDefaultTimeoutStartSec=300s\nDefaultTimeoutStopSec=20s\n' >"$r/etc/systemd/system.conf.d/testbed.conf"

# Root without a password on the serial console, for a person who looks.
sed -i 's#^root:[^:]*:#root::#' "$r/etc/shadow"
