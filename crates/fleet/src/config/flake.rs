//! Hosts from a flake's `nixosConfigurations`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::settings::Settings;
use crate::local;
use crate::{Error, Result};

/// Reading every host's settings may take this long.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What is read of each configuration: the `deployment` settings as far as they
/// are about deploying, whichever module defines them.
const APPLY: &str = r"
configurations: builtins.mapAttrs (name: system:
  let
    config = system.config or { };
    deployment = config.backstop.deployment or config.deployment or system.deployment or { };
    known = [
      KNOWN
    ];
    key = name: value: builtins.removeAttrs value [ ]
      // (if value ? text && value.text != null then throw ''key ${name}: `text` would be in the store; use keyFile, keyCommand or env'' else { });
    wanted = builtins.filter (n: deployment ? ${n} && deployment.${n} != null) known;
    plain = builtins.listToAttrs (map (n: { name = n; value = deployment.${n}; }) wanted);
    trim = builtins.mapAttrs (n: value:
      let checked = key n value; in
      builtins.listToAttrs (map (a: { name = a; value = checked.${a}; })
        (builtins.filter (a: checked ? ${a} && checked.${a} != null)
          [ KEYS ])));
  in plain // (if deployment ? keys then { keys = trim deployment.keys; } else { })
) configurations
";

/// The attributes of a key that are read.
const KEY_ATTRIBUTES: &[&str] = &[
    "file",
    "keyFile",
    "command",
    "keyCommand",
    "env",
    "dir",
    "destDir",
    "name",
    "owner",
    "user",
    "group",
    "mode",
    "permissions",
    "when",
    "uploadAt",
    "persistent",
];

/// The settings of each host of a flake: `config.deployment` of its
/// `nixosConfigurations`, or nothing but the name.
///
/// # Errors
/// It can't be evaluated, or a setting is none.
pub fn from_flake(flake: &str) -> Result<BTreeMap<String, Settings>> {
    let words = [
        "eval",
        "--json",
        &format!("{flake}#nixosConfigurations"),
        "--apply",
        &expression(),
    ];
    let json = local::nix("read the hosts of the flake", &words, PATIENCE)?;
    parse(&json).map_err(|why| Error::Description {
        path: flake.into(),
        why,
    })
}

fn expression() -> String {
    let quoted = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|n| format!("\"{n}\"")).collect();
        names.join(" ")
    };
    let mut known = vec!["checks"];
    for setting in super::settings::SETTINGS {
        known.push(setting.name);
        known.extend(setting.aliases);
    }
    APPLY
        .replace("KNOWN", &quoted(&known))
        .replace("KEYS", &quoted(KEY_ATTRIBUTES))
}

fn parse(json: &str) -> std::result::Result<BTreeMap<String, Settings>, String> {
    let raw: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|e| e.to_string())?;
    raw.into_iter()
        .map(|(name, value)| {
            let settings = serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))?;
            Ok((name, settings))
        })
        .collect()
}

/// A flake's name that means the same wherever it is used: a relative path is
/// made absolute.
pub(super) fn absolute(flake: &str, dir: &Path) -> String {
    let (path, rest) = match flake.find(['#', '?']) {
        Some(at) => flake.split_at(at),
        None => (flake, ""),
    };
    if path != "." && path != ".." && !path.starts_with("./") && !path.starts_with("../") {
        return flake.to_owned();
    }
    let joined = dir.join(path);
    let joined = std::fs::canonicalize(&joined).unwrap_or(joined);
    format!("{}{rest}", joined.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flakes_names_are_read() {
        let json = r#"{
            "plain": {},
            "web": {
                "targetHost": "10.0.0.1", "targetPort": 2222, "targetUser": "deploy",
                "tags": ["web"], "buildOnTarget": true, "confirmTimeout": 30,
                "keys": {"tls": {"keyCommand": ["pass", "tls"], "user": "nginx",
                         "permissions": "0400", "uploadAt": "pre-activation"}}
            }}"#;
        let hosts = parse(json).unwrap();
        assert_eq!(hosts["plain"], Settings::default());
        let web = &hosts["web"];
        assert_eq!(web.target_host.as_deref(), Some("10.0.0.1"));
        assert_eq!(web.build_on_target, Some(true));
        assert_eq!(web.keys["tls"].owner, "nginx");
        assert!(parse(r#"{"a": {"nonsense": 1}}"#).is_err());
    }

    #[test]
    fn only_relative_paths_become_absolute() {
        let dir = Path::new("/nonexistent");
        for (flake, expected) in [
            (".", "/nonexistent/."),
            ("./sub#x", "/nonexistent/./sub#x"),
            ("github:a/b", "github:a/b"),
            ("/abs", "/abs"),
            ("path:/x", "path:/x"),
        ] {
            assert_eq!(absolute(flake, dir), expected);
        }
    }
}
