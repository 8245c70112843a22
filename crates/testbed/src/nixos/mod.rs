//! Hosts that imitate NixOS, with a real `/nix`, real systemd and a real sshd.
//!
//! - [`Site`] is a network with hosts on it, and an operator's machine that
//!   builds [`Toplevel`]s and reaches the others by ssh.
//! - [`NixHost`] is one of them: a container whose root, `/etc`, `/nix` and
//!   network are its own. Its programs are those of the machine that runs the
//!   test. It boots what its boot loader's configuration names as the default,
//!   and does so again after each reboot and power cut.
//! - [`NixMachine`] is a host that is a virtual machine: with a kernel, firmware and a
//!   boot loader of its own (systemd-boot or GRUB), and Debian's systemd, sshd and Nix.
//! - [`Toplevel`] says what a version is like, and what is wrong with it.
//!
//! The imitated system is in `system/`: `switch-to-configuration` with NixOS's
//! actions, lock, lists and exit codes, managing real units.

mod clock;
mod disk;
mod firmware;
mod flake;
mod host;
mod machine;
mod root;
mod site;
mod switch;
mod toplevel;
mod units;

pub use host::{HostOptions, NixHost};
pub use machine::{BootLoader, Installation, NixMachine};
pub use site::Site;
pub use toplevel::{Fault, Toplevel, Within};
