{
  description = "Upgrades Linux hosts and puts them back when the upgrade goes wrong";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll = f: nixpkgs.lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      packages = forAll (pkgs: rec {
        backstop = pkgs.callPackage ./nix/package.nix { };
        default = backstop;
      });

      overlays.default = final: _prev: {
        backstop = final.callPackage ./nix/package.nix { };
      };

      nixosModules = rec {
        backstop = import ./nix/module.nix self;
        default = backstop;
      };
    };
}
