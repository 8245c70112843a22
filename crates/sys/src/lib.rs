//! The few calls, of the kernel and of one library, that need `unsafe`: everything else in
//! the workspace forbids it.

mod inflate;
mod journal;
mod lock;
mod session;
mod watchdog;

pub use inflate::{Inflate, Inflated};
pub use journal::{checkpoint_ext4, freeze_and_thaw, rehearse_thaw};
pub use lock::lock_description;
pub use session::new_session;
