# The toplevel.
mkdir -p "$out/bin" "$out/sw/bin" "$out/specialisation" "$out/systemd/lib/systemd"
# As on NixOS, all units are in /etc; a machine has Debian's own besides.
units=/etc/systemd/system.control:/etc/systemd/system:/run/systemd/transient:/run/systemd/system:/run/systemd/generator
[ -z "$kernel" ] || units=$units:/usr/local/lib/systemd/system:/usr/lib/systemd/system
fill() {
  sed -e "s|@out@|$out|g" -e "s|@busybox@|$busybox|g" -e "s|@etc@|$etc|g" -e "s|@units@|$units|g" "$scripts/$1" >"$2"
  chmod 755 "$2"
}
fill switch-to-configuration "$out/bin/switch-to-configuration"
fill "$installer" "$out/bin/install-bootloader"
fill activate "$out/activate"
fill dry-activate "$out/dry-activate"
fill init "$out/init"
[ -z "$specialisation" ] || ln -s "$specialisation" "$out/specialisation/rescue"
ln -s "$etc" "$out/etc"
ln -s "$app" "$out/app"
ln -s /usr/lib/systemd/systemd "$out/systemd/lib/systemd/systemd"
if [ -n "$kernel" ]; then
  ln -s "$kernel/vmlinuz" "$out/kernel"
  ln -s "$initrd/initrd" "$out/initrd"
  ln -s /usr/bin/bootctl "$out/sw/bin/bootctl"
  # What a version adds to it begins with a blank.
  printf 'console=ttyS0 quiet mitigations=off no_timer_check net.ifnames=0 root=/dev/nvme0n1p2 panic=-1' >"$out/kernel-params"
  [ ! -e "$special/kernel-params" ] || cat "$special/kernel-params" >>"$out/kernel-params"
else
  echo "kernel of testbed" >"$out/kernel"
  echo "initrd of testbed" >"$out/initrd"
  fill bootctl "$out/sw/bin/bootctl"
  printf 'console=ttyS0' >"$out/kernel-params"
fi
printf '26.05.%s' "$version" >"$out/nixos-version"
printf 'x86_64-linux' >"$out/system"
# Knobs of a fault replace what a sound version has.
printf 'systemd 1\n' >"$out/init-interface-version"
printf '{"systemd":"252"}\n' >"$out/switch-inhibitors"
cat >"$out/boot.json" <<J
{"org.nixos.bootspec.v1":{"init":"$out/init","initrd":"$out/initrd","kernel":"$out/kernel","kernelParams":["console=ttyS0"],"label":"NixOS testbed $version","system":"x86_64-linux","toplevel":"$out"},"org.nixos.specialisation.v1":{}}
J
[ ! -d "$special/toplevel" ] || cp -R "$special/toplevel/." "$out/"
cp "$special/knobs" "$out/knobs"
