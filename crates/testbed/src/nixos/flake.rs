//! Flakes on the operator's machine.

use std::fmt::Write as _;
use std::fs;

use super::site::Site;
use super::toplevel::Toplevel;
use crate::Result;
use crate::error::Doing;

/// What each flake begins with: `system VERSION CONFIG` is one of NixOS with this
/// configuration, and `wrapped` is what deploy-rs makes of it.
const BEGINNING: &str = r#"{
  outputs = { self }:
    let
      version = name: import ./toplevel.nix {
        version = name;
        system = "@system@";
        extra = ./. + "/extra/${name}";
      };
      system = name: config: {
        config = { system.build.toplevel = version name; } // config;
      };
      wrapped = system: derivation {
        name = "activatable-${system.config.system.build.toplevel.name}";
        system = "@system@";
        builder = "${./busybox}/bin/sh";
        PATH = "${./busybox}/bin";
        toplevel = system.config.system.build.toplevel;
        args = [ "-euc" "mkdir $out; ln -s $toplevel/* $out/; echo >$out/deploy-rs-activate" ];
      };
    in
    {
"#;

impl Site {
    /// Writes a flake on the operator's machine, with these outputs over these
    /// versions; gives its directory.
    ///
    /// # Errors
    /// The operator's machine is off.
    pub fn flake(&self, name: &str, versions: &[Toplevel], outputs: &str) -> Result<String> {
        let dir = format!("/root/flakes/{name}");
        self.operator().run(&format!(
            "mkdir -p {dir} && cp -r /testbed/toplevel.nix /testbed/busybox /testbed/scripts {dir}/"
        ))?;
        let here = self.operator().root().join(&dir[1..]);
        for version in versions {
            let extra = here.join("extra").join(version.version());
            fs::create_dir_all(&extra).doing("create", &extra)?;
            version.lay_out(&extra)?;
        }
        let system = format!("{}-linux", std::env::consts::ARCH);
        let mut text = BEGINNING.replace("@system@", &system);
        let _ = writeln!(text, "{outputs}\n    }};\n}}");
        let file = here.join("flake.nix");
        fs::write(&file, text).doing("write", &file)?;
        Ok(dir)
    }
}
