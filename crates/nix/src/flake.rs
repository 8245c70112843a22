//! Building a version from a flake, and where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use monitor::Monitor;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::NixHost;
use crate::config::Config;
use crate::error::{Error, Result, file};
use crate::layout::Layout;
use crate::program::{self, ask};
use crate::roots::Roots;
use crate::store::StorePath;

/// A host in a flake: `FLAKE#HOST`, as `nixos-rebuild --flake` takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlakeHost {
    /// The flake: a directory, a URL.
    pub flake: String,
    /// The attribute that is the version.
    attribute: String,
}

/// A version that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The version.
    pub path: StorePath,
    /// What is known of where it came from: `flake`, `revision`, `lock`, and so on.
    pub provenance: BTreeMap<String, String>,
}

/// How to build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// Further arguments of `nix build`, such as `--refresh`.
    pub flags: Vec<String>,
    /// The link to what was built; without it, one that protects it.
    pub out_link: Option<PathBuf>,
}

impl FlakeHost {
    /// Reads `FLAKE#HOST`; without a host, it is this machine's name. A host that is
    /// a whole attribute path, such as `packages.x86_64-linux.web`, is taken as it
    /// is.
    #[must_use]
    pub fn parse(text: &str, this_host: &str) -> Self {
        let (flake, host) = text.split_once('#').unwrap_or((text, ""));
        let host = if host.is_empty() { this_host } else { host };
        let attribute = if host.contains('.') && !host.contains('"') {
            host.to_owned()
        } else {
            let name = host.trim_matches('"');
            format!("nixosConfigurations.\"{name}\".config.system.build.toplevel")
        };
        // Commands run in `/`.
        let flake = match flake {
            "" | "." => std::env::current_dir().map_or_else(|_| flake.to_owned(), text_of),
            path if path.starts_with("./") || path.starts_with("../") => {
                std::fs::canonicalize(path).map_or_else(|_| path.to_owned(), text_of)
            }
            other => other.to_owned(),
        };
        Self { flake, attribute }
    }
}

fn text_of(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}

impl std::fmt::Display for FlakeHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}#{}", self.flake, self.attribute)
    }
}

impl NixHost {
    /// Builds a flake's version in this host's store.
    ///
    /// # Errors
    /// It can't be built.
    pub fn build(
        &self,
        flake: &FlakeHost,
        options: &BuildOptions,
        monitor: &dyn Monitor,
    ) -> Result<Built> {
        let out = options.out_link.clone();
        let out = match out {
            Some(out) => out,
            None => {
                durable::create_dir_all(&*self.fs, &self.layout.roots(), 0o755)?;
                Roots::built(&self.layout)
            }
        };
        monitor.note(&format!("building {flake}"));
        let log = out.with_extension("log");
        let log = if options.out_link.is_some() {
            log
        } else {
            self.log("build")?
        };
        build(&self.layout, &self.config, flake, options, &out, &log)
    }

    /// The version that a path follows: a link in a directory, a generation, or the
    /// path of one.
    ///
    /// # Errors
    /// It leads to none.
    pub fn follow(&self, path: &Path) -> Result<StorePath> {
        StorePath::resolve(&self.layout, path)
    }
}

fn build(
    layout: &Layout,
    config: &Config,
    flake: &FlakeHost,
    options: &BuildOptions,
    out: &Path,
    log: &Path,
) -> Result<Built> {
    let mut command = program::nix(layout, &["build", "--out-link"]);
    command.arg(out).args(&options.flags).arg(flake.to_string());
    let doing = format!("build {flake}");
    program::run(&doing, command, log, config.build_timeout)?;
    let found = std::fs::read_link(out).map_err(file("follow", out))?;
    let path = StorePath::parse(layout, &found.to_string_lossy())?;
    let mut command = program::nix(layout, &["flake", "metadata", "--json"]);
    command.arg(&flake.flake);
    let metadata = ask(
        "ask where the flake came from",
        command,
        config.command_timeout,
    )?;
    let mut provenance = provenance(&metadata)?;
    provenance.insert("attribute".to_owned(), flake.attribute.clone());
    Ok(Built { path, provenance })
}

