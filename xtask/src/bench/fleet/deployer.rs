//! The deployers, and what each is told to do the same work.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use testbed::nixos::{NixHost, Site};

/// How many hosts whoever can be told is to work on at a time: as many as
/// `backstop fleet` does by itself.
const TOGETHER: usize = 20;
/// Where everything lies on the operator's machine.
const DIR: &str = "/root/bench";

/// Who does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployer {
    /// `ssh HOST true`: nobody can be quicker who logs in at all.
    Ssh,
    /// `nix copy`: nothing is activated.
    NixCopy,
    /// `backstop fleet deploy`.
    Backstop,
    /// `deploy`, with all hosts in one flake.
    DeployRs,
    /// `deploy` for each host, some at a time, since it knows no "at a time".
    DeployRsEach,
    /// `colmena apply`.
    Colmena,
}

/// What was given.
#[derive(Debug)]
pub struct Programs {
    /// Ours, linked statically.
    pub backstop: PathBuf,
    /// `deploy` and `activate`.
    pub deploy_rs: Option<(PathBuf, PathBuf)>,
    /// `colmena`.
    pub colmena: Option<PathBuf>,
}

/// A piece of work.
#[derive(Debug)]
pub struct Task {
    /// For a shell on the operator's machine.
    pub script: String,
    /// What must be in every host's store afterwards.
    there: Option<String>,
    /// What every host's system profile must be afterwards.
    profile: Option<String>,
}

impl Task {
    /// Whether a host has what it was to get.
    pub fn check(&self, host: &NixHost) -> anyhow::Result<()> {
        if let Some(path) = &self.there {
            let path = path.trim_start_matches('/');
            let there = host.root().join(path).exists();
            ensure!(there, "{}: {path} did not arrive", host.name());
        }
        if let Some(profile) = &self.profile {
            let found = host.profile();
            let name = host.name();
            ensure!(
                found.as_ref() == Some(profile),
                "{name} has {found:?}, not {profile}"
            );
        }
        Ok(())
    }
}

impl Programs {
    /// Those that can be measured.
    pub fn deployers(&self) -> Vec<Deployer> {
        let mut all = vec![Deployer::Ssh, Deployer::NixCopy, Deployer::Backstop];
        if self.deploy_rs.is_some() {
            all.extend([Deployer::DeployRs, Deployer::DeployRsEach]);
        }
        all.extend(self.colmena.as_ref().map(|_| Deployer::Colmena));
        all
    }

    /// What is left out.
    pub fn missing(&self) -> Vec<&'static str> {
        let rs = self.deploy_rs.is_none().then_some("deploy-rs");
        let colmena = self.colmena.is_none().then_some("colmena");
        rs.into_iter().chain(colmena).collect()
    }

    /// Puts them on the operator's machine.
    pub fn install(&self, site: &Site) -> anyhow::Result<()> {
        site.operator().run(&format!("mkdir -p {DIR}"))?;
        if let Some((deploy, activate)) = &self.deploy_rs {
            install(site, deploy, "/opt/bin/deploy")?;
            install(site, activate, &format!("{DIR}/activate"))?;
            put(site, "activatable.nix", ACTIVATABLE)?;
        }
        if let Some(colmena) = &self.colmena {
            install(site, colmena, "/opt/bin/colmena")?;
        }
        Ok(())
    }
}

