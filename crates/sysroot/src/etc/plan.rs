//! What a merge has to do, decided from the three trees alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::tree::{Content, Node, Tree};
use super::{EtcConflict, EtcReport};

/// The trees of a merge.
pub(crate) struct Scanned {
    pub base: Tree,
    pub local: Tree,
    pub new: Tree,
}

/// One step on the copy of the new default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Remove a node with all below it.
    Remove(PathBuf),
    /// Create the local node, which is not there yet. Its directory is.
    Create(PathBuf),
    /// Give a directory the local attributes.
    SetAttributes(PathBuf),
}

struct Planner<'a> {
    trees: &'a Scanned,
    actions: Vec<Action>,
    report: EtcReport,
}

/// Steps in order, and what to tell about them.
pub(crate) fn plan(trees: &Scanned) -> (Vec<Action>, EtcReport) {
    let mut planner = Planner {
        trees,
        actions: Vec::new(),
        report: EtcReport::default(),
    };
    // Nothing to merge from: the new default as it is.
    if trees.local.get(Path::new("")).is_some() {
        planner.dir(Path::new(""));
    }
    planner.report.sort();
    (planner.actions, planner.report)
}

/// What the steps make of a copy of the new default.
pub(crate) fn outcome(trees: &Scanned, actions: &[Action]) -> Tree {
    let mut made = trees.new.clone();
    // These are not copied.
    made.0.retain(|_, node| node.content != Content::Other);
    for action in actions {
        match action {
            Action::Remove(at) => made.remove(at),
            Action::Create(at) | Action::SetAttributes(at) => {
                if let Some(node) = trees.local.get(at) {
                    made.0.insert(at.clone(), node.clone());
                }
            }
        }
    }
    made
}

