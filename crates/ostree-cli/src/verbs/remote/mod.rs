//! `ostree remote`: one file per subcommand.

use crate::command::Node;

mod add;
mod cookies;
mod delete;
mod gpg_import;
mod gpg_list_keys;
mod list;
mod refs;
mod show_url;
mod summary;

/// All subcommands.
pub const ALL: &[Node] = &[
    Node::One(&add::COMMAND),
    Node::One(&delete::COMMAND),
    Node::One(&show_url::COMMAND),
    Node::One(&list::COMMAND),
    Node::One(&gpg_import::COMMAND),
    Node::One(&gpg_list_keys::COMMAND),
    Node::One(&cookies::ADD),
    Node::One(&cookies::DELETE),
    Node::One(&cookies::LIST),
    Node::One(&refs::COMMAND),
    Node::One(&summary::COMMAND),
];
