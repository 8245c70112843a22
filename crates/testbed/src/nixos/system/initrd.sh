# The initramfs.
mkdir -p root/bin root/proc root/sys root/dev root/run root/host "$out"
cp "$busybox/bin/busybox" root/bin/busybox
for applet in sh cat mount sleep switch_root; do
  ln -s busybox "root/bin/$applet"
done
cp "$scripts/stage-1" root/init
chmod 755 root/init root/bin/busybox
(cd root; find . | cpio -o -H newc) >"$out/initrd"