impl Deployer {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssh => "`ssh HOST true`",
            Self::NixCopy => "`nix copy`",
            Self::Backstop => "backstop",
            Self::DeployRs => "deploy-rs",
            Self::DeployRsEach => "deploy-rs, 20 at once",
            Self::Colmena => "colmena",
        }
    }

    /// Whether its first deployment brings more to a host than a version.
    pub fn brings_program(self) -> bool {
        matches!(self, Self::Backstop | Self::DeployRsEach)
    }

    /// The same, for file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::NixCopy => "copy",
            Self::Backstop => "backstop",
            Self::DeployRs => "deploy-rs",
            Self::DeployRsEach => "deploy-rs-each",
            Self::Colmena => "colmena",
        }
    }

    /// Writes down what it needs to bring a version to hosts.
    pub fn prepare(self, site: &Site, version: &str, hosts: &[NixHost]) -> anyhow::Result<Task> {
        let names: Vec<&str> = hosts.iter().map(NixHost::name).collect();
        put(site, "hosts", &(names.join("\n") + "\n"))?;
        let each = format!("xargs -a {DIR}/hosts -P {TOGETHER} -I%");
        let mut task = Task {
            script: String::new(),
            there: Some(version.to_owned()),
            profile: Some(version.to_owned()),
        };
        task.script = match self {
            Self::Ssh => {
                (task.there, task.profile) = (None, None);
                format!("{each} ssh -o BatchMode=yes root@% true")
            }
            Self::NixCopy => {
                task.profile = None;
                format!("{each} nix copy --no-check-sigs --to ssh://root@% {version}")
            }
            Self::Backstop => {
                put(site, "fleet.toml", &fleet(version, &names, "")?)?;
                format!("cd {DIR} && exec backstop fleet deploy")
            }
            Self::DeployRs | Self::DeployRsEach => {
                let profile = activatable(site, version)?;
                put(site, "deploy/flake.nix", &flake(&profile, &names)?)?;
                task.profile = Some(profile);
                match self {
                    Self::DeployRs => format!("exec deploy -s path:{DIR}/deploy"),
                    _ => format!("{each} deploy -s path:{DIR}/deploy#%"),
                }
            }
            Self::Colmena => {
                put(site, "colmena/flake.nix", &hive(site, version, &names)?)?;
                format!(
                    "exec colmena -f {DIR}/colmena/flake.nix apply -v --parallel {TOGETHER} --no-substitute --no-gzip"
                )
            }
        };
        Ok(task)
    }
}

/// Describes the hosts to backstop, with further settings of all.
pub fn fleet(version: &str, names: &[&str], settings: &str) -> anyhow::Result<String> {
    let mut text = format!("[defaults]\ntarget_user = 'root'\ntrial = 'live'\n{settings}");
    for name in names {
        writeln!(text, "[hosts.{name}]\nstore_path = '{version}'")?;
    }
    Ok(text)
}

/// Describes the hosts to deploy-rs, with what it does by default, but for looking
/// for substituters that are not there.
fn flake(profile: &str, names: &[&str]) -> anyhow::Result<String> {
    let mut nodes = String::new();
    for name in names {
        writeln!(
            nodes,
            "{name} = {{ hostname = \"{name}\"; profiles.system.path = \"{profile}\"; }};"
        )?;
    }
    Ok(format!(
        "{{ outputs = {{ self }}: {{ deploy = {{ sshUser = \"root\"; user = \"root\"; \
         fastConnection = true; magicRollback = true; autoRollback = true; \
         nodes = {{ {nodes} }}; }}; }}; }}\n"
    ))
}

/// Describes the hosts to colmena, as its evaluator would.
fn hive(site: &Site, version: &str, names: &[&str]) -> anyhow::Result<String> {
    let query = format!("nix-store --query --deriver {version}");
    let derivation = site.operator().run(&query)?;
    let names = names.iter().fold(String::new(), |all, name| {
        format!("{all} {name} = \"{name}\";")
    });
    Ok(HIVE
        .replace("@names@", &names)
        .replace("@derivation@", derivation.trim()))
}

