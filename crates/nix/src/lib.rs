//! Nix hosts: the engine's [`Host`](engine::Host) over a Nix store, the system
//! profile and a toplevel's own `switch-to-configuration`.
//!
//! | module | holds |
//! | --- | --- |
//! | [`host`] | [`NixHost`]: each effect of a transaction |
//! | [`switch`] | running `switch-to-configuration`, and what its end means |
//! | [`store`] | paths: valid, complete, signed, copied |
//! | [`profile`] | the system profile and its generations |
//! | [`loader`] | booting a version once, with systemd-boot or GRUB |
//! | [`flake`] | building a version, and where it came from |

mod activation;
mod checks;
mod config;
mod container;
mod error;
pub mod flake;
pub mod host;
mod layout;
pub mod loader;
mod overview;
mod plan;
pub mod profile;
mod program;
mod rehearsal;
mod roots;
pub mod store;
pub mod switch;

pub use config::{BadConfig, Config, ContainerConfig, ContainerStart, Shown};
pub use error::{Error, Result};
pub use host::NixHost;
pub use layout::Layout;
pub use overview::{Generation, Overview};
pub use plan::Plan;
pub use program::Ended;
pub use rehearsal::Rehearsal;
pub use store::StorePath;
