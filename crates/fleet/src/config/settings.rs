//! What can be set for a host, with a tag, or for all.
//!
//! One table gives the struct, the cascade and the JSON schema, so that they
//! can't disagree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use health::Span;
use serde::Deserialize;

use super::key::Key;
use super::probe::ProbeTable;

/// What a setting's value looks like, for the JSON schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Any text.
    Text,
    /// A path, an address, a name: a text.
    Texts,
    /// `true` or `false`.
    Flag,
    /// A whole number in this range.
    Number(u64, u64),
    /// A length of time: `"90s"`, `"5m"`, or seconds.
    Time,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A path for each kind of processor.
    Paths,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name in `fleet.toml`.
    pub name: &'static str,
    /// Its other names, as it is called elsewhere.
    pub aliases: &'static [&'static str],
    /// What its value looks like.
    pub shape: Shape,
    /// What it means.
    pub doc: &'static str,
}

macro_rules! settings {
    ($( $name:ident $(| $alias:literal)* : $ty:ty = $shape:expr, $doc:literal; )*) => {
        /// What can be set for a host, with a tag, or for all. What is absent is
        /// taken from the next level, and at last from the usual values.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Settings {
            $(
                #[doc = $doc]
                $(#[serde(alias = $alias)])*
                pub $name: Option<$ty>,
            )*
            /// Checks made from the deployer's machine, by name.
            #[serde(default)]
            pub checks: BTreeMap<String, ProbeTable>,
            /// Secrets, by name.
            #[serde(default)]
            pub keys: BTreeMap<String, Key>,
        }

        impl Settings {
            /// These settings, and `under`'s where these say nothing. Checks and
            /// keys of both count; of the same name, these.
            #[must_use]
            pub fn over(mut self, under: &Self) -> Self {
                $( self.$name = self.$name.take().or_else(|| under.$name.clone()); )*
                for (name, check) in &under.checks {
                    self.checks.entry(name.clone()).or_insert_with(|| check.clone());
                }
                for (name, key) in &under.keys {
                    self.keys.entry(name.clone()).or_insert_with(|| key.clone());
                }
                self
            }
        }

        /// All settings but `checks` and `keys`, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[
            $( Setting {
                name: stringify!($name),
                aliases: &[$($alias),*],
                shape: $shape,
                doc: $doc,
            }, )*
        ];
    };
}

settings! {
    target_host | "targetHost" | "hostname": String = Shape::Text, "Where to connect to: a name, an address, or a `Host` of your ssh configuration. Usually the host's own name.";
    target_port | "targetPort": u16 = Shape::Number(1, 65535), "The port of its sshd.";
    target_user | "targetUser" | "sshUser": String = Shape::Text, "Who to log in as. Usually as your ssh configuration says.";
    ssh_options | "sshOptions" | "sshOpts": Vec<String> = Shape::Texts, "More options for `ssh`, as words of its command line.";
    tags: Vec<String> = Shape::Texts, "The host's tags, for `@tag` selections and `[tags.…]` settings. Of two tags that set the same, the first counts.";
    kind: Kind = Shape::OneOf(&["image", "nix"]), "What the host runs. Usually told by where its version comes from.";
    store_path | "storePath": String = Shape::Text, "The version: a Nix toplevel that is in this machine's store.";
    flake: String = Shape::Text, "The version: a flake, whose `nixosConfigurations` has the host's name; or `FLAKE#NAME`.";
    image: String = Shape::Text, "The version: `REPOSITORY:REF`, a repository on this machine and a ref or commit in it.";
    fetch: String = Shape::Text, "The version: `REPOSITORY:REF` as the host itself sees it; the host fetches it.";
    build_on_target | "buildOnTarget" | "remoteBuild": bool = Shape::Flag, "Build the closure on the host instead of here.";
    substitute_on_destination | "substituteOnDestination": bool = Shape::Flag, "Let the host fetch from its own substituters first.";
    copy_with | "copyWith": CopyWith = Shape::OneOf(&["stream", "nix-copy"]), "How a closure gets there: `stream` (an export through the open connection), or `nix-copy` (`nix copy`, which brings signatures along).";
    sudo: bool = Shape::Flag, "Become root by sudo, unless the login is root's already. Usually true.";
    sysroot: PathBuf = Shape::Text, "The host's sysroot, where it is not `/`.";
    program: BTreeMap<String, PathBuf> = Shape::Paths, "The backstop to bring along, for each kind of processor: `{ x86_64 = \"…\" }`. Usually this program itself, if it is linked statically.";
    program_dir | "programDir": PathBuf = Shape::Text, "Where on the host it is put. Usually /var/lib/backstop/bin.";
    trial: Trial = Shape::OneOf(&["live", "boot", "policy"]), "How the version is tried: `live`, `boot`, or as the host's policy says.";
    confirm: bool = Shape::Flag, "Keep it only once this machine has got through to it over a new connection. Usually true.";
    attempts: u8 = Shape::Number(1, 9), "A boot trial: how often the version may be booted.";
    connect_timeout | "connectTimeout": Span = Shape::Time, "How long opening a connection may take.";
    upload_timeout | "uploadTimeout": Span = Shape::Time, "How long bringing backstop along may take.";
    build_timeout | "buildTimeout": Span = Shape::Time, "How long evaluating and building may take.";
    copy_timeout | "copyTimeout": Span = Shape::Time, "How long copying a version may take.";
    key_timeout | "keyTimeout": Span = Shape::Time, "How long the command of a secret, and bringing it there, may take.";
    stage_timeout | "stageTimeout": Span = Shape::Time, "How long staging and preflight may take on the host.";
    activation_timeout | "activationTimeout": Span = Shape::Time, "How long a live activation and its checks may take.";
    boot_timeout | "bootTimeout": Span = Shape::Time, "How long a boot of the new version, and its checks, may take.";
    reconnect_timeout | "reconnectTimeout": Span = Shape::Time, "How long a new connection may be tried for after a live activation.";
    confirm_timeout | "confirmTimeout": Span = Shape::Time, "How long the host waits for confirmation once it is healthy.";
    settle_timeout | "settleTimeout": Span = Shape::Time, "How long keeping or going back may take.";
}

/// What a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// OSTree-format deployments.
    Image,
    /// NixOS closures.
    Nix,
}

/// How a closure gets to a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CopyWith {
    /// An export of what is missing, through the open connection.
    #[default]
    Stream,
    /// `nix copy`, over the open connection.
    NixCopy,
}

/// How a version is tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// In the running system.
    Live,
    /// By booting into it.
    Boot,
    /// As the host's policy says.
    #[default]
    Policy,
}
