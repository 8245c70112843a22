//! Static deltas, made and applied here and by Debian's `ostree`.

use std::fs;
use std::path::{Path, PathBuf};

use monitor::Silent;
use ostree::delta::{ApplyOptions, DeltaError, DeltaName, DeltaOptions, Endianness};
use ostree::sign::{KeySet, SecretKey, SignError, Signer, Trust};
use ostree::{Checksum, Error, FsckOptions, PullOptions, Repo, RepoMode};

use crate::sandbox::{Sandbox, commit, have_ostree, write};

/// Bytes that do not repeat.
pub fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// A repository with two commits, of a tree and of what became of it.
pub struct Story {
    pub sandbox: Sandbox,
    pub repo: Repo,
    pub old: Checksum,
    pub new: Checksum,
}

impl Story {
    pub fn new(mode: RepoMode) -> Self {
        let sandbox = Sandbox::new();
        let repo = sandbox.repo("repo", mode);
        let tree = sandbox.tree("tree");
        write(&tree.join("libold.so.1"), &noise(200_000, 4), 0o755);
        write(&tree.join("program"), &noise(300_000, 5), 0o755);
        write(&tree.join("a/big"), &noise(600_000, 3), 0o644);
        write(&tree.join("secret"), &noise(50_000, 6), 0o600);
        let old = commit(&repo, &tree);
        Self::edit(&tree);
        let new = commit(&repo, &tree);
        Self {
            sandbox,
            repo,
            old,
            new,
        }
    }

    fn edit(tree: &Path) {
        let mut big = fs::read(tree.join("a/big")).unwrap();
        big[0] ^= 1;
        big.splice(500_000..500_000, *b"put in between");
        write(&tree.join("a/big"), &big, 0o644);
        // What a change of addresses makes of a program.
        let mut program = fs::read(tree.join("program")).unwrap();
        (0..program.len())
            .step_by(20)
            .for_each(|i| program[i] ^= 0x40);
        write(&tree.join("program"), &program, 0o755);
        let mut secret = noise(50_000, 6);
        secret[9] ^= 1;
        write(&tree.join("secret"), &secret, 0o600);
        // Another name, which begins the same.
        fs::remove_file(tree.join("libold.so.1")).unwrap();
        let mut lib = noise(200_000, 4);
        lib[100_000] ^= 1;
        write(&tree.join("libold.so.2"), &lib, 0o755);
        write(&tree.join("a/one"), b"other content\n", 0o644);
        write(&tree.join("fresh"), &noise(100_000, 7), 0o644);
        write(&tree.join("nothing"), b"", 0o644);
        std::os::unix::fs::symlink("../fresh", tree.join("a/link")).unwrap();
    }

    fn step(&self) -> DeltaName {
        DeltaName::new(Some(self.old), self.new)
    }

    fn scratch(&self) -> DeltaName {
        DeltaName::new(None, self.new)
    }

    pub fn generate(&self, name: DeltaName, options: &DeltaOptions) -> PathBuf {
        self.repo.generate_delta(name, options, &Silent).unwrap();
        self.repo.path().join(name.relative_dir())
    }

    /// A repository with the old commit alone.
    pub fn behind(&self, name: &str, mode: RepoMode) -> Repo {
        let repo = self.sandbox.repo(name, mode);
        let old = [self.old.to_string()];
        repo.pull_local(&self.repo, &old, &PullOptions::default(), &Silent)
            .unwrap();
        repo
    }
}

/// Ways to make a delta.
fn ways() -> Vec<(&'static str, DeltaOptions)> {
    let all = DeltaOptions {
        min_fallback_size: 0,
        ..DeltaOptions::default()
    };
    let with = |set: fn(&mut DeltaOptions)| {
        let mut options = all.clone();
        set(&mut options);
        options
    };
    vec![
        ("plain", all.clone()),
        ("inline", with(|o| o.inline = true)),
        ("no patches", with(|o| o.bsdiff = false)),
        ("big-endian", with(|o| o.endianness = Endianness::Big)),
        ("many parts", with(|o| o.max_chunk_size = 20_000)),
        ("small patches only", with(|o| o.max_bsdiff_size = 1000)),
    ]
}

/// The longest file is left out where it has no old version.
fn leaving_out() -> DeltaOptions {
    DeltaOptions {
        min_fallback_size: 500_000,
        ..DeltaOptions::default()
    }
}

