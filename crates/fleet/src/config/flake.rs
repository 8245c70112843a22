//! Hosts from a flake.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::settings::Settings;
use crate::local;
use crate::{Error, Result};

/// Reading every host's settings may take this long.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What is read of a flake: its hosts by whichever output names them, and of each
/// what is about deploying, whichever module defines it.
const EXPRESSION: &str = include_str!("flake.nix");

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

/// A host as a flake describes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct FlakeHost {
    /// The attribute that is its version.
    attribute: String,
    settings: Settings,
}

/// The settings of each host of a flake: those of its `nixosConfigurations`, of
/// colmena's hive, of deploy-rs's nodes.
///
/// # Errors
/// It can't be evaluated, or a setting is none.
pub fn from_flake(flake: &str) -> Result<BTreeMap<String, Settings>> {
    // All that the expression reads is the flake, but a flake is not always locked.
    let words = ["eval", "--json", "--impure", "--expr", &expression(flake)];
    let json = local::nix("read the hosts of the flake", &words, PATIENCE)?;
    parse(flake, &json).map_err(|why| Error::Description {
        path: flake.into(),
        why,
    })
}

fn expression(flake: &str) -> String {
    let quoted = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|n| format!("\"{n}\"")).collect();
        names.join(" ")
    };
    let mut known = vec!["checks"];
    for setting in super::settings::SETTINGS {
        known.push(setting.name);
        known.extend(setting.aliases);
    }
    let expression = EXPRESSION
        .replace("KNOWN", &quoted(&known))
        .replace("KEYS", &quoted(KEY_ATTRIBUTES));
    format!(
        "let flake = builtins.getFlake {}; in\n{expression}",
        nix_string(flake)
    )
}

/// A text as Nix writes it.
fn nix_string(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace("${", "\\${"))
}

fn parse(flake: &str, json: &str) -> std::result::Result<BTreeMap<String, Settings>, String> {
    let raw: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(json).map_err(|e| e.to_string())?;
    raw.into_iter()
        .map(|(name, value)| {
            let host: FlakeHost =
                serde_json::from_value(value).map_err(|e| format!("{name}: {e}"))?;
            let mut settings = host.settings;
            let own = format!("{flake}#{}", host.attribute);
            settings.flake.get_or_insert(own);
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
            "plain": {"attribute": "colmenaHive.x", "settings": {}},
            "web": {"attribute": "y", "settings": {
                "targetHost": "10.0.0.1", "targetPort": 2222, "targetUser": "deploy",
                "tags": ["web"], "buildOnTarget": true, "confirmTimeout": 30,
                "keys": {"tls": {"keyCommand": ["pass", "tls"], "user": "nginx",
                         "permissions": "0400", "uploadAt": "pre-activation"}}
            }}}"#;
        let hosts = parse("/f", json).unwrap();
        let flake = Some("/f#colmenaHive.x".to_owned());
        let plain = Settings {
            flake,
            ..Settings::default()
        };
        assert_eq!(hosts["plain"], plain);
        let web = &hosts["web"];
        assert_eq!(web.target_host.as_deref(), Some("10.0.0.1"));
        assert_eq!(web.build_on_target, Some(true));
        assert_eq!(web.keys["tls"].owner, "nginx");
        assert!(parse("/f", r#"{"a": {"nonsense": 1}}"#).is_err());
        assert_eq!(nix_string(r#"a"\${b}"#), r#""a\"\\\${b}""#);
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
