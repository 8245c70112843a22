//! One file per verb.

use std::os::unix::process::CommandExt;

use crate::command::Node;

mod admin;
mod cat;
mod checkout;
mod checksum;
mod collection_refs;
mod commit;
mod config;
mod diff;
mod editor;
mod export;
mod fsck;
mod gpg_sign;
mod init;
mod log;
mod ls;
mod print;
mod prune;
mod pull;
mod pull_local;
mod refs;
mod remote;
mod reset;
mod rev_parse;
mod show;
mod sign;
mod signing;
mod static_delta;
mod summary;

/// All verbs.
pub const ALL: &[Node] = &[
    Node::Group("admin", "Work on the versions of a host", admin::ALL),
    Node::One(&cat::COMMAND),
    Node::One(&checkout::COMMAND),
    Node::One(&checksum::COMMAND),
    Node::One(&commit::COMMAND),
    Node::One(&config::COMMAND),
    Node::One(&diff::COMMAND),
    Node::One(&export::COMMAND),
    Node::One(&fsck::COMMAND),
    Node::One(&gpg_sign::COMMAND),
    Node::One(&init::COMMAND),
    Node::One(&log::COMMAND),
    Node::One(&ls::COMMAND),
    Node::One(&prune::COMMAND),
    Node::One(&pull_local::COMMAND),
    Node::One(&pull::COMMAND),
    Node::One(&refs::COMMAND),
    Node::Group(
        "remote",
        "Work on the repositories to pull from",
        remote::ALL,
    ),
    Node::One(&reset::COMMAND),
    Node::One(&rev_parse::COMMAND),
    Node::One(&show::COMMAND),
    Node::One(&sign::COMMAND),
    Node::Group(
        "static-delta",
        "Make and use static deltas",
        static_delta::ALL,
    ),
    Node::One(&summary::COMMAND),
];

pub use admin::current_dir;

/// Becomes the program `ostree-NAME`, where there is one in the search path.
///
/// # Errors
/// That it is there and cannot be started.
pub fn extension(name: &str, args: &[String]) -> anyhow::Result<()> {
    let program = format!("ostree-{name}");
    let path = std::env::var_os("PATH").unwrap_or_default();
    if name.contains('/') || !std::env::split_paths(&path).any(|dir| dir.join(&program).is_file()) {
        return Ok(());
    }
    Err(std::process::Command::new(program).args(args).exec().into())
}
