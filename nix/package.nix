{ lib, rustPlatform }:

rustPlatform.buildRustPackage {
  pname = "backstop";
  version = (lib.importTOML ../Cargo.toml).workspace.package.version;

  src = lib.cleanSource ./..;
  cargoLock.lockFile = ../Cargo.lock;
  cargoBuildFlags = [
    "-p"
    "backstop"
  ];
  # The tests install Debian packages and boot machines.
  doCheck = false;

  meta = {
    description = "Upgrades Linux hosts and puts them back when the upgrade goes wrong";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "backstop";
    platforms = lib.platforms.linux;
  };
}
