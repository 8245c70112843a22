//! `backstop repo ls`

use std::path::{Path, PathBuf};

use clap::Args;
use ostree::{Entry, Item, Xattrs};
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// List the files in a version: mode, owner, group, size, path.
#[derive(Debug, Args)]
pub struct Ls {
    /// The version
    rev: String,
    /// Directories and files; the root when not given
    paths: Vec<PathBuf>,
    /// A directory itself, not what is in it
    #[arg(short, long)]
    dironly: bool,
    /// All that is below a directory
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Show checksums, of directories those of content and attributes
    #[arg(short = 'C', long)]
    checksum: bool,
    /// Show extended attributes
    #[arg(short = 'X', long)]
    xattrs: bool,
    /// Only names, each ended by a NUL
    #[arg(long)]
    nul_filenames_only: bool,
}

impl Ls {
    pub(super) fn run(mut self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        let repo = cx.open()?;
        let commit = repo.resolve(&self.rev)?;
        if self.paths.is_empty() {
            self.paths.push(PathBuf::from("/"));
        }
        for path in &self.paths {
            let mut entries = repo.list(&commit, path, self.recursive && !self.dironly)?;
            if self.dironly {
                entries.truncate(1);
            }
            for entry in &entries {
                self.print(cx, entry)?;
            }
        }
        Ok(Ended::Done)
    }

    fn print(&self, cx: &mut Context<'_>, entry: &Entry) -> std::io::Result<()> {
        if cx.out.is_json() {
            return cx.out.json(&as_json(entry));
        }
        if self.nul_filenames_only {
            let path = format!("{}\0", entry.path.display());
            return cx.out.bytes(path.as_bytes());
        }
        cx.out.line(&self.line(entry))
    }

    fn line(&self, entry: &Entry) -> String {
        let (kind, mode, uid, gid, size, xattrs) = parts(entry);
        let mut line = format!("{kind}{:05o} {uid} {gid} {size:6} ", mode & 0o7777);
        if self.checksum {
            line += &match &entry.item {
                Item::File { checksum, .. } => format!("{checksum} "),
                Item::Dir { tree, meta, .. } => format!("{tree} {meta} "),
            };
        }
        if self.xattrs {
            line += &format!("{{ {xattrs} }} ");
        }
        line += &entry.path.to_string_lossy();
        match target(entry) {
            Some(target) => line + " -> " + target,
            None => line,
        }
    }
}

/// Kind letter, mode, owner, group, size, attributes.
fn parts(entry: &Entry) -> (char, u32, u32, u32, u64, &Xattrs) {
    match &entry.item {
        Item::File { header, size, .. } => {
            let kind = if header.is_symlink() { 'l' } else { '-' };
            (
                kind,
                header.mode,
                header.uid,
                header.gid,
                *size,
                &header.xattrs,
            )
        }
        Item::Dir { attributes: a, .. } => ('d', a.mode, a.uid, a.gid, 0, &a.xattrs),
    }
}

fn target(entry: &Entry) -> Option<&str> {
    match &entry.item {
        Item::File { header, .. } if header.is_symlink() => Some(&header.target),
        _ => None,
    }
}

fn as_json(entry: &Entry) -> serde_json::Value {
    let (kind, mode, uid, gid, size, _) = parts(entry);
    let (checksum, meta) = match &entry.item {
        Item::File { checksum, .. } => (checksum, None),
        Item::Dir { tree, meta, .. } => (tree, Some(meta.to_string())),
    };
    json!({
        "path": AsRef::<Path>::as_ref(&entry.path),
        "kind": match kind { 'd' => "dir", 'l' => "symlink", _ => "file" },
        "mode": format!("{:04o}", mode & 0o7777),
        "uid": uid,
        "gid": gid,
        "size": size,
        "target": target(entry),
        "checksum": checksum.to_string(),
        "meta_checksum": meta,
    })
}
