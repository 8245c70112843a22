//! Unattended upgrades: what a host may do by itself, and when.

mod file;
mod go_ahead;
mod policy;
mod window;

pub use file::PolicyError;
pub use go_ahead::go_ahead;
pub use policy::{Answer, Policy, Reboot, Upgrade, may_reboot};
pub use window::{BadWindow, Window};
