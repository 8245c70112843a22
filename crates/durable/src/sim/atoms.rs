//! What is certain on the disk, and what may or may not be.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;

use super::content::torn;
use super::record::{Call, Step, Sync};
use super::tree::{Effect, Ino, Inode, Meta, Node, Tree};

/// Who looks at the disk after the power came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// A journalling filesystem as ext4 with ordered data: names and attributes
    /// are kept as a prefix of what was done, and any sync keeps all of them up
    /// to then. Content that was not synced may be missing whatever the names
    /// say.
    Ordered,
    /// No more than POSIX promises: each name and attribute that was not synced
    /// by itself may be there or not. A rename within one directory is one step;
    /// between two, the file may be found under both names.
    Relaxed,
    /// A reader that replays no journal (GRUB): only a checkpoint makes names,
    /// attributes, and files that were created or changed their length certain.
    /// Until then every name and every inode is seen old or new by itself, and
    /// an inode that lost its last name may be seen empty or reused. Bytes
    /// overwritten in place and synced are certain.
    BootLoader,
    /// FAT, which has no journal: as for [`BootLoader`](Self::BootLoader), a rename is
    /// two changes of names; but there is nothing to checkpoint, and a sync of the file,
    /// the directory or the filesystem puts what it is about in its place.
    Fat,
}

/// A change that is not certain.
#[derive(Debug, Clone)]
struct Loose {
    /// Its order among all.
    at: usize,
    /// The call that made it.
    call: usize,
    effect: Effect,
    /// A failed `fsync` gave it up: no later sync helps.
    given_up: bool,
}

/// One question that the power cut answers: which of these happened.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    /// From nothing (first) to everything (last).
    pub answers: Vec<Answer>,
    /// This atom's answers other than the first need that of these atoms too.
    pub needs: Vec<usize>,
}

/// A possible state of what an [`Atom`] is about.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// For people.
    pub says: String,
    /// Changes to make to the certain tree, with their order.
    pub effects: Vec<(usize, Effect)>,
}

/// The disk behind the page cache while a record is replayed.
#[derive(Debug, Clone)]
pub(super) struct Disk<'a> {
    view: View,
    calls: &'a [Call],
    /// What is certain.
    pub certain: Tree,
    /// What running programs see.
    now: Tree,
    loose: Vec<Loose>,
    order: usize,
}

impl<'a> Disk<'a> {
    pub(super) fn new(view: View, start: Tree, calls: &'a [Call]) -> Self {
        Self {
            view,
            calls,
            now: start.clone(),
            certain: start,
            loose: Vec::new(),
            // Inodes come before the names in them: see `inode_answers`.
            order: 1,
        }
    }

    /// Lets call number `call` happen.
    pub(super) fn feed(&mut self, call: usize) {
        match &self.calls[call].step {
            Step::Change(effects) => effects.iter().for_each(|e| self.change(call, e)),
            Step::Sync(sync) => self.sync(sync),
            Step::Mark(_) | Step::Nothing => {}
        }
    }

    fn change(&mut self, call: usize, effect: &Effect) {
        self.now.apply(effect);
        for effect in self.split(effect) {
            self.forget_overtaken(&effect);
            if matches!(effect, Effect::New { .. }) && self.has_journal() {
                // Without a name it is not there, so it may as well be certain.
                self.certain.apply(&effect);
                continue;
            }
            let at = self.order;
            self.order += 1;
            self.loose.push(Loose {
                at,
                call,
                effect,
                given_up: false,
            });
        }
    }

    /// Whether an inode and its name come together.
    fn has_journal(&self) -> bool {
        matches!(self.view, View::Ordered | View::Relaxed)
    }

    /// A rename of a file between directories is two steps on a disk that
    /// promises no more than POSIX.
    fn split(&self, effect: &Effect) -> Vec<Effect> {
        if let Effect::Rename { from, to, ino } = effect {
            let is_dir = self.now.entries(*ino).is_ok();
            if self.view == View::Relaxed && from.0 != to.0 && !is_dir {
                let (dir, name) = to.clone();
                let link = Effect::Link {
                    dir,
                    name,
                    ino: *ino,
                };
                let (dir, name) = from.clone();
                return vec![link, Effect::Unlink { dir, name }];
            }
        }
        vec![effect.clone()]
    }

    /// Bytes that a failed sync gave up matter no more once they are cut off or
    /// written again.
    fn forget_overtaken(&mut self, effect: &Effect) {
        let overtakes = |old: &Effect| match (effect, old) {
            (Effect::Truncate { ino, len }, Effect::Write { ino: i, offset, .. }) => {
                ino == i && offset >= len
            }
            (
                Effect::Write { ino, offset, bytes },
                Effect::Write {
                    ino: i,
                    offset: o,
                    bytes: b,
                },
            ) => ino == i && offset <= o && offset + bytes.len() as u64 >= o + b.len() as u64,
            _ => false,
        };
        self.loose.retain(|l| !(l.given_up && overtakes(&l.effect)));
    }

