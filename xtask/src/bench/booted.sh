# Makes the deployment $2 of the sysroot $1 look booted to ostree, in namespaces of this
# process, and runs the rest there with this machine's programs.
set -eu
sysroot=$1 tree=$2
shift 2
mount --bind "$tree" "$tree"
mount --bind "$sysroot" "$tree/sysroot"
mount --bind "$sysroot/boot" "$tree/boot"
mount --bind /usr "$tree/usr"
mount -t tmpfs none "$tree/run"
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount --rbind /sys "$tree/sys"
mkdir -p "$tree/run/bin" "$tree/run/ostree"
# No systemd runs here; ostree only has it start the unit that finalizes at shutdown.
ln -s /usr/bin/true "$tree/run/bin/systemctl"
: > "$tree/run/ostree-booted"
PATH=/run/bin:$PATH
export PATH
exec chroot "$tree" "$@"
