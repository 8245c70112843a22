# make-grub-disk.sh TREE IMAGE, named by $0 and $1.
# Makes a disk from a tree, for a BIOS: the first partition holds GRUB's core, the second is the root with all the rest of
# GRUB in /boot. What grub-install would do, without asking devices.
modules=/usr/lib/grub/i386-pc
mkdir -p "$0/boot/grub/i386-pc"
cp $modules/*.mod $modules/*.lst "$0/boot/grub/i386-pc/"
grub-editenv "$0/boot/grub/grubenv" create
truncate -s 1600M "$1"
printf 'label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\nstart=4096, size=1595MiB, type=linux\n' |
  sfdisk --quiet "$1"
core=$1.core
grub-mkimage -O i386-pc -p '(,gpt2)/boot/grub' -o "$core" biosdisk part_gpt ext2
# put BYTES OFFSET FILE
put() { printf "$1" | dd of="$3" bs=1 seek="$2" conv=notrunc status=none; }
# The boot sector finds the core at sector 2048; the core's first sector finds its rest behind it.
rest=$((($(stat -c %s "$core") + 511) / 512 - 1))
put '\001\010\000\000\000\000\000\000' 500 "$core"
put "$(printf '\\%03o\\%03o' $((rest & 255)) $((rest >> 8)))" 508 "$core"
dd if="$core" of="$1" bs=512 seek=2048 conv=notrunc status=none
rm "$core"
dd if=$modules/boot.img of="$1" bs=440 count=1 conv=notrunc status=none
put '\000\010\000\000\000\000\000\000' 92 "$1"
mkfs.ext4 -q -F -m 0 -U "$(cat "$0/etc/testbed/root-uuid")" -E offset=$((4096 * 512)),lazy_itable_init=1,lazy_journal_init=1 -d "$0" "$1" 1595M
