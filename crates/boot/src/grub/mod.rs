//! GRUB scripts that follow the rule of [`decide`](crate::decide::decide).
//!
//! `grub.cfg` is static: it finds the filesystems, reads the state sector and
//! sources `loader/backstop.cfg`. That one is published together with the boot
//! entries, by one rename of the `loader` symlink, and holds the decision.
//!
//! GRUB's script has no arithmetic, so the count is an if/elif chain; and it
//! replays no journal, so what it reads must be checkpointed on the disk.

mod published;
mod quote;
mod static_config;

pub use published::{PublishedFile, published_config, published_files};
pub use static_config::{
    StatePlace, StaticConfig, StaticConfigError, is_static_config, static_config,
};

/// The published script's name, beside the boot entries' directory.
pub const PUBLISHED_NAME: &str = "backstop.cfg";
/// The list of the trial's digests, beside the script.
pub const DIGESTS_NAME: &str = "trial.sha256";
/// An empty list: checking it shows whether `hashsum` knows SHA-256.
pub const EMPTY_DIGESTS_NAME: &str = "none.sha256";

/// The GRUB modules that the scripts need, besides those for the disk and its
/// partitions and filesystems. `hashsum` and `gcry_sha256` may be missing.
pub const MODULES: &[&str] = &[
    "normal",
    "linux",
    "boot",
    "configfile",
    "loadenv",
    "test",
    "echo",
    "serial",
    "terminal",
    "search",
    "search_fs_uuid",
    "sleep",
    "reboot",
    "true",
    "hashsum",
    "gcry_sha256",
];
