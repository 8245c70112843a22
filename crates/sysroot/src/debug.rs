//! What `ostree` takes from the environment when it is examined, and so do we.

/// Whether a word is in `OSTREE_SYSROOT_DEBUG`: `mutable-deployments` leaves
/// deployments as they are instead of immutable, so that whoever made them can remove
/// them by `rm`; `no-dtb` leaves directories of device trees aside.
pub(crate) fn has(word: &str) -> bool {
    let set = std::env::var("OSTREE_SYSROOT_DEBUG").unwrap_or_default();
    set.split([',', ';', ':', ' ']).any(|w| w == word)
}
