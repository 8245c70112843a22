# make-disk.sh TREE IMAGE, named by $0 and $1.
# Makes a disk from a tree: the first partition is the ESP with systemd-boot and what the tree has in /boot, the second the root.
esp=$1.esp
truncate -s 160M "$esp"
mkfs.vfat -F 32 -n ESP "$esp" >/dev/null
mmd -i "$esp" ::/EFI ::/EFI/BOOT ::/EFI/systemd
for name in BOOT/BOOTX64.EFI systemd/systemd-bootx64.efi; do
  mcopy -i "$esp" /usr/lib/systemd/boot/efi/systemd-bootx64.efi "::/EFI/$name"
done
mcopy -s -i "$esp" "$0/boot/EFI/nixos" ::/EFI/
mcopy -s -i "$esp" "$0/boot/loader" ::/
rm -rf "$0"/boot/*
truncate -s 1600M "$1"
printf 'label: gpt\nstart=1MiB, size=160MiB, type=uefi\nstart=161MiB, size=1437MiB, type=linux\n' |
  sfdisk --quiet "$1"
dd if="$esp" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
rm "$esp"
mkfs.ext4 -q -F -m 0 -E offset=$((161 << 20)),lazy_itable_init=1,lazy_journal_init=1 -d "$0" "$1" 1437M
