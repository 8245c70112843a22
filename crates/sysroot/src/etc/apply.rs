//! A merge's steps on the disk.

use std::io;
use std::path::Path;

use durable::{Attributes, Doing, FileKind, Fs, remove_tree};

use super::plan::Action;
use super::tree::{Content, Node, Tree, join, node};

/// Carries the steps out in `to`, taking content from `from`.
pub(crate) fn apply(
    fs: &dyn Fs,
    actions: &[Action],
    local: &Tree,
    from: &Path,
    to: &Path,
) -> durable::Result<()> {
    for action in actions {
        match action {
            Action::Remove(at) => remove_tree(fs, &join(to, at))?,
            Action::Create(at) => {
                if let Some(node) = local.get(at) {
                    create(fs, node, &join(from, at), &join(to, at))?;
                }
            }
            Action::SetAttributes(at) => {
                let path = join(to, at);
                if let Some(node) = local.get(at) {
                    fs.set_attributes(&path, &node.attributes())
                        .doing("set the attributes of", &path)?;
                }
            }
        }
    }
    Ok(())
}

/// Copies a whole tree: files anew, never as hard links.
pub(crate) fn copy_tree(fs: &dyn Fs, from: &Path, to: &Path) -> durable::Result<()> {
    let root = node(fs, from)?;
    create(fs, &root, from, to)?;
    if !root.is_dir() {
        return Ok(());
    }
    for entry in fs.read_dir(from).doing("list", from)? {
        if entry.kind != FileKind::Other {
            copy_tree(fs, &from.join(&entry.name), &to.join(&entry.name))?;
        }
    }
    Ok(())
}

fn create(fs: &dyn Fs, node: &Node, from: &Path, to: &Path) -> durable::Result<()> {
    let set = |attributes: &Attributes| {
        fs.set_attributes(to, attributes)
            .doing("set the attributes of", to)
    };
    match &node.content {
        Content::Dir => {
            fs.create_dir(to, 0o700).doing("create the directory", to)?;
            set(&node.attributes())
        }
        Content::Symlink(target) => {
            symlink(fs, target, to)?;
            set(&node.attributes())
        }
        Content::File(_) => copy_file(fs, node, from, to),
        Content::Other => Ok(()),
    }
}

fn symlink(fs: &dyn Fs, target: &Path, to: &Path) -> durable::Result<()> {
    fs.symlink(target, to).doing("create the symlink", to)
}

fn copy_file(fs: &dyn Fs, node: &Node, from: &Path, to: &Path) -> durable::Result<()> {
    let mut source = fs.open(from).doing("open", from)?;
    let mtime = fs.metadata(from).doing("look at", from)?.mtime;
    let mut copy = fs.create(to, 0o600).doing("create", to)?;
    io::copy(&mut source, &mut copy).doing("write", to)?;
    let attributes = Attributes {
        mtime: Some(mtime),
        ..node.attributes()
    };
    copy.set(&attributes).doing("set the attributes of", to)
}
