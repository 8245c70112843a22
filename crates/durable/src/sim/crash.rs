//! Every disk that a power cut may leave.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::SimFs;
use super::atoms::{Atom, Disk, View};
use super::record::{Call, Step};
use super::tree::{Effect, Tree};

/// Images built at one crash point unless told otherwise.
const PER_POINT: usize = 400;

/// A set of crashes to look at: where the operation starts, who looks at the
/// disk afterwards, and how many images to build at most.
#[derive(Debug, Clone)]
pub struct Crashes {
    start: SimFs,
    views: Vec<View>,
    per_point: usize,
    only_finished: bool,
}

/// Where the power was cut.
#[derive(Debug, Clone)]
pub struct When {
    /// Who looks at the disk.
    pub view: View,
    /// How many calls had returned.
    pub call: usize,
    /// Whether the operation had returned.
    pub finished: bool,
    marks: BTreeSet<String>,
    calls: Vec<String>,
    /// What the disk kept and lost, for people.
    pub kept: Vec<String>,
}

impl When {
    /// Whether the operation had got to this [`SimFs::mark`].
    #[must_use]
    pub fn passed(&self, mark: &str) -> bool {
        self.marks.contains(mark)
    }

    /// Whether a call like this had been made.
    pub fn called(&self, like: impl Fn(&str) -> bool) -> bool {
        self.calls.iter().any(|call| like(call))
    }
}

/// How much was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Calls that the operation made.
    pub calls: usize,
    /// Crash points: before, between and after the calls, for each view.
    pub points: usize,
    /// Images built.
    pub built: usize,
    /// Different images, each shown to the invariant.
    pub images: usize,
    /// Points at which not every combination was built, because they were more
    /// than the bound.
    pub sampled: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls, {} crash points, {} disks ({} built), {} points sampled",
            self.calls, self.points, self.images, self.built, self.sampled
        )
    }
}

/// An image on which the invariant does not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Where the power was cut.
    pub when: When,
    /// What the invariant said.
    pub message: String,
    /// The calls up to there.
    pub calls: Vec<String>,
    /// What was looked at until then.
    pub report: Report,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "after these calls ({:?} view):", self.when.view)?;
        for (n, call) in self.calls.iter().enumerate() {
            writeln!(f, "  {n:3} {call}")?;
        }
        writeln!(f, "a power cut may leave a disk with:")?;
        for kept in &self.when.kept {
            writeln!(f, "  {kept}")?;
        }
        write!(f, "where: {}", self.message)
    }
}

impl std::error::Error for Failure {}

impl Crashes {
    /// Crashes of operations on what `start` holds now, all of it certain. Looks
    /// as the running system does after its journal was replayed.
    #[must_use]
    pub fn from(start: &SimFs) -> Self {
        Self {
            start: start.snapshot(),
            views: vec![View::Ordered, View::Relaxed],
            per_point: PER_POINT,
            only_finished: false,
        }
    }

    /// Looks at the disk in this way instead.
    #[must_use]
    pub fn view(mut self, view: View) -> Self {
        self.views = vec![view];
        self
    }

    /// Builds at most so many images at one crash point; times what the
    /// environment variable `BACKSTOP_CRASH_DEPTH` says, for a longer look.
    #[must_use]
    pub fn per_point(mut self, images: usize) -> Self {
        let depth = std::env::var("BACKSTOP_CRASH_DEPTH").ok();
        let depth = depth.and_then(|d| d.parse().ok()).unwrap_or(1);
        self.per_point = images.saturating_mul(depth);
        self
    }

    /// Cuts the power only after the operation has returned: is what it did
    /// durable?
    #[must_use]
    pub fn only_finished(mut self) -> Self {
        self.only_finished = true;
        self
    }

    /// Runs `operation` once, cuts it off after each call, and shows each disk
    /// that may be left to `invariant`, which panics where something is wrong.
    /// The image is a live filesystem: it may be changed, repaired, tried again.
    ///
    /// # Errors
    /// The first image on which `invariant` panicked.
    pub fn find<T>(
        &self,
        operation: impl FnOnce(&SimFs) -> T,
        invariant: impl Fn(&SimFs, &When),
    ) -> Result<Report, Box<Failure>> {
        let fs = self.start.snapshot();
        operation(&fs);
        let calls = std::mem::take(&mut fs.state().calls);
        let mut report = Report {
            calls: calls.iter().filter(|c| !is_mark(c)).count(),
            ..Report::default()
        };
        for view in &self.views {
            self.cut(*view, &calls, &invariant, &mut report)?;
        }
        Ok(report)
    }

    /// As [`find`](Self::find), and panics with the calls and the image where
    /// the invariant does not hold.
    pub fn check<T>(
        &self,
        operation: impl FnOnce(&SimFs) -> T,
        invariant: impl Fn(&SimFs, &When),
    ) -> Report {
        match self.find(operation, invariant) {
            Ok(report) => report,
            Err(failure) => panic!("{failure}"),
        }
    }

