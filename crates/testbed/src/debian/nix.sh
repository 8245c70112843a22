#!/bin/sh
# nix.sh ROOT
# Leaves the units, the sshd and the network of a guest to the version of the system that it runs, as on NixOS.
set -eu
r=$1

# A version's units are in /etc/systemd/system; what Debian has there gives way to them.
units=$r/usr/local/lib/systemd/system
mkdir -p "${units%/*}"
rm -f "$r/etc/systemd/system/sshd.service" "$r/etc/systemd/system/multi-user.target.wants/ssh.service"
find "$r/etc/systemd/system" -name 'systemd-networkd*' -delete
rm -f "$r/etc/systemd/network/20-wired.network" "$r/usr/lib/systemd/system/multi-user.target.wants/testbed-ready.service"
mv "$r/etc/systemd/system" "$units"
ln -sf /dev/null "$units/ssh.service"
ln -sf /dev/null "$units/systemd-networkd.service"

# The way in for the test bed, as it were the console: a network card and an sshd that are no version's business.
mkdir -p "$r/etc/testbed"
mv "$r/etc/ssh/authorized_keys.d/root" "$r/etc/testbed/console_keys"
mv "$r/etc/ssh/ssh_host_ed25519_key" "$r/etc/testbed/console_key"
rm -f "$r"/etc/ssh/ssh_host_* "$r/etc/ssh/sshd_config"
cat >"$r/etc/testbed/console_sshd" <<'S'
Port 2222
ListenAddress 10.0.2.15
HostKey /etc/testbed/console_key
AuthorizedKeysFile /etc/testbed/console_keys
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
KexAlgorithms curve25519-sha256
Ciphers aes128-gcm@openssh.com
PidFile none
SetEnv PATH=/opt/bin:/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin
S
cat >"$units/testbed-console.service" <<'U'
[Unit]
Description=The test bed's way in
[Service]
ExecStartPre=/bin/mkdir -p /run/sshd
ExecStartPre=/bin/sh -c 'ip link set eth1 up; ip address replace 10.0.2.15/24 dev eth1'
ExecStart=/usr/sbin/sshd -D -e -f /etc/testbed/console_sshd
KillMode=process
U
mkdir -p "$units/multi-user.target.wants"
ln -s ../testbed-console.service "$units/multi-user.target.wants/testbed-console.service"
# Before any unit wants a network card.
printf 'virtio_pci\nvirtio_net\n' >"$r/etc/modules-load.d/testbed.conf"

# As NixOS mounts them.
mkdir -p "$r/boot" "$r/nix" "$r/opt/bin"
echo 'LABEL=ESP /boot vfat umask=0077 0 2' >"$r/etc/fstab"
