//! Unattended upgrades.