/// From nothing, what is made of old files makes no difference.
fn worth_from_nothing(what: &str) -> bool {
    matches!(what, "plain" | "inline" | "big-endian")
}

fn whole(repo: &Repo, commit: &Checksum, what: &str) {
    let report = repo.fsck(&FsckOptions::default(), &Silent).unwrap();
    assert!(report.is_clean(), "{what}: {:?}", report.problems);
    assert!(repo.load_commit(commit).is_ok(), "{what}");
}

#[test]
fn ours_here() {
    for mode in [RepoMode::BareUser, RepoMode::Archive] {
        let story = Story::new(mode);
        for (what, options) in ways() {
            for name in [story.step(), story.scratch()] {
                if name.from.is_none() && !worth_from_nothing(what) {
                    continue;
                }
                let dir = story.generate(name, &options);
                let to = match name.from {
                    Some(_) => story.behind("to", mode),
                    None => story.sandbox.repo("to", mode),
                };
                let applied = to.apply_delta(&dir, &ApplyOptions::default(), &Silent);
                let applied = applied.unwrap_or_else(|e| panic!("{what} {name}: {e:?}"));
                assert_eq!(applied.name, name);
                assert!(applied.objects_written > 5);
                whole(&to, &story.new, what);
                let again = to
                    .apply_delta(&dir, &ApplyOptions::default(), &Silent)
                    .unwrap();
                assert_eq!(again.objects_written, 0, "{what}");
                fs::remove_dir_all(to.path()).unwrap();
            }
        }
        let all = story.repo.deltas().unwrap();
        assert_eq!(all.len(), 2);
        let report = story.repo.show_delta(&story.step()).unwrap();
        assert_eq!(report.name, story.step());
        story.repo.delete_delta(&story.step()).unwrap();
        assert_eq!(story.repo.deltas().unwrap(), [story.scratch()]);
        assert!(story.repo.delete_delta(&story.step()).is_err());
    }
}

#[test]
fn what_is_made_of_what() {
    let story = Story::new(RepoMode::BareUser);
    let made = |options: &DeltaOptions| {
        story
            .repo
            .generate_delta(story.step(), options, &Silent)
            .unwrap()
    };
    let default = made(&DeltaOptions::default());
    // The long file and the renamed library are copied, the program is patched; the
    // secret file's old version may not be readable for all who apply the delta.
    assert_eq!((default.copied, default.patched), (2, 1), "{default:?}");
    let copies = made(&DeltaOptions {
        bsdiff: false,
        ..DeltaOptions::default()
    });
    assert_eq!((copies.copied, copies.patched), (2, 0), "{copies:?}");
    assert!(copies.size > default.size);
    // New: 100 kB and 50 kB of noise; the rest is small.
    assert!(default.size < 230_000, "{default:?}");
    let scratch = story
        .repo
        .generate_delta(story.scratch(), &leaving_out(), &Silent);
    assert_eq!(scratch.unwrap().fallbacks, 1);
}

#[test]
fn ours_for_theirs() {
    if !have_ostree() {
        return;
    }
    let story = Story::new(RepoMode::BareUser);
    for (what, options) in ways() {
        for name in [story.step(), story.scratch()] {
            if name.from.is_none() && !worth_from_nothing(what) {
                continue;
            }
            let dir = story.generate(name, &options);
            story
                .sandbox
                .ostree(&["init", "--repo=to", "--mode=bare-user"]);
            if let Some(from) = name.from {
                story
                    .sandbox
                    .ostree(&["pull-local", "--repo=to", "repo", &from.to_string()]);
            }
            let path = dir.to_str().unwrap();
            let (ok, out) =
                story
                    .sandbox
                    .ostree_status(&["static-delta", "--repo=to", "apply-offline", path]);
            assert!(ok, "{what} {name}: {out}");
            story.sandbox.ostree(&["fsck", "--repo=to"]);
            whole(&story.sandbox.open("to"), &story.new, what);
            let shown = story
                .sandbox
                .ostree(&["static-delta", "--repo=repo", "list"]);
            assert!(shown.contains(&name.to_string()), "{shown}");
            if !options.inline {
                let show = ["static-delta", "--repo=repo", "show", &name.to_string()];
                let shown = story.sandbox.ostree(&show);
                let parts = story.repo.show_delta(&name).unwrap().parts;
                assert!(
                    shown.contains(&format!("Number of parts: {}", parts.len())),
                    "{shown}"
                );
                let c = parts[0].counts;
                let operations = format!(
                    "PartPayloadOps0: openspliceclose={} open={} write={} setread={} unsetread={} \
                     close={} bspatch={}",
                    c.splice, c.open, c.write, c.set_source, c.unset_source, c.close, c.patch
                );
                assert!(shown.contains(&operations), "{shown} and not {operations}");
            }
            fs::remove_dir_all(story.sandbox.path("to")).unwrap();
        }
    }
}

