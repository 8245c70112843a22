//! Is everything there, and is everything what it was?

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use monitor::{Monitor, Progress, Unit};

use crate::format::{Commit, DirMeta};
use crate::store::decode_dirtree;
use crate::workers::work_through;
use crate::{Checksum, Error, ObjectKind, ObjectName, Repo, Result};

/// What to check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsckOptions {
    /// Checks that all objects are there, but reads no file's content.
    pub quick: bool,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct FsckReport {
    /// Commits in the repository.
    pub commits: u64,
    /// Those that were only fetched in part, so that much of them may be missing.
    pub partial: Vec<Checksum>,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes of file content that were read.
    pub bytes: u64,
    /// All that is wrong, worst first: refs, commits, directories, files.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with a repository.
#[derive(Debug)]
pub struct Problem {
    /// What is wrong.
    pub error: Error,
    /// A commit that needs it, and where in it, if any does.
    pub needed_by: Option<(Checksum, PathBuf)>,
}

impl FsckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What the workers share.
struct Check<'a> {
    repo: &'a Repo,
    options: FsckOptions,
    monitor: &'a dyn Monitor,
    total: u64,
    done: AtomicU64,
    bytes: AtomicU64,
    damaged: Mutex<BTreeMap<ObjectName, Error>>,
}

/// As many objects are one task.
const OBJECTS_PER_TASK: usize = 64;

impl Repo {
    /// Reads every object and checks its digest and form, then follows every
    /// commit and ref to see that nothing is missing. Damage does not end the
    /// check: all of it is reported.
    ///
    /// # Errors
    /// The disk's, where it is not an object that cannot be read.
    pub fn fsck(&self, options: &FsckOptions, monitor: &dyn Monitor) -> Result<FsckReport> {
        let present = self.inventory()?;
        let check = Check {
            repo: self,
            options: *options,
            monitor,
            total: present.len() as u64,
            done: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            damaged: Mutex::default(),
        };
        let tasks: Vec<_> = present
            .chunks(OBJECTS_PER_TASK)
            .map(<[_]>::to_vec)
            .collect();
        work_through(tasks, Vec::new, |task, buffer, _| {
            check.objects(&task, buffer)
        })?;
        let damaged = check
            .damaged
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut report = FsckReport {
            objects: check.total,
            bytes: check.bytes.into_inner(),
            ..FsckReport::default()
        };
        let present: HashSet<_> = present.into_iter().collect();
        self.check_refs(&present, &mut report)?;
        Needs::new(self, &present, damaged).report(&mut report)?;
        Ok(report)
    }

    /// Each ref must be readable and lead to a commit that is there.
    fn check_refs(&self, present: &HashSet<ObjectName>, report: &mut FsckReport) -> Result<()> {
        let names = self.ref_names()?.into_iter();
        let own = names.map(|name| (name.clone(), self.read_ref(&name)));
        let mirrored = self.mirrored_files()?.into_iter();
        let mirrored = mirrored.map(|(of, target)| (of.to_string(), target));
        for (name, target) in own.chain(mirrored) {
            let error = match target {
                Ok(Some(checksum)) => {
                    let commit = ObjectName::new(checksum, ObjectKind::Commit);
                    if present.contains(&commit) {
                        continue;
                    }
                    Error::RefToNothing { name, checksum }
                }
                Ok(None) => continue,
                Err(error) if error.is_damage() => error,
                Err(error) => return Err(error),
            };
            report.problems.push(Problem {
                error,
                needed_by: None,
            });
        }
        Ok(())
    }
}

impl Check<'_> {
    fn objects(&self, objects: &[ObjectName], buffer: &mut Vec<u8>) -> Result<()> {
        for object in objects {
            match self.object(*object, buffer) {
                Ok(()) => {}
                // Gone since it was listed: whether that matters is seen later.
                Err(Error::Missing(_)) => {}
                Err(error) if error.is_damage() => {
                    let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
                    damaged.insert(*object, error);
                }
                Err(error) => return Err(error),
            }
        }
        let n = objects.len() as u64;
        self.monitor.progress(Progress {
            step: "checking objects",
            done: self.done.fetch_add(n, Ordering::Relaxed) + n,
            total: Some(self.total),
            unit: Unit::Items,
        });
        Ok(())
    }

    fn object(&self, object: ObjectName, buffer: &mut Vec<u8>) -> Result<()> {
        let damaged = |source| Error::Damaged { object, source };
        match object.kind {
            ObjectKind::File => return self.file(object, buffer),
            ObjectKind::DirTree => drop(decode_dirtree(object, &self.repo.load(object)?)?),
            ObjectKind::DirMeta => {
                drop(DirMeta::decode(&self.repo.load(object)?).map_err(damaged)?)
            }
            ObjectKind::Commit => drop(Commit::decode(&self.repo.load(object)?).map_err(damaged)?),
        }
        Ok(())
    }

    fn file(&self, object: ObjectName, buffer: &mut Vec<u8>) -> Result<()> {
        if self.options.quick {
            return Ok(());
        }
        let file = self.repo.open_file(&object.checksum)?;
        self.bytes.fetch_add(file.size, Ordering::Relaxed);
        // A sink takes everything.
        let _ = file.copy_verified(object.checksum, buffer, &mut std::io::sink())?;
        Ok(())
    }
}

