# make-initramfs.sh TREE ETC KERNEL TOOL WORK
# Runs the tree's own tool in a mount namespace of its own, over a scratch root at WORK/root: the
# tree's /usr read-only, its /etc, and an empty /var. Nothing is written to the tree. The image is
# left at WORK/root/var/tmp/initramfs.img.
set -eu
tree=$1 etc=$2 kernel=$3 tool=$4 root=$5/root
mount --make-rprivate /
mkdir -p "$root"
for name in bin sbin lib lib32 lib64 libx32; do
    [ ! -L "$tree/$name" ] || cp -P "$tree/$name" "$root/"
done
for dir in usr etc dev proc sys run tmp boot root var/tmp var/lib; do mkdir -p "$root/$dir"; done
for file in "$tree/boot/config-$kernel" "$tree/usr/lib/modules/$kernel/config"; do
    [ ! -f "$file" ] || cp "$file" "$root/boot/config-$kernel"
done
mount --bind "$tree/usr" "$root/usr"
mount -o remount,bind,ro "$root/usr"
mount --bind "$etc" "$root/etc"
mount -o remount,bind,ro "$root/etc"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
case $tool in
mkinitramfs) chroot "$root" /usr/sbin/mkinitramfs -o /var/tmp/initramfs.img "$kernel" ;;
dracut) chroot "$root" /usr/bin/dracut --no-hostonly --force --add backstop --kver "$kernel" /var/tmp/initramfs.img ;;
esac