/// A hive with its evaluation behind it: no host needs nixpkgs any more.
const HIVE: &str = r#"{ outputs = { self }: { colmenaHive = rec {
  __schema = "v0.5";
  names = { @names@ };
  deployment = name: {
    targetHost = name; targetUser = "root"; targetPort = null; tags = [ ]; keys = { };
    allowLocalDeployment = false; buildOnTarget = false; replaceUnknownProfiles = true;
    privilegeEscalationCommand = [ ]; sshOptions = [ ];
  };
  nodes = builtins.mapAttrs (_: name: { config.deployment = deployment name; }) names;
  deploymentConfig = builtins.mapAttrs (_: deployment) names;
  chosen = some: builtins.intersectAttrs (builtins.listToAttrs (map (name: { inherit name; value = 0; }) some)) names;
  deploymentConfigSelected = some: builtins.mapAttrs (_: deployment) (chosen some);
  evalSelectedDrvPaths = some: builtins.mapAttrs (_: _: "@derivation@") (chosen some);
  metaConfig = { name = "hive"; description = ""; machinesFile = null; allowApplyAll = true; };
}; }; }
"#;

/// What deploy-rs brings to a host instead of a toplevel: one that holds its own
/// program for the host, too.
fn activatable(site: &Site, version: &str) -> anyhow::Result<String> {
    let built = site.operator().run(&format!(
        "nix-build --quiet --no-out-link {DIR}/activatable.nix --argstr toplevel {version}"
    ))?;
    Ok(built.trim().to_owned())
}

/// Its files do what those do that deploy-rs's library for NixOS makes.
const ACTIVATABLE: &str = r#"{ toplevel }:
let
  busybox = builtins.path { path = /testbed/busybox; name = "busybox"; };
  activate = builtins.path { path = /root/bench/activate; name = "deploy-rs-program"; };
in
derivation {
  name = "activatable-nixos-system";
  system = builtins.currentSystem;
  builder = "${busybox}/bin/sh";
  toplevel = builtins.storePath toplevel;
  PATH = "${busybox}/bin";
  args = [ "-euc" ''
    mkdir "$out"
    ln -s "$toplevel"/* "$out/"
    cat >"$out/deploy-rs-activate" <<'END'
    #!${busybox}/bin/sh
    set -e
    switch() { "$PROFILE/bin/switch-to-configuration" "$1"; }
    if [ "$DRY_ACTIVATE" = 1 ]; then switch dry-activate
    elif [ "$BOOT" = 1 ]; then switch boot
    else cd /tmp; switch switch
    fi
    END
    cat >"$out/activate-rs" <<'END'
    #!${busybox}/bin/sh
    exec ${activate} "$@"
    END
    chmod 755 "$out/deploy-rs-activate" "$out/activate-rs"
  '' ];
}
"#;

/// Writes a file on the operator's machine.
pub fn put(site: &Site, name: &str, text: &str) -> anyhow::Result<()> {
    let path = inside(site, &format!("{DIR}/{name}"));
    let open = || {
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        file.write_all(text.as_bytes())
    };
    open().with_context(|| format!("cannot write {}", path.display()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program that nobody needs later"
)]
fn install(site: &Site, from: &Path, to: &str) -> anyhow::Result<()> {
    let to = inside(site, to);
    std::fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn inside(site: &Site, path: &str) -> PathBuf {
    site.operator().root().join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_left_out() {
        let mut programs = Programs {
            backstop: "/b".into(),
            deploy_rs: None,
            colmena: Some("/c".into()),
        };
        assert_eq!(programs.missing(), ["deploy-rs"]);
        assert!(!programs.deployers().contains(&Deployer::DeployRs));
        programs.deploy_rs = Some(("/d".into(), "/a".into()));
        assert_eq!(programs.missing(), [""; 0]);
        assert_eq!(programs.deployers().len(), 6);
    }

    #[test]
    fn hosts_are_described() {
        let toml = fleet("/nix/store/x", &["a", "b"], "").unwrap();
        assert_eq!(toml.matches("store_path = '/nix/store/x'").count(), 2);
        let nix = flake("/nix/store/y", &["a", "b"]).unwrap();
        assert!(
            nix.contains("b = { hostname = \"b\"; profiles.system.path = \"/nix/store/y\"; };")
        );
    }
}
