//! `ostree admin`: one file per subcommand.

use crate::command::Node;

mod cleanup;
mod deploy;
mod host;
mod init_fs;
mod os_init;
mod pin;
mod status;
mod switch;
mod undeploy;
mod upgrade;

pub use status::current_dir;

/// All subcommands.
pub const ALL: &[Node] = &[
    Node::One(&cleanup::COMMAND),
    Node::One(&deploy::COMMAND),
    Node::One(&init_fs::COMMAND),
    Node::One(&os_init::COMMAND),
    Node::One(&pin::COMMAND),
    Node::One(&status::COMMAND),
    Node::One(&switch::COMMAND),
    Node::One(&undeploy::COMMAND),
    Node::One(&upgrade::COMMAND),
];