    fn sync(&mut self, sync: &Sync) {
        if let Sync::Failed(file) = sync {
            for loose in &mut self.loose {
                loose.given_up |= data_of(&loose.effect) == Some(*file);
            }
            return;
        }
        let mut settled: BTreeSet<usize> = self
            .loose
            .iter()
            .filter(|l| !l.given_up && self.settles(sync, l))
            .map(|l| l.at)
            .collect();
        self.add_needed(&mut settled);
        let (done, left): (Vec<Loose>, Vec<Loose>) = std::mem::take(&mut self.loose)
            .into_iter()
            .partition(|l| settled.contains(&l.at));
        self.loose = left;
        for loose in done {
            self.certain.apply(&loose.effect);
        }
    }

    /// Whether a sync makes a loose change certain.
    fn settles(&self, sync: &Sync, loose: &Loose) -> bool {
        let effect = &loose.effect;
        match (self.view, sync) {
            (_, Sync::Checkpoint) => true,
            (View::BootLoader, Sync::File(ino)) => self.in_place(effect) == Some(*ino),
            (View::BootLoader, Sync::Filesystem) => self.in_place(effect).is_some(),
            (View::BootLoader, _) => false,
            (_, Sync::Filesystem) => true,
            (View::Fat, Sync::File(ino)) => {
                made(effect) == Some(*ino)
                    || data_of(effect) == Some(*ino)
                    || meta_of(effect) == Some(*ino)
            }
            (View::Fat, Sync::Dir(dir)) => names(effect).iter().any(|(d, _)| d == dir),
            (View::Ordered, Sync::File(ino)) => {
                data_of(effect).is_none_or(|changed| changed == *ino)
            }
            (View::Ordered, _) => data_of(effect).is_none(),
            (View::Relaxed, Sync::File(ino)) => {
                data_of(effect) == Some(*ino) || meta_of(effect) == Some(*ino)
            }
            (View::Relaxed, Sync::Dir(dir)) => {
                meta_of(effect) == Some(*dir) || names(effect).iter().any(|(d, _)| d == dir)
            }
            (_, Sync::Failed(_)) => false,
        }
    }

    /// The file whose certain blocks a write stays within.
    fn in_place(&self, effect: &Effect) -> Option<Ino> {
        let Effect::Write { ino, offset, bytes } = effect else {
            return None;
        };
        let len = self.certain.content(*ino)?.len() as u64;
        (offset + bytes.len() as u64 <= len).then_some(*ino)
    }

    /// Adds the earlier changes of the same names, without which a change of
    /// names makes no sense.
    fn add_needed(&self, settled: &mut BTreeSet<usize>) {
        for later in self.loose.iter().rev() {
            if settled.contains(&later.at) {
                settled.extend(self.needs(later).map(|l| l.at));
            }
        }
    }

    fn needs<'s>(&'s self, later: &'s Loose) -> impl Iterator<Item = &'s Loose> {
        let mine = names(&later.effect);
        let earlier = self.loose.iter().take_while(|l| l.at < later.at);
        earlier.filter(move |l| {
            let shares_name = names(&l.effect).iter().any(|n| mine.contains(n));
            // The second half of a split rename never comes without the first.
            let first_half = l.call == later.call && !mine.is_empty() && names(&l.effect) != mine;
            shares_name || (first_half && !names(&l.effect).is_empty())
        })
    }

    /// What a power cut now would have to decide.
    pub(super) fn atoms(&self) -> Vec<Atom> {
        let mut atoms = match self.view {
            View::Ordered => self.journal_atom().into_iter().collect(),
            View::Relaxed => self.metadata_atoms(),
            View::BootLoader | View::Fat => {
                let mut atoms = self.name_atoms();
                atoms.extend(self.inode_atoms());
                return atoms;
            }
        };
        atoms.extend(self.data_atoms());
        atoms
    }

    fn said(&self, loose: &Loose) -> String {
        self.calls[loose.call].text.clone()
    }

    /// Names and attributes up to one point in time.
    fn journal_atom(&self) -> Option<Atom> {
        let metadata: Vec<&Loose> = self.metadata().collect();
        let upto = |n: usize| Answer {
            says: match n.checked_sub(1).and_then(|last| metadata.get(last)) {
                Some(last) => format!("names up to: {}", self.said(last)),
                None => "no names".to_owned(),
            },
            effects: pairs(metadata.iter().take(n).copied()),
        };
        let answers: Vec<Answer> = (0..=metadata.len()).map(upto).collect();
        let needs = Vec::new();
        (answers.len() > 1).then_some(Atom { answers, needs })
    }

