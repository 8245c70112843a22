//! The demonstration: four upgrades of a host that lives in a directory, or in a
//! virtual machine.
//!
//! Nothing here is a mock of the product: the repository, the deployments, the
//! boot choice, the transaction and the checks are the product's own, called by
//! the same commands that a person types. What is simulated is the hardware:
//! [`image::Directory`] plays power supply and firmware.

mod availability;
pub mod directory;
mod error;
pub mod narrator;
pub mod shop;
pub mod tree;
pub mod vm;

pub use directory::{DirectoryDemo, remove};
pub use error::{Error, Result};
pub use narrator::Narrator;
pub use vm::VmDemo;