impl Planner<'_> {
    fn base(&self, at: &Path) -> Option<&Node> {
        self.trees.base.get(at)
    }
    fn local(&self, at: &Path) -> Option<&Node> {
        self.trees.local.get(at)
    }
    fn new_default(&self, at: &Path) -> Option<&Node> {
        self.trees.new.get(at)
    }

    /// Whether two trees hold the same from this path on.
    fn same(a: &Tree, b: &Tree, at: &Path) -> bool {
        a.subtree(at).eq(b.subtree(at))
    }

    /// Whether the host changed anything from this path on.
    fn touched(&self, at: &Path) -> bool {
        !Self::same(&self.trees.base, &self.trees.local, at)
    }

    /// Whether the new version changed anything from this path on.
    fn renewed(&self, at: &Path) -> bool {
        !Self::same(&self.trees.base, &self.trees.new, at)
    }

    fn conflict(&mut self, at: &Path, kind: EtcConflict) {
        self.report.conflicts.push((at.to_owned(), kind));
    }

    /// The local node with all below it takes the place of whatever is there.
    fn take_local(&mut self, at: &Path) {
        if self.new_default(at).is_some() {
            self.actions.push(Action::Remove(at.to_owned()));
        }
        let mut skipped = Vec::new();
        for (path, node) in self.trees.local.subtree(at) {
            if node.content == Content::Other {
                skipped.push(path.to_owned());
            } else {
                self.actions.push(Action::Create(path.to_owned()));
            }
        }
        for path in skipped {
            self.conflict(&path, EtcConflict::NotCopied);
        }
    }

    /// Merges what is in a directory that both the host and, after the steps so
    /// far, the result have.
    fn dir(&mut self, at: &Path) {
        let trees = self.trees;
        let names: BTreeSet<PathBuf> = trees
            .base
            .children(at)
            .chain(trees.local.children(at))
            .collect();
        for child in names {
            if self.touched(&child) {
                self.changed(&child);
            }
        }
    }

    /// Merges a path at or below which the host changed something.
    fn changed(&mut self, at: &Path) {
        let Some(local) = self.local(at) else {
            return self.deleted(at);
        };
        let new_is_dir = self.new_default(at).map(Node::is_dir);
        // The same change on both sides.
        if Self::same(&self.trees.local, &self.trees.new, at) {
            return;
        }
        let was_dir = self.base(at).is_none_or(Node::is_dir);
        match (local.is_dir() && was_dir, new_is_dir) {
            (true, Some(true)) => {
                self.dir_attributes(at);
                self.dir(at);
            }
            (true, None) if self.base(at).is_some() => {
                self.actions.push(Action::Create(at.to_owned()));
                if self.base(at) != self.local(at) {
                    self.conflict(at, EtcConflict::DeletedInNew);
                }
                self.dir(at);
            }
            _ => self.replaced(at),
        }
    }

    fn deleted(&mut self, at: &Path) {
        if self.new_default(at).is_none() {
            return;
        }
        self.actions.push(Action::Remove(at.to_owned()));
        if self.renewed(at) {
            self.conflict(at, EtcConflict::DeletedHere);
        } else {
            self.report.carried.push(at.to_owned());
        }
    }

    /// A directory on both sides: its own attributes.
    fn dir_attributes(&mut self, at: &Path) {
        let (base, local, new) = (self.base(at), self.local(at), self.new_default(at));
        if local == base || local == new {
            return;
        }
        let unopposed = new == base;
        self.actions.push(Action::SetAttributes(at.to_owned()));
        if unopposed {
            self.report.carried.push(at.to_owned());
        } else {
            self.conflict(at, EtcConflict::BothChanged);
        }
    }

    /// The local node as a whole, because it is no directory, or was none.
    fn replaced(&mut self, at: &Path) {
        let kind = match (self.base(at), self.local(at), self.new_default(at)) {
            (None, _, None) => None,
            (Some(_), _, None) => Some(EtcConflict::DeletedInNew),
            (Some(_), _, Some(_)) if !self.renewed(at) => None,
            (_, Some(local), Some(new)) if !local.same_kind(new) => Some(EtcConflict::TypeChanged),
            _ => Some(EtcConflict::BothChanged),
        };
        match kind {
            Some(kind) => self.conflict(at, kind),
            None => self.report.carried.push(at.to_owned()),
        }
        self.take_local(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `name=content`, `name/` for a directory, `name/!` for one with other
    /// permissions, `name>target` for a symlink, `name|` for a pipe.
    fn tree(spec: &str) -> Tree {
        let mut tree = Tree::default();
        let mut add = |path: &str, content, mode| {
            let node = Node {
                content,
                mode,
                owner: (0, 0),
                xattrs: vec![],
            };
            tree.0.insert(path.into(), node);
        };
        add("", Content::Dir, 0o755);
        for item in spec.split_whitespace() {
            if let Some((name, content)) = item.split_once('=') {
                let mut digest = [0; 32];
                digest[..content.len()].copy_from_slice(content.as_bytes());
                add(name, Content::File(digest), 0o644);
            } else if let Some((name, target)) = item.split_once('>') {
                add(name, Content::Symlink(target.into()), 0);
            } else if let Some(name) = item.strip_suffix("/!") {
                add(name, Content::Dir, 0o700);
            } else if let Some(name) = item.strip_suffix('|') {
                add(name, Content::Other, 0o644);
            } else {
                add(item.trim_end_matches('/'), Content::Dir, 0o755);
            }
        }
        tree
    }

    /// The outcome, and that each step finds what it is about.
    fn result(trees: &Scanned, actions: &[Action]) -> Tree {
        for (n, action) in actions.iter().enumerate() {
            let before = outcome(trees, &actions[..n]);
            match action {
                Action::Remove(_) => {}
                Action::Create(at) => {
                    assert!(before.get(at).is_none(), "{at:?} is there");
                    let parent = before.get(at.parent().unwrap());
                    assert!(parent.is_some_and(Node::is_dir), "{at:?}");
                }
                Action::SetAttributes(at) => assert!(before.get(at).unwrap().is_dir()),
            }
        }
        outcome(trees, actions)
    }

    #[test]
    fn the_table() {
        use EtcConflict::*;
        // base | local | new | result | carried | conflicts
        type Row = (
            &'static str,
            &'static str,
            &'static str,
            &'static str,
            &'static str,
            &'static [(&'static str, EtcConflict)],
        );
        let table: &[Row] = &[
            ("a=1", "a=1", "a=2 b=1", "a=2 b=1", "", &[]),
            ("a=1", "a=2", "a=1", "a=2", "a", &[]),
            ("a=1", "a=2", "a=2", "a=2", "", &[]),
            ("a=1", "a=2", "a=3", "a=2", "", &[("a", BothChanged)]),
            ("a=1", "a=2", "", "a=2", "", &[("a", DeletedInNew)]),
            ("a=1", "", "a=1", "", "a", &[]),
            ("a=1", "", "a=2", "", "", &[("a", DeletedHere)]),
            ("a=1", "", "", "", "", &[]),
            ("a=1", "a=1", "", "", "", &[]),
            ("", "a=1", "", "a=1", "a", &[]),
            ("", "a=1", "a=1", "a=1", "", &[]),
            ("", "a=1", "a=2", "a=1", "", &[("a", BothChanged)]),
            ("a=1", "a>x", "a=1", "a>x", "a", &[]),
            ("a=1", "a>x", "a=2", "a>x", "", &[("a", TypeChanged)]),
            ("a>x", "a>y", "a>z", "a>y", "", &[("a", BothChanged)]),
            // Directories.
            (
                "d/ d/a=1",
                "d/ d/a=1 d/b=1",
                "d/ d/a=2",
                "d/ d/a=2 d/b=1",
                "d/b",
                &[],
            ),
            ("", "d/ d/a=1", "", "d/ d/a=1", "d", &[]),
            ("", "d/ d/a=1", "d/ d/b=1", "d/ d/a=1 d/b=1", "d/a", &[]),
            ("d/", "d/!", "d/", "d/!", "d", &[]),
            ("d/!", "d/", "d/! d/a=1", "d/ d/a=1", "d", &[]),
            ("", "d/!", "d/", "d/!", "", &[("d", BothChanged)]),
            ("d/ d/a=1", "", "d/ d/a=1", "", "d", &[]),
            (
                "d/ d/a=1",
                "",
                "d/ d/a=1 d/b=1",
                "",
                "",
                &[("d", DeletedHere)],
            ),
            ("d/ d/a=1", "d/", "d/ d/a=1", "d/", "d/a", &[]),
            // The new version drops a directory.
            ("d/", "d/!", "", "d/!", "", &[("d", DeletedInNew)]),
            ("d/ d/a=1", "d/ d/a=1", "", "", "", &[]),
            (
                "d/ d/a=1 d/b=1",
                "d/ d/a=2 d/b=1",
                "",
                "d/ d/a=2",
                "",
                &[("d/a", DeletedInNew)],
            ),
            ("d/ d/a=1", "d/ d/a=1 d/b=1", "", "d/ d/b=1", "d/b", &[]),
            // A directory on one side only.
            ("a=1", "a=2", "a/ a/b=1", "a=2", "", &[("a", TypeChanged)]),
            ("a=1", "a/ a/b=1", "a=1", "a/ a/b=1", "a", &[]),
            (
                "a=1",
                "a/ a/b=1",
                "a=2",
                "a/ a/b=1",
                "",
                &[("a", TypeChanged)],
            ),
            (
                "a=1",
                "a/ a/b=1",
                "",
                "a/ a/b=1",
                "",
                &[("a", DeletedInNew)],
            ),
            (
                "d/ d/a=1",
                "d/ d/a=1 d/b=1",
                "d>x",
                "d/ d/a=1 d/b=1",
                "",
                &[("d", TypeChanged)],
            ),
            ("d/ d/a=1", "d/ d/a=1", "d>x", "d>x", "", &[]),
            ("d/ d/a=1", "d>x", "d/ d/a=1", "d>x", "d", &[]),
            (
                "d/ d/a=1",
                "d>x",
                "d/ d/a=2",
                "d>x",
                "",
                &[("d", TypeChanged)],
            ),
            // A name that sorts between a directory and what is in it.
            (
                "d/ d/a=1 d.x=1",
                "d/ d/a=2 d.x=1",
                "d/ d/a=1 d.x=2",
                "d/ d/a=2 d.x=2",
                "d/a",
                &[],
            ),
            // What cannot be copied.
            (
                "",
                "a| d/ d/b|",
                "",
                "d/",
                "a d",
                &[("a", NotCopied), ("d/b", NotCopied)],
            ),
        ];
        for (base, local, new, expected, carried, conflicts) in table {
            let row = format!("{base} | {local} | {new}");
            let trees = Scanned {
                base: tree(base),
                local: tree(local),
                new: tree(new),
            };
            let (actions, report) = plan(&trees);
            assert_eq!(result(&trees, &actions), tree(expected), "{row}");
            let told: Vec<PathBuf> = carried.split_whitespace().map(PathBuf::from).collect();
            assert_eq!(report.carried, told, "{row}");
            let found = report.conflicts.iter();
            let found: Vec<_> = found.map(|(p, c)| (p.to_str().unwrap(), *c)).collect();
            assert_eq!(found, *conflicts, "{row}");
        }
    }

    #[test]
    fn nothing_local_means_the_new_default() {
        let trees = Scanned {
            base: tree("a=1"),
            local: Tree::default(),
            new: tree("a=2 b=1"),
        };
        assert_eq!(plan(&trees), (vec![], EtcReport::default()));
    }

    /// Small trees of the same few names, so that they often clash.
    fn any_tree() -> impl Strategy<Value = Tree> {
        let names = prop::sample::select(vec!["a", "a/x", "a/x/y", "a.b", "b", "b/x"]);
        let states = prop::sample::select(vec!["=1", "=2", ">t", "/", "/!"]);
        prop::collection::btree_map(names, states, 0..6).prop_map(|items| {
            let mut made = tree("");
            for (name, state) in &items {
                // A parent that is not there, or is no directory, holds nothing.
                let parent = made.get(Path::new(name).parent().unwrap());
                if parent.is_some_and(Node::is_dir) {
                    made.0.extend(tree(&format!("{name}{state}")).0);
                }
            }
            made
        })
    }

    fn merge(base: &Tree, local: &Tree, new: &Tree) -> (Tree, EtcReport) {
        let trees = Scanned {
            base: base.clone(),
            local: local.clone(),
            new: new.clone(),
        };
        let (actions, report) = plan(&trees);
        (result(&trees, &actions), report)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn one_side_alone_is_taken_as_it_is(base in any_tree(), other in any_tree()) {
            let (merged, report) = merge(&base, &base, &other);
            prop_assert_eq!((&merged, report), (&other, EtcReport::default()));
            let (merged, report) = merge(&base, &other, &base);
            prop_assert_eq!(&merged, &other);
            prop_assert_eq!(report.conflicts, vec![]);
            prop_assert_eq!(report.carried.is_empty(), base == other);
            let (merged, report) = merge(&base, &other, &other);
            prop_assert_eq!((&merged, report), (&other, EtcReport::default()));
        }

        #[test]
        fn no_local_change_is_dropped(base in any_tree(), local in any_tree(), new in any_tree()) {
            let (merged, report) = merge(&base, &local, &new);
            for path in base.0.keys().chain(local.0.keys()) {
                if base.get(path) == local.get(path) || path.as_os_str().is_empty() {
                    continue;
                }
                let told = report.carried.iter().chain(report.conflicts.iter().map(|(p, _)| p));
                let told: Vec<_> = told.collect();
                match local.get(path) {
                    Some(node) => prop_assert_eq!(merged.get(path), Some(node)),
                    None => prop_assert_eq!(merged.get(path), None),
                }
                let same = local.get(path) == new.get(path);
                prop_assert!(same || told.iter().any(|t| path.starts_with(t) || t.starts_with(path)));
            }
        }
    }
}