    fn metadata(&self) -> impl Iterator<Item = &Loose> {
        let is_metadata = |l: &&Loose| data_of(&l.effect).is_none();
        self.loose.iter().filter(is_metadata)
    }

    /// Each change of a name or of attributes by itself.
    fn metadata_atoms(&self) -> Vec<Atom> {
        let all: Vec<&Loose> = self.metadata().collect();
        let position = |at: usize| all.iter().position(|l| l.at == at);
        let atom = |loose: &&Loose| Atom {
            answers: vec![
                Answer {
                    says: format!("lost: {}", self.said(loose)),
                    effects: Vec::new(),
                },
                Answer {
                    says: format!("kept: {}", self.said(loose)),
                    effects: pairs([*loose]),
                },
            ],
            needs: self.needs(loose).filter_map(|l| position(l.at)).collect(),
        };
        all.iter().map(atom).collect()
    }

    /// The content of each file that was written and not synced.
    fn data_atoms(&self) -> Vec<Atom> {
        let mut files: BTreeMap<Ino, Vec<&Loose>> = BTreeMap::new();
        for loose in &self.loose {
            if let Some(ino) = data_of(&loose.effect) {
                files.entry(ino).or_default().push(loose);
            }
        }
        let mut atoms = Vec::new();
        for (ino, writes) in files {
            let versions = self.versions(ino, &writes);
            let last = writes.last().map(|l| (l.at, self.said(l)));
            let Some((at, text)) = last else { continue };
            let answer = |(says, bytes): (String, Arc<Vec<u8>>)| Answer {
                says: format!("{says}: {text}"),
                effects: vec![(at, Effect::Content { ino, bytes })],
            };
            let answers: Vec<Answer> = torn(&versions).into_iter().map(answer).collect();
            let needs = Vec::new();
            atoms.extend((answers.len() > 1).then_some(Atom { answers, needs }));
        }
        atoms
    }

    /// What a file held for certain, and after each loose write.
    fn versions(&self, ino: Ino, writes: &[&Loose]) -> Vec<Arc<Vec<u8>>> {
        let mut tree = self.certain.clone();
        if let Some(Ok(inode)) = (tree.content(ino).is_none()).then(|| self.now.get(ino)) {
            // The boot loader's view has no inode yet.
            let node = Node::File(Arc::default());
            let meta = inode.meta.clone();
            let inode = Inode { node, meta };
            tree.apply(&Effect::New { ino, inode });
        }
        let mut versions: Vec<_> = tree.content(ino).cloned().into_iter().collect();
        for write in writes {
            tree.apply(&write.effect);
            versions.extend(tree.content(ino).cloned());
        }
        versions
    }

    /// Without a journal, each name is seen at some moment of its own.
    fn name_atoms(&self) -> Vec<Atom> {
        let mut seen: BTreeMap<(Ino, OsString), Vec<Answer>> = BTreeMap::new();
        for loose in &self.loose {
            for (dir, name) in names(&loose.effect) {
                let answers = seen.entry((dir, name.clone())).or_insert_with(|| {
                    vec![Answer {
                        says: format!("name {} as before", name.display()),
                        effects: Vec::new(),
                    }]
                });
                let effect = match named(&loose.effect, dir, &name) {
                    Some(ino) => Effect::Link { dir, name, ino },
                    None => Effect::Unlink { dir, name },
                };
                answers.push(Answer {
                    says: format!("name seen: {}", self.said(loose)),
                    effects: vec![(loose.at, effect)],
                });
            }
        }
        let atom = |answers| Atom {
            answers,
            needs: Vec::new(),
        };
        seen.into_values().map(atom).collect()
    }

    /// Without a journal, each inode is seen old or new by itself; one that was
    /// freed may be seen wiped, or its blocks reused.
    fn inode_atoms(&self) -> Vec<Atom> {
        let mut changed: BTreeMap<Ino, Vec<&Loose>> = BTreeMap::new();
        for loose in &self.loose {
            let effect = &loose.effect;
            let ino = made(effect).or(data_of(effect)).or(meta_of(effect));
            let removed = self.removed_by(&loose.effect);
            for ino in ino.into_iter().chain(removed) {
                changed.entry(ino).or_default().push(loose);
            }
        }
        let atom = |(ino, changes): (Ino, Vec<&Loose>)| {
            let answers = self.inode_answers(ino, &changes);
            let needs = Vec::new();
            (answers.len() > 1).then_some(Atom { answers, needs })
        };
        changed.into_iter().filter_map(atom).collect()
    }

