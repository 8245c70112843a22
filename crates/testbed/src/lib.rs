//! Real machines for tests and the demonstration.
//!
//! - [`debian`] builds a small Debian root from the machine's own package mirror and caches it.
//! - [`Fixture`] makes versions of it, good and bad, and hosts.
//! - [`Toolbox`] has the programs of a release that put them on disks.
//! - [`Machine`] boots a disk image in QEMU and follows it over its reboots.
//! - [`Container`] boots a deployment with `systemd-nspawn`.
//! - [`nixos`] makes hosts that imitate NixOS, on a network of their own.
//! - [`packages`] says which Debian packages this needs, and installs them.
//!
//! Nothing here has to survive a crash: it makes throw-away machines.
#![allow(
    clippy::disallowed_methods,
    reason = "makes throw-away files; nothing here has to survive a crash"
)]

pub mod cache;
pub mod console;
pub mod debian;
mod error;
pub mod fixture;
mod initramfs;
pub mod kvm;
pub mod machine;
pub mod nixos;
pub mod nspawn;
pub mod packages;
pub mod program;

mod qemu;
pub mod recording;
mod release;
pub mod sources;
mod ssh;
mod toolbox;
pub mod versions;

pub use console::Console;
pub use error::{Error, Result};
pub use fixture::Fixture;
pub use machine::{End, Firmware, Machine, MachineOptions};
pub use nspawn::{Container, ContainerBoot};
pub use release::Release;
pub use ssh::Ssh;
pub use toolbox::Toolbox;
