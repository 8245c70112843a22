# A system in small: what backstop needs of NixOS, with an activation that ends as told.
{
  version,
  ending ? "0",
  system ? builtins.currentSystem,
  busybox,
}:
derivation {
  name = "nixos-system-host-${version}";
  inherit system;
  builder = "${busybox}/bin/sh";
  inherit version ending busybox;
  switch = ./switch-to-configuration;
  args = [
    "-c"
    ''
      export PATH=$busybox/bin
      mkdir -p $out/bin $out/etc/backstop/checks.d
      {
        echo "#!$busybox/bin/sh"
        echo "system=$out; version=$version; ending=$ending"
        cat $switch
      } > $out/bin/switch-to-configuration
      chmod 755 $out/bin/switch-to-configuration
      echo $version > $out/nixos-version
    ''
  ];
}