    fn cut(
        &self,
        view: View,
        calls: &[Call],
        invariant: &impl Fn(&SimFs, &When),
        report: &mut Report,
    ) -> Result<(), Box<Failure>> {
        let mut disk = Disk::new(view, self.start.state().tree.clone(), calls);
        let mut seen = HashSet::new();
        let mut when = When {
            view,
            call: 0,
            finished: calls.is_empty(),
            marks: BTreeSet::new(),
            calls: Vec::new(),
            kept: Vec::new(),
        };
        loop {
            if when.finished || !self.only_finished {
                self.look(&disk, &when, &mut seen, invariant, report)?;
            }
            let Some(call) = calls.get(when.call) else {
                return Ok(());
            };
            disk.feed(when.call);
            when.calls.push(call.text.clone());
            if let Step::Mark(mark) = &call.step {
                when.marks.insert(mark.clone());
            }
            when.call += 1;
            when.finished = when.call == calls.len();
        }
    }

    /// Builds the images of one crash point and shows those that are new.
    fn look(
        &self,
        disk: &Disk<'_>,
        when: &When,
        seen: &mut HashSet<(u64, usize, bool)>,
        invariant: &impl Fn(&SimFs, &When),
        report: &mut Report,
    ) -> Result<(), Box<Failure>> {
        report.points += 1;
        let atoms = disk.atoms();
        let choices = choices(&atoms, self.per_point, when.call);
        report.sampled += usize::from(!choices.all);
        for choice in choices.list {
            report.built += 1;
            let (tree, kept) = image(&disk.certain, &atoms, &choice);
            if seen.insert((tree.digest(), when.marks.len(), when.finished)) {
                report.images += 1;
                let when = When {
                    kept,
                    ..when.clone()
                };
                show(SimFs::of(tree), when, invariant, report)?;
            }
        }
        Ok(())
    }
}

fn is_mark(call: &Call) -> bool {
    matches!(call.step, Step::Mark(_))
}

/// Lets the invariant look at one image.
fn show(
    fs: SimFs,
    when: When,
    invariant: &impl Fn(&SimFs, &When),
    report: &Report,
) -> Result<(), Box<Failure>> {
    let Err(panic) = catch_unwind(AssertUnwindSafe(|| invariant(&fs, &when))) else {
        return Ok(());
    };
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    Err(Box::new(Failure {
        message: text.unwrap_or_else(|| "the invariant panicked".to_owned()),
        calls: when.calls.clone(),
        when,
        report: *report,
    }))
}

/// The disk that one set of answers makes.
fn image(certain: &Tree, atoms: &[Atom], choice: &[usize]) -> (Tree, Vec<String>) {
    let mut effects: Vec<&(usize, Effect)> = Vec::new();
    let mut kept = Vec::new();
    for (atom, answer) in atoms.iter().zip(choice) {
        let possible = atom.needs.iter().all(|n| choice[*n] != 0);
        let answer = &atom.answers[if possible { *answer } else { 0 }];
        kept.push(answer.says.clone());
        effects.extend(&answer.effects);
    }
    effects.sort_by_key(|(at, _)| *at);
    let mut tree = certain.clone();
    for (_, effect) in effects {
        tree.apply(effect);
    }
    (tree, kept)
}

/// Which answers to combine.
struct Choices {
    list: Vec<Vec<usize>>,
    /// Whether these are all combinations.
    all: bool,
}

/// All combinations if they are at most `bound`; otherwise everything lost,
/// everything kept, and a selection, made by `seed`, of the single differences
/// from those, the prefixes, and random ones.
fn choices(atoms: &[Atom], bound: usize, seed: usize) -> Choices {
    let sizes: Vec<usize> = atoms.iter().map(|a| a.answers.len()).collect();
    let product = sizes.iter().try_fold(1usize, |p, s| p.checked_mul(*s));
    if let Some(all) = product.filter(|p| *p <= bound) {
        let list = (0..all).map(|n| digits(n, &sizes)).collect();
        return Choices { list, all: true };
    }
    let mut seed = 0x9E37_79B9_7F4A_7C15u64 ^ seed as u64;
    let last: Vec<usize> = sizes.iter().map(|s| s - 1).collect();
    let mut list = vec![vec![0; sizes.len()], last];
    let mut told = telling(&sizes, &list);
    while list.len() < bound * 4 / 5 && !told.is_empty() {
        let n = random(&mut seed) % told.len();
        list.push(told.swap_remove(n));
    }
    while list.len() < bound {
        list.push(sizes.iter().map(|s| random(&mut seed) % s).collect());
    }
    Choices { list, all: false }
}

/// Each single difference from everything lost and everything kept (`bases`), and
/// each prefix.
fn telling(sizes: &[usize], bases: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut told = Vec::new();
    for (n, size) in sizes.iter().enumerate() {
        for base in bases {
            for answer in (0..*size).filter(|answer| base[n] != *answer) {
                let mut choice = base.clone();
                choice[n] = answer;
                told.push(choice);
            }
        }
        let prefix = (0..sizes.len()).map(|i| if i < n { sizes[i] - 1 } else { 0 });
        told.push(prefix.collect());
    }
    told
}

/// `n` written in a number system whose digits have these sizes.
fn digits(mut n: usize, sizes: &[usize]) -> Vec<usize> {
    let digit = |size: &usize| {
        let digit = n % size;
        n /= size;
        digit
    };
    sizes.iter().map(digit).collect()
}

/// The same numbers in every run (xorshift).
fn random(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed >> 16) as usize
}