#[test]
fn theirs_for_ours() {
    if !have_ostree() {
        return;
    }
    let story = Story::new(RepoMode::BareUser);
    let (old, new) = (story.old.to_string(), story.new.to_string());
    let from = format!("--from={old}");
    let ways: [&[&str]; 6] = [
        &[&from],
        &["--empty"],
        &[&from, "--inline"],
        &[&from, "--disable-bsdiff"],
        &[&from, "--swap-endianness"],
        &[&from, "--max-chunk-size=1"],
    ];
    for way in ways {
        let args = [
            "static-delta",
            "--repo=repo",
            "generate",
            "--min-fallback-size=0",
        ];
        story.sandbox.ostree(&[&args, way, &[&new]].concat());
        let name = match way.contains(&"--empty") {
            true => story.scratch(),
            false => story.step(),
        };
        for mode in [RepoMode::BareUser, RepoMode::Archive] {
            let to = story.behind("to", mode);
            let dir = story.repo.path().join(name.relative_dir());
            to.apply_delta(&dir, &ApplyOptions::default(), &Silent)
                .unwrap();
            whole(&to, &story.new, &way.join(" "));
            story.repo.show_delta(&name).unwrap();
            fs::remove_dir_all(to.path()).unwrap();
        }
    }
    story
        .sandbox
        .ostree(&["static-delta", "--repo=repo", "reindex"]);
    let theirs = fs::read_dir(story.sandbox.path("repo/delta-indexes"))
        .unwrap()
        .next();
    let theirs = fs::read_dir(theirs.unwrap().unwrap().path())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let bytes = fs::read(theirs.path()).unwrap();
    fs::remove_file(theirs.path()).unwrap();
    story.repo.reindex_deltas(None).unwrap();
    let sorted = |bytes: &[u8]| {
        let metadata = ostree::Metadata::decode(bytes).unwrap();
        let deltas = ostree::Metadata::from_value(metadata.get("ostree.static-deltas").unwrap());
        let deltas = deltas.unwrap();
        let mut all: Vec<_> = deltas
            .iter()
            .map(|(k, v)| (k.to_owned(), v.clone()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    };
    assert_eq!(sorted(&fs::read(theirs.path()).unwrap()), sorted(&bytes));
    assert_eq!(story.repo.delta_indexes().unwrap(), [story.new]);
}

/// Upstream's issue 2066: a byte changed at the start of a file costs the file.
#[test]
fn a_byte_at_the_start_costs_little() {
    let sandbox = Sandbox::new();
    let repo = sandbox.repo("repo", RepoMode::BareUser);
    let tree = sandbox.path("tree");
    fs::create_dir(&tree).unwrap();
    let mut content = noise(3 << 20, 1);
    write(&tree.join("file"), &content, 0o644);
    let old = commit(&repo, &tree);
    content[0] ^= 1;
    write(&tree.join("file"), &content, 0o644);
    let new = commit(&repo, &tree);
    let options = DeltaOptions {
        bsdiff: false,
        ..DeltaOptions::default()
    };
    let name = DeltaName::new(Some(old), new);
    let made = repo.generate_delta(name, &options, &Silent).unwrap();
    assert!(made.size < 2000, "{made:?}");
    if have_ostree() {
        let (from, file) = (format!("--from={old}"), "--filename=theirs/superblock");
        fs::create_dir(sandbox.path("theirs")).unwrap();
        let generate = [
            "static-delta",
            "--repo=repo",
            "generate",
            "--disable-bsdiff",
            file,
        ];
        sandbox.ostree(&[&generate[..], &[&from, &new.to_string()]].concat());
        assert!(fs::metadata(sandbox.path("theirs/0")).unwrap().len() > 3 << 20);
    }
}

fn trusting(key: &SecretKey) -> ApplyOptions {
    let mut keys = KeySet::default();
    keys.trust(key.public());
    ApplyOptions {
        trust: Some(Trust::Ed25519(keys)),
        must_be_signed: true,
    }
}

#[test]
fn signed() {
    let story = Story::new(RepoMode::BareUser);
    let (key, other) = (
        SecretKey::generate().unwrap(),
        SecretKey::generate().unwrap(),
    );
    let unsigned = story.generate(story.step(), &DeltaOptions::default());
    let to = story.behind("to", RepoMode::BareUser);
    let apply = |options: &ApplyOptions| match to.apply_delta(&unsigned, options, &Silent) {
        Ok(_) => None,
        Err(Error::Delta(e)) => Some(e),
        Err(e) => panic!("{e:?}"),
    };
    assert!(matches!(apply(&trusting(&key)), Some(DeltaError::Unsigned)));
    let by_key = DeltaOptions {
        signers: vec![Signer::Ed25519(key.clone())],
        ..DeltaOptions::default()
    };
    story.generate(story.step(), &by_key);
    let Some(DeltaError::Untrusted(why)) = apply(&trusting(&other)) else {
        panic!("another key was believed");
    };
    assert!(matches!(*why, SignError::NoneGood { .. }), "{why}");
    let superblock = unsigned.join("superblock");
    let good = fs::read(&superblock).unwrap();
    let trust = trusting(&key).trust.unwrap();
    story.repo.verify_delta(&story.step(), &trust).unwrap();
    for at in (16..good.len()).step_by(good.len() / 40) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&superblock, &bad).unwrap();
        assert!(apply(&trusting(&key)).is_some(), "byte {at}");
        assert!(to.load_commit(&story.new).is_err());
    }
    fs::write(&superblock, &good).unwrap();
    assert!(apply(&trusting(&key)).is_none());
    whole(&to, &story.new, "signed");
}

