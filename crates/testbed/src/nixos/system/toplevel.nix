# A system that imitates NixOS: its files, its actions, its exit codes. What is
# particular to a version lies in the directory `extra`. With a directory `kernel`,
# which has a `vmlinuz`, it is one that real machines boot.
{ version, extra, payload ? "0", kernel ? null, grub ? false, specialised ? false, system ? builtins.currentSystem }:
let
  busybox = builtins.path { path = ./busybox; name = "busybox"; };
  scripts = builtins.path { path = ./scripts; name = "testbed-scripts"; };
  special = builtins.path { path = extra; name = "testbed-extra"; };
  step = name: script: attributes: derivation ({
    inherit name version busybox scripts system;
    builder = "${busybox}/bin/sh";
    args = [ "-eu" "${scripts}/${script}" ];
    PATH = "${busybox}/bin";
  } // attributes);
  app = step "app-${version}" "app.sh" { inherit payload; };
  boots = if kernel == null then { kernel = ""; } else {
    kernel = builtins.path { path = kernel; name = "linux"; };
    # The same for all versions.
    initrd = step "initrd" "initrd.sh" { version = "1"; };
  };
  etc = step "etc" "etc.sh" { inherit app special; inherit (boots) kernel; };
  builder = if grub then "install-grub" else "install-bootloader";
  top = suffix: specialisation: step "nixos-system-testbed-${version}${suffix}" "system.sh"
    ({ inherit app etc special specialisation; installer = builder; } // boots);
in
top "" (if specialised then top "-rescue" "" else "")
