//! Deployments of an OSTree-format host.
//!
//! A [`Sysroot`] is what lies below a host's physical root: a repository, the
//! versions that are checked out from it, and the boot files. The layout is the
//! one that `ostree admin` reads and writes, so that either can take over from
//! the other; `docs/formats/sysroot.md` describes it.
//!
//! A version comes to a host in two steps that can be cut off anywhere:
//! [`Sysroot::stage`] checks it out and merges `/etc`; [`Sysroot::publish`] puts
//! it in the boot order, or on trial, by one rename.

mod adoption;
mod boot_dir;
mod bootloader;
mod cleanup;
mod debug;
mod deployment;
mod entries;
mod error;
mod esp;
pub mod etc;
mod follower;
mod kernel;
mod keyfile;
mod layout;
mod local_kargs;
mod order;
mod origin;
mod plain;
mod planned;
mod publish;
mod remerge;
mod simulate;
mod stage;
mod state;
mod sysroot;

pub use adoption::{Adoption, AdoptionStep, kept_config};
pub use boot::KernelArgs;
pub use cleanup::CleanupReport;
pub use deployment::{Deployment, DeploymentId, NotADeployment, Standing, is_stateroot_name};
pub use error::{Error, Result};
pub use etc::{EtcConflict, EtcReport, EtcTrees};
pub use layout::Layout;
pub use local_kargs::KargsSources;
pub use order::{BootOrder, Published, TrialEntry};
pub use origin::Origin;
pub use plain::{PlainOrder, PlainSwitch};
pub use simulate::SimulatedBoot;
pub use stage::{StageKargs, StageRequest, Staged};
pub use state::{BootSettings, Loader};
pub use sysroot::Sysroot;
