# The toplevel.
mkdir -p "$out/bin" "$out/sw/bin" "$out/specialisation" "$out/systemd/lib/systemd"
fill() {
  sed -e "s|@out@|$out|g" -e "s|@busybox@|$busybox|g" -e "s|@etc@|$etc|g" "$scripts/$1" >"$2"
  chmod 755 "$2"
}
fill switch-to-configuration "$out/bin/switch-to-configuration"
fill install-bootloader "$out/bin/install-bootloader"
fill activate "$out/activate"
fill dry-activate "$out/dry-activate"
fill init "$out/init"
fill bootctl "$out/sw/bin/bootctl"
ln -s "$etc" "$out/etc"
ln -s "$app" "$out/app"
ln -s /usr/lib/systemd/systemd "$out/systemd/lib/systemd/systemd"
echo "kernel of testbed" >"$out/kernel"
echo "initrd of testbed" >"$out/initrd"
printf 'console=ttyS0' >"$out/kernel-params"
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
