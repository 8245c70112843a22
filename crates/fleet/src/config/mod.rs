//! The fleet's description: `fleet.toml`, or a flake.

mod attribute;
mod file;
mod flake;
mod host;
mod key;
mod probe;
mod rollout;
mod schema;
mod settings;

pub use attribute::Attribute;
pub use file::Description;
pub use flake::from_flake;
pub use host::{Address, Bounds, Copying, Host, ImageRef, Source};
pub use key::{Key, KeySource, When};
pub use probe::ProbeTable;
pub use rollout::{OnFailure, Parallel, RolloutTable};
pub use schema::schema;
pub use settings::{CopyWith, Kind, SETTINGS, Setting, Settings, Shape, Trial};
