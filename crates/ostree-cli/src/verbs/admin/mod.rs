//! `ostree admin`: one file per subcommand.

use crate::command::Node;

mod cleanup;
mod deploy;
mod host;
mod init_fs;
mod kargs;
mod os_init;
mod pin;
mod set_origin;
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
    Node::Group("instutil", "What installers need", kargs::INSTUTIL),
    Node::Group("kargs", "Change kernel arguments", kargs::ALL),
    Node::One(&os_init::COMMAND),
    Node::One(&pin::COMMAND),
    Node::One(&set_origin::COMMAND),
    Node::One(&status::COMMAND),
    Node::One(&switch::COMMAND),
    Node::One(&undeploy::COMMAND),
    Node::One(&upgrade::COMMAND),
];