    fn inode_answers(&self, ino: Ino, changes: &[&Loose]) -> Vec<Answer> {
        let text = changes.last().map(|l| self.said(l)).unwrap_or_default();
        let answer = |(says, inode): (String, Inode)| Answer {
            says: format!("inode {says}: {text}"),
            effects: vec![(0, Effect::New { ino, inode })],
        };
        let wiped = inode(Node::File(Arc::default()), &Meta::new(0, 0));
        let before = match self.certain.get(ino) {
            Ok(old) => ("as before".to_owned(), old.clone()),
            Err(_) => ("not written".to_owned(), wiped.clone()),
        };
        let mut seen = vec![before];
        match self.now.get(ino) {
            Ok(new) if self.now.links(ino) == 0 => {
                if self.certain.get(ino).is_err() {
                    seen.push(("written".to_owned(), new.clone()));
                }
                let garbage = Node::File(Arc::new(vec![0xA5; 600]));
                seen.push(("reused".to_owned(), inode(garbage, &wiped.meta)));
                seen.push(("wiped".to_owned(), wiped));
            }
            Ok(new) => seen.extend(self.written(ino, new, changes)),
            Err(_) => {}
        }
        seen.into_iter().map(answer).collect()
    }

    /// What may be seen of an inode that was written and still has a name.
    fn written(&self, ino: Ino, new: &Inode, changes: &[&Loose]) -> Vec<(String, Inode)> {
        let is_write = |l: &&&Loose| data_of(&l.effect) == Some(ino);
        let writes: Vec<&Loose> = changes.iter().filter(is_write).copied().collect();
        if writes.is_empty() {
            // Names are atoms of their own: start from those that are certain.
            let node = match (&new.node, self.certain.get(ino)) {
                (Node::Dir(_), Ok(old)) => old.node.clone(),
                (Node::Dir(_), Err(_)) => Node::Dir(BTreeMap::new()),
                (node, _) => node.clone(),
            };
            return vec![("written".to_owned(), inode(node, &new.meta))];
        }
        let contents = torn(&self.versions(ino, &writes)).into_iter();
        let seen = contents.map(|(says, bytes)| (says, inode(Node::File(bytes), &new.meta)));
        seen.collect()
    }

    /// The inode whose name an effect takes away.
    fn removed_by(&self, effect: &Effect) -> Option<Ino> {
        let (dir, name) = match effect {
            Effect::Unlink { dir, name } => (*dir, name),
            Effect::Rename { to, .. } => (to.0, &to.1),
            _ => return None,
        };
        let ino = *self.certain.entries(dir).ok()?.get(name)?;
        (self.now.links(ino) == 0).then_some(ino)
    }
}

fn inode(node: Node, meta: &Meta) -> Inode {
    let meta = meta.clone();
    Inode { node, meta }
}

fn pairs<'l>(loose: impl IntoIterator<Item = &'l Loose>) -> Vec<(usize, Effect)> {
    let pair = |l: &Loose| (l.at, l.effect.clone());
    loose.into_iter().map(pair).collect()
}

/// The inode that an effect makes.
fn made(effect: &Effect) -> Option<Ino> {
    match effect {
        Effect::New { ino, .. } => Some(*ino),
        _ => None,
    }
}

/// The file whose bytes or length an effect changes.
fn data_of(effect: &Effect) -> Option<Ino> {
    match effect {
        Effect::Write { ino, .. } | Effect::Truncate { ino, .. } => Some(*ino),
        _ => None,
    }
}

/// The inode whose attributes an effect changes.
fn meta_of(effect: &Effect) -> Option<Ino> {
    match effect {
        Effect::Meta { ino, .. } => Some(*ino),
        _ => None,
    }
}

/// The names an effect changes.
fn names(effect: &Effect) -> Vec<(Ino, OsString)> {
    match effect {
        Effect::Link { dir, name, .. } | Effect::Unlink { dir, name } => {
            vec![(*dir, name.clone())]
        }
        Effect::Rename { from, to, .. } => vec![from.clone(), to.clone()],
        Effect::Exchange { names, .. } => names.to_vec(),
        _ => Vec::new(),
    }
}

/// What an effect makes of one of its names.
fn named(effect: &Effect, in_dir: Ino, as_name: &OsString) -> Option<Ino> {
    match effect {
        Effect::Link { ino, .. } => Some(*ino),
        Effect::Rename { to, ino, .. } if to.0 == in_dir && to.1 == *as_name => Some(*ino),
        Effect::Exchange { names, inos } => {
            let first = names[0].0 == in_dir && names[0].1 == *as_name;
            Some(inos[usize::from(first)])
        }
        _ => None,
    }
}
