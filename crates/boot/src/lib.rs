//! Boot entries, the state sector, and the rule that decides which entry boots
//! next.
//!
//! Everything here is pure: bytes and values in, bytes and values out. The
//! `sysroot` crate puts the results on a disk.
//!
//! | module | holds |
//! | --- | --- |
//! | [`kargs`] | kernel arguments, and the image's defaults for them |
//! | [`bls`] | boot entry files, as `ostree admin` reads them |
//! | [`sector`] | the 512 bytes in which a bootloader counts attempts |
//! | [`config`] | a published boot configuration: entries and a trial |
//! | [`decide`](mod@decide) | the rule: which entry boots, and what the sector says then |
//! | [`grub`] | GRUB scripts that follow the rule |
//! | [`systemd_boot`] | the files and the variable that systemd-boot goes by |

pub mod bls;
pub mod config;
pub mod decide;
pub mod grub;
pub mod kargs;
pub mod sector;
pub mod systemd_boot;

pub use bls::BlsEntry;
pub use config::{BootConfig, ConfigError, ConfigId, Entry, FileDigest, Trial};
pub use decide::{Choice, Decision, decide, trial_did_not_load};
pub use kargs::{KargsError, KernelArgs};
pub use sector::{LoadFailure, SectorError, StateSector};
