//! Where versions come from, and how they get to a host.

pub(crate) mod image;
pub(crate) mod nix;
pub(crate) mod objects;
pub(crate) mod origin;
