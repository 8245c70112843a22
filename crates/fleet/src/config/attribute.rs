//! The attribute of a flake that is a host's version.

use std::fmt;

/// What leads from a configuration to its version.
const TOPLEVEL: &str = ".config.system.build.toplevel";
/// How the attribute begins where only a host was named.
const CONFIGURATIONS: &str = "nixosConfigurations.";
/// How it ends where deploy-rs's own attribute is all that names the version.
const NODE: &str = ".profiles.system.path";

/// The attribute of a flake that is a host's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute(String);

impl Attribute {
    /// The version of a configuration.
    #[must_use]
    pub fn of(configuration: &str) -> Self {
        let name = configuration.trim_matches('"');
        Self(format!("{CONFIGURATIONS}\"{name}\"{TOPLEVEL}"))
    }

    /// Reads what stands after a flake's `#`: the name of a configuration, or with
    /// dots that are not in quotes, the whole attribute.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let outside: String = text.split('"').step_by(2).collect();
        if outside.contains('.') {
            return Self(text.to_owned());
        }
        Self::of(text)
    }

    /// The attribute in full.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.0
    }

    /// The attribute of an option of the same configuration.
    #[must_use]
    pub fn option(&self, option: &str) -> Option<String> {
        let system = self.0.strip_suffix(TOPLEVEL)?;
        Some(format!("{system}.config.{option}"))
    }

    /// Whether it is deploy-rs's wrapper around a version.
    #[must_use]
    pub fn is_wrapper(&self) -> bool {
        self.0.ends_with(NODE)
    }
}

/// As short as people name it.
impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.strip_prefix(CONFIGURATIONS);
        let name = name.and_then(|rest| rest.strip_suffix(TOPLEVEL));
        f.write_str(name.map_or(&self.0, |name| name.trim_matches('"')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_attributes() {
        let table = [
            (
                "web",
                "nixosConfigurations.\"web\".config.system.build.toplevel",
                "web",
                Some("nixosConfigurations.\"web\".config.a.b"),
            ),
            (
                "\"web.example\"",
                "nixosConfigurations.\"web.example\".config.system.build.toplevel",
                "web.example",
                Some("nixosConfigurations.\"web.example\".config.a.b"),
            ),
            (
                "colmenaHive.nodes.\"w.x\".config.system.build.toplevel",
                "colmenaHive.nodes.\"w.x\".config.system.build.toplevel",
                "colmenaHive.nodes.\"w.x\".config.system.build.toplevel",
                Some("colmenaHive.nodes.\"w.x\".config.a.b"),
            ),
            (
                "packages.x86_64-linux.web",
                "packages.x86_64-linux.web",
                "packages.x86_64-linux.web",
                None,
            ),
        ];
        for (text, path, short, option) in table {
            let attribute = Attribute::parse(text);
            assert_eq!(attribute.path(), path);
            assert_eq!(attribute.to_string(), short);
            assert_eq!(attribute.option("a.b").as_deref(), option);
            assert!(!attribute.is_wrapper());
        }
        assert!(Attribute::parse("deploy.nodes.\"w\".profiles.system.path").is_wrapper());
    }
}