/// What the commits need, and what is missing of it.
struct Needs<'a> {
    repo: &'a Repo,
    present: &'a HashSet<ObjectName>,
    damaged: BTreeMap<ObjectName, Error>,
    /// Who needs it, for each missing or damaged object.
    needed: HashMap<ObjectName, (Checksum, PathBuf)>,
    seen: HashSet<ObjectName>,
}

impl<'a> Needs<'a> {
    fn new(
        repo: &'a Repo,
        present: &'a HashSet<ObjectName>,
        damaged: BTreeMap<ObjectName, Error>,
    ) -> Self {
        Self {
            repo,
            present,
            damaged,
            needed: HashMap::new(),
            seen: HashSet::new(),
        }
    }

    /// Follows all commits and adds what is wrong to the report.
    fn report(mut self, report: &mut FsckReport) -> Result<()> {
        let is_commit = |o: &&ObjectName| o.kind == ObjectKind::Commit;
        let mut commits: Vec<_> = self.present.iter().filter(is_commit).copied().collect();
        commits.sort();
        for commit in commits {
            report.commits += 1;
            if self.repo.is_partial(&commit.checksum)? {
                report.partial.push(commit.checksum);
            } else if !self.damaged.contains_key(&commit) {
                self.follow(&commit.checksum)?;
            }
        }
        let mut found: BTreeMap<_, _> = self
            .damaged
            .into_iter()
            .map(|(o, e)| (rank(o), e))
            .collect();
        for object in self.needed.keys() {
            found
                .entry(rank(*object))
                .or_insert(Error::Missing(*object));
        }
        for ((_, object), error) in found {
            report.problems.push(Problem {
                error,
                needed_by: self.needed.remove(&object),
            });
        }
        Ok(())
    }

    /// Follows one commit's tree. What is shared with another commit is followed
    /// once.
    fn follow(&mut self, commit: &Checksum) -> Result<()> {
        let root = self.repo.load_commit(commit)?;
        let mut stack = vec![(root.root_tree, root.root_meta, PathBuf::from("/"))];
        while let Some((tree, meta, path)) = stack.pop() {
            self.need(ObjectName::new(meta, ObjectKind::DirMeta), commit, &path);
            let object = ObjectName::new(tree, ObjectKind::DirTree);
            if !self.need(object, commit, &path) || !self.seen.insert(object) {
                continue;
            }
            let tree = self.repo.load_dirtree(&tree)?;
            for file in tree.files {
                let object = ObjectName::new(file.checksum, ObjectKind::File);
                self.need_file(object, commit, || path.join(file.name));
            }
            for dir in tree.dirs {
                stack.push((dir.tree, dir.meta, path.join(dir.name)));
            }
        }
        Ok(())
    }

    /// Notes who needs an object if it is missing or damaged; whether it is whole.
    fn need(&mut self, object: ObjectName, commit: &Checksum, path: &std::path::Path) -> bool {
        self.need_file(object, commit, || path.to_owned())
    }

    fn need_file(
        &mut self,
        object: ObjectName,
        commit: &Checksum,
        path: impl FnOnce() -> PathBuf,
    ) -> bool {
        let whole = self.present.contains(&object) && !self.damaged.contains_key(&object);
        if !whole {
            self.needed
                .entry(object)
                .or_insert_with(|| (*commit, path()));
        }
        whole
    }
}

/// Commits before directories before files.
fn rank(object: ObjectName) -> (u8, ObjectName) {
    let rank = match object.kind {
        ObjectKind::Commit => 0,
        ObjectKind::DirTree => 1,
        ObjectKind::DirMeta => 2,
        ObjectKind::File => 3,
    };
    (rank, object)
}