/// Released `ostree` shows and applies what is signed here; without ed25519 it does
/// not check.
#[test]
fn signed_for_theirs() {
    if !have_ostree() {
        return;
    }
    let story = Story::new(RepoMode::BareUser);
    let options = DeltaOptions {
        signers: vec![Signer::Ed25519(SecretKey::generate().unwrap())],
        ..DeltaOptions::default()
    };
    let dir = story.generate(story.step(), &options);
    let show = [
        "static-delta",
        "--repo=repo",
        "show",
        &story.step().to_string(),
    ];
    assert!(story.sandbox.ostree(&show).contains("Signed: yes"));
    drop(story.behind("to", RepoMode::BareUser));
    story.sandbox.ostree(&[
        "static-delta",
        "--repo=to",
        "apply-offline",
        dir.to_str().unwrap(),
    ]);
    story.sandbox.ostree(&["fsck", "--repo=to"]);
}

#[test]
fn detached_metadata_comes_along() {
    let story = Story::new(RepoMode::BareUser);
    let key = SecretKey::generate().unwrap();
    story
        .repo
        .sign_commit(&story.new, &Signer::Ed25519(key.clone()))
        .unwrap();
    let dir = story.generate(story.step(), &DeltaOptions::default());
    let to = story.behind("to", RepoMode::BareUser);
    to.apply_delta(&dir, &ApplyOptions::default(), &Silent)
        .unwrap();
    let trust = trusting(&key).trust.unwrap();
    to.verify_commit(&story.new, &trust).unwrap();
}

#[test]
fn what_cannot_be_applied() {
    let story = Story::new(RepoMode::BareUser);
    let dir = story.generate(story.step(), &DeltaOptions::default());
    let apply = |to: &Repo, dir: &Path| match to
        .apply_delta(dir, &ApplyOptions::default(), &Silent)
        .unwrap_err()
    {
        Error::Delta(e) => e,
        e => panic!("{e:?}"),
    };
    let empty = story.sandbox.repo("empty", RepoMode::BareUser);
    assert!(matches!(apply(&empty, &dir), DeltaError::NoSource(c) if c == story.old));
    let scratch = story.generate(story.scratch(), &leaving_out());
    assert!(matches!(
        apply(&empty, &scratch),
        DeltaError::Fallbacks { count: 1, .. }
    ));
    // Without one of the files that it does not change.
    let to = story.behind("to", RepoMode::BareUser);
    let listed = to.list(&story.old, "a/empty".as_ref(), false).unwrap();
    let ostree::Item::File { checksum, .. } = listed[0].item else {
        panic!("{listed:?}");
    };
    let object = ostree::ObjectName::new(checksum, ostree::ObjectKind::File);
    fs::remove_file(to.object_path(&object)).unwrap();
    assert!(matches!(apply(&to, &dir), DeltaError::Incomplete(_)));
    assert!(to.load_commit(&story.new).is_err());
}
