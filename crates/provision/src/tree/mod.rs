//! A plain root filesystem becomes a deployable one.
//!
//! [`Survey`] reads what is there, [`plan()`] decides, [`TreePlan::apply`] does.
//! A tree that is prepared already gives an empty plan.

mod apply;
mod payload;
mod plan;
mod survey;
mod var;

pub use plan::{Initramfs, PrepareOptions, Step, TreePlan, plan};
pub use survey::{InitramfsTool, Survey};
