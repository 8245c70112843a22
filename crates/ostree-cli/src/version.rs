//! What `--version` prints.

/// The version whose command line is spoken, and what of it is there. It is YAML.
pub const TEXT: &str = concat!(
    "libostree:\n Version: '2022.7'\n Features:\n",
    "  - libcurl\n",
    "  - gpgme\n",
    "  - libarchive\n",
    "  - sign-ed25519\n",
    "  - release\n",
    "backstop:\n Version: '",
    env!("CARGO_PKG_VERSION"),
    "'\n",
);

/// How `ostree` of that version introduces itself to servers, some of which let nobody
/// else in.
pub const AGENT: &str = "libostree/2022.7";