/// What `nix flake metadata --json` says of a flake's source.
///
/// # Errors
/// It is no JSON.
pub fn provenance(metadata: &str) -> Result<BTreeMap<String, String>> {
    let metadata: Value = serde_json::from_str(metadata).map_err(|e| Error::Garbled {
        program: "nix flake metadata",
        why: e.to_string(),
    })?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let locked = &metadata["locked"];
    let facts = [
        (
            "flake",
            text(&metadata["url"])
                .or(text(&metadata["resolvedUrl"]))
                .map(|url| without_login(&url)),
        ),
        (
            "revision",
            text(&metadata["revision"]).or(text(&locked["rev"])),
        ),
        ("source", text(&locked["narHash"])),
        ("lock", metadata.get("locks").and_then(digest)),
        (
            "modified",
            metadata["lastModified"].as_u64().map(|t| t.to_string()),
        ),
    ];
    let known = facts
        .into_iter()
        .filter_map(|(name, fact)| Some((name.to_owned(), fact?)));
    Ok(known.collect())
}

/// A URL without who logs in there, and with what.
fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let host_ends = rest.find(['/', '?']).unwrap_or(rest.len());
    let host = rest[..host_ends].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}", &rest[host..])
}

/// One digest for all inputs of a lock: each input's own hash says what it is, so
/// that of the lock is the digest of their list.
fn digest(locks: &Value) -> Option<String> {
    let nodes = locks.get("nodes")?.as_object()?;
    let mut inputs: Vec<String> = nodes
        .iter()
        .filter_map(|(name, node)| {
            let hash = node.get("locked")?.get("narHash")?.as_str()?;
            Some(format!("{name}={hash}"))
        })
        .collect();
    inputs.sort();
    let list = inputs.join("\n");
    let hex = data_encoding::HEXLOWER.encode(&Sha256::digest(list));
    (!inputs.is_empty()).then(|| format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_named_as_for_nixos_rebuild() {
        let table = [
            (
                "github:me/fleet#web",
                "github:me/fleet#nixosConfigurations.\"web\".config.system.build.toplevel",
            ),
            (
                "github:me/fleet",
                "github:me/fleet#nixosConfigurations.\"here\".config.system.build.toplevel",
            ),
            (
                "/etc/nixos#\"web.example\"",
                "/etc/nixos#nixosConfigurations.\"web.example\".config.system.build.toplevel",
            ),
            (
                "/etc/nixos#packages.x86_64-linux.web",
                "/etc/nixos#packages.x86_64-linux.web",
            ),
        ];
        for (text, full) in table {
            assert_eq!(FlakeHost::parse(text, "here").to_string(), full);
        }
    }

    #[test]
    fn where_a_version_came_from() {
        let metadata = r#"{
            "url": "git+file:///srv/conf?rev=abc", "revision": "abc", "lastModified": 7,
            "locked": {"narHash": "sha256-x", "rev": "abc"},
            "locks": {"nodes": {"root": {}, "nixpkgs": {"locked": {"narHash": "sha256-y"}}}}
        }"#;
        let found = provenance(metadata).unwrap();
        let lock = format!(
            "sha256:{}",
            data_encoding::HEXLOWER.encode(&Sha256::digest("nixpkgs=sha256-y"))
        );
        let found: Vec<_> = found
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        let expected = [
            ("flake", "git+file:///srv/conf?rev=abc"),
            ("lock", lock.as_str()),
            ("modified", "7"),
            ("revision", "abc"),
            ("source", "sha256-x"),
        ];
        assert_eq!(found, expected);
        assert!(provenance("no").is_err());
        for (url, plain) in [
            (
                "git+https://me:token@x.org/a@b?rev=1",
                "git+https://x.org/a@b?rev=1",
            ),
            ("path:/srv/a@b", "path:/srv/a@b"),
            ("https://x.org", "https://x.org"),
        ] {
            assert_eq!(without_login(url), plain);
        }
    }
}
