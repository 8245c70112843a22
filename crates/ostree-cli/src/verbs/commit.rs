//! `ostree commit`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ostree::{
    Archive, CommitOptions, CommitSummary, LinkedFiles, Metadata, ModeChange, Modify, Parent,
    PathFilter, Repo, SePolicy, Source, Value,
};

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::options::{flag, value};
use crate::{date, fail};

pub const COMMAND: Command = Command {
    name: "commit",
    summary: "Store a new version",
    words: "[PATH]",
    works: Works::OnRepo,
    options: &[
        value("parent", "COMMIT", "The commit before, or \"none\""),
        value("subject", "TEXT", "What it is, in one line").short('s'),
        value("body", "TEXT", "More about it").short('m'),
        value("body-file", "FILE", "A file that says more about it").short('F'),
        flag("editor", "Write subject and body in an editor").short('e'),
        value("branch", "BRANCH", "The ref to point to it").short('b'),
        flag("orphan", "Point no ref to it"),
        flag(
            "no-bindings",
            "Don't write into it which refs it belongs to",
        ),
        value("bind-ref", "BRANCH", "Another ref that it belongs to"),
        value("base", "REV", "A commit that it begins with, unchanged"),
        value(
            "tree",
            "dir=PATH|tar=FILE|ref=REV",
            "A tree to lay over those before it",
        ),
        value("add-metadata-string", "KEY=VALUE", "Say something about it"),
        value("add-metadata", "KEY=VALUE", "The same, with a typed value"),
        value("keep-metadata", "KEY", "Say what the commit before says"),
        value(
            "add-detached-metadata-string",
            "KEY=VALUE",
            "Say something beside it",
        ),
        value("owner-uid", "UID", "Owner of all files"),
        value("owner-gid", "GID", "Group of all files"),
        flag(
            "canonical-permissions",
            "Owner 0, no set-id bits, no attributes",
        ),
        flag("bootable", "It is a system that boots"),
        flag(
            "mode-ro-executables",
            "Take write bits off executable files",
        ),
        flag("no-xattrs", "Leave extended attributes out"),
        flag(
            "read-all",
            "Read every file, also those that did not change since the last commit",
        ),
        value(
            "selinux-policy",
            "PATH",
            "Label files by the policy of this system",
        ),
        flag(
            "selinux-policy-from-base",
            "Label files by the policy of the first tree",
        )
        .short('P'),
        flag(
            "link-checkout-speedup",
            "Don't read files that are links to objects",
        ),
        flag("devino-canonical", "And don't look at their attributes").short('I'),
        flag(
            "tar-autocreate-parents",
            "Make directories that an archive does not have",
        ),
        value(
            "tar-pathname-filter",
            "PATTERN,REPLACEMENT",
            "Change names in archives",
        ),
        flag(
            "skip-if-unchanged",
            "Make no commit where the content is the same",
        ),
        value("statoverride", "FILE", "Modes of files, by path"),
        value("skip-list", "FILE", "Paths to leave out"),
        flag("consume", "Remove directories once they are stored"),
        flag("table-output", "Print more, as \"KEY: VALUE\" lines"),
        value("gpg-sign", "KEY", "Sign it with this key of gpg"),
        value("gpg-homedir", "DIR", "Where keys of gpg are"),
        value("sign", "KEY", "Sign it with this key"),
        value("sign-from-file", "FILE", "Sign it with the key in a file"),
        value("sign-type", "NAME", "What kind of key that is"),
        flag("generate-sizes", "Write into it how large its objects are"),
        value("fsync", "yes|no", "Whether to wait for the disk"),
        value("timestamp", "TIME", "When it was made"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let repo = match cx.given.boolean("fsync")? {
        Some(false) => repo.unsynced(),
        _ => repo,
    };
    let branch = cx.given.value("branch").map(str::to_owned);
    if branch.is_none() && !cx.given.has("orphan") {
        return fail("A branch must be specified or use --orphan");
    }
    let parent = parent(cx, &repo, branch.as_deref())?;
    let mut options = options(cx, &repo, parent)?;
    options.branch = branch.filter(|_| !cx.given.has("orphan"));
    let sources = sources(cx, &repo)?;
    options.policy = policy(cx, &repo, &sources)?.map(Arc::new);
    let detached = pairs(cx, "add-detached-metadata-string")?;
    if !detached.is_empty() {
        let mut metadata = Metadata::default();
        for (key, text) in detached {
            metadata.set(&key, Value::from(text.as_str()));
        }
        options.detached = Some(metadata);
    }
    options.signers = crate::verbs::signing::signers(cx)?;
    let summary = repo.commit(&sources, &options, &cx.monitor())?;
    crate::verbs::summary::update_after_commit(&repo)?;
    match cx.given.has("table-output") {
        true => table(cx, &summary),
        false => Ok(writeln!(cx.out, "{}", summary.checksum)?),
    }
}

fn parent(cx: &Cx, repo: &Repo, branch: Option<&str>) -> anyhow::Result<Parent> {
    Ok(match (cx.given.value("parent"), branch) {
        (Some("none"), _) | (None, None) => Parent::None,
        (Some(rev), _) => match rev.parse() {
            Ok(checksum) => Parent::Commit(checksum),
            Err(_) => return fail(format!("Invalid rev {rev}")),
        },
        (None, Some(branch)) => match repo.read_ref(branch)? {
            Some(checksum) => Parent::Commit(checksum),
            None => Parent::None,
        },
    })
}

fn options(cx: &mut Cx, repo: &Repo, parent: Parent) -> anyhow::Result<CommitOptions> {
    let given = &cx.given;
    if given.has("no-bindings") && !given.values("bind-ref").is_empty() {
        return fail("--bind-ref and --no-bindings don't go together");
    }
    let (subject, body) = message(cx)?;
    let given = &cx.given;
    let timestamp = match given.value("timestamp") {
        None => source_date()?,
        // What is before 1970 wraps, as `ostree` has it.
        Some(text) => Some(date::parse(text)?.cast_unsigned()),
    };
    let trust = given.has("devino-canonical");
    let links = match (trust, given.has("link-checkout-speedup")) {
        (true, _) => LinkedFiles::Trust,
        (_, true) => LinkedFiles::Known,
        _ => LinkedFiles::Read,
    };
    Ok(CommitOptions {
        parent,
        subject,
        body,
        timestamp,
        metadata: metadata(cx, repo, parent)?,
        bind_refs: given
            .values("bind-ref")
            .iter()
            .map(|r| (*r).to_owned())
            .collect(),
        no_bindings: given.has("no-bindings"),
        owner_uid: given.number("owner-uid")?,
        owner_gid: given.number("owner-gid")?,
        canonical_permissions: given.has("canonical-permissions"),
        no_xattrs: given.has("no-xattrs"),
        read_all: given.has("read-all"),
        bootable: given.has("bootable"),
        skip_unchanged: given.has("skip-if-unchanged"),
        sizes: given.has("generate-sizes"),
        modify: Modify {
            ro_executables: given.has("mode-ro-executables"),
            modes: given
                .value("statoverride")
                .map(modes)
                .transpose()?
                .unwrap_or_default(),
            skip: given
                .value("skip-list")
                .map(paths)
                .transpose()?
                .unwrap_or_default(),
            consume: given.has("consume"),
            links,
        },
        before_publishing: test_error(),
        ..CommitOptions::default()
    })
}

/// The time that builds which are to be the same every time set.
fn source_date() -> anyhow::Result<Option<u64>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else {
        return Ok(None);
    };
    use std::num::IntErrorKind::PosOverflow;
    match text.parse::<i64>() {
        Ok(seconds) => Ok(Some(u64::try_from(seconds)?)),
        Err(e) if *e.kind() == PosOverflow => {
            fail("Parsing SOURCE_DATE_EPOCH: Numerical result out of range")
        }
        Err(_) => fail(format!("Failed to convert SOURCE_DATE_EPOCH: {text}")),
    }
}

/// A failure that somebody who tests wants just before anything is published.
pub(super) fn test_error() -> Option<&'static str> {
    let wanted = std::env::var("OSTREE_REPO_TEST_ERROR").ok()?;
    (wanted == "pre-commit").then_some("OSTREE_REPO_TEST_ERROR_PRE_COMMIT specified")
}

/// Subject and body.
fn message(cx: &Cx) -> anyhow::Result<(String, String)> {
    let given = &cx.given;
    let subject = given.value("subject").unwrap_or("").to_owned();
    let body = given.value("body").unwrap_or("").to_owned();
    if let Some(file) = given.value("body-file") {
        if given.has("body") {
            return fail("Cannot specify both --body and --body-file");
        }
        return Ok((subject, std::fs::read_to_string(file)?));
    }
    if given.has("editor") {
        return crate::verbs::editor::message(&subject, &body);
    }
    Ok((subject, body))
}

/// The values that an option was given as `KEY=VALUE`.
fn pairs(cx: &Cx, option: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for text in cx.given.values(option) {
        match text.split_once('=') {
            None => return fail(format!("Missing '=' in KEY=VALUE metadata '{text}'")),
            Some(("", _)) => return fail("Empty metadata key"),
            Some((key, value)) => pairs.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok(pairs)
}

fn metadata(cx: &Cx, repo: &Repo, parent: Parent) -> anyhow::Result<Metadata> {
    let mut metadata = Metadata::default();
    for (key, text) in pairs(cx, "add-metadata-string")? {
        metadata.set(&key, Value::from(text.as_str()));
    }
    for (key, text) in pairs(cx, "add-metadata")? {
        metadata.set(&key, Value::parse_text(&text)?);
    }
    let keep = cx.given.values("keep-metadata");
    if keep.is_empty() {
        return Ok(metadata);
    }
    let Parent::Commit(parent) = parent else {
        return fail("Either --branch or --parent must be specified when using --keep-metadata");
    };
    let old = repo.load_commit(&parent)?;
    for key in keep {
        match old.metadata.get(key) {
            Some(value) => metadata.set(key, value.clone()),
            None => {
                return fail(format!(
                    "Missing metadata key '{key}' from commit '{parent}'"
                ));
            }
        }
    }
    Ok(metadata)
}

/// Modes by path: `MODE PATH` adds bits, `=MODE PATH` sets all; numbers are decimal.
fn modes(file: &str) -> anyhow::Result<std::collections::BTreeMap<PathBuf, ModeChange>> {
    let mut modes = std::collections::BTreeMap::new();
    for line in std::fs::read_to_string(file)?
        .lines()
        .filter(|l| !l.trim().is_empty())
    {
        let Some((mode, path)) = line.split_once(' ') else {
            return fail("Malformed statoverride file (no space found)");
        };
        let (set, digits) = match mode.strip_prefix('=') {
            Some(digits) => (true, digits),
            None => (false, mode.trim_start_matches('+')),
        };
        let Ok(bits) = digits.parse() else {
            return fail(format!("Malformed statoverride file (bad mode {mode})"));
        };
        let change = if set {
            ModeChange::Set(bits)
        } else {
            ModeChange::Add(bits)
        };
        modes.insert(PathBuf::from(path), change);
    }
    Ok(modes)
}

/// Paths, one a line.
pub fn paths(file: &str) -> anyhow::Result<std::collections::BTreeSet<PathBuf>> {
    let text = std::fs::read_to_string(file)?;
    Ok(text
        .lines()
        .filter(|l| !l.is_empty())
        .map(PathBuf::from)
        .collect())
}

fn sources(cx: &Cx, repo: &Repo) -> anyhow::Result<Vec<Source>> {
    let mut sources = Vec::new();
    if let Some(rev) = cx.given.value("base") {
        sources.push(Source::Base(repo.resolve(rev)?));
    }
    let trees = cx.given.values("tree");
    for tree in &trees {
        let Some((kind, what)) = tree.split_once('=') else {
            return fail(format!("Missing type in tree specification '{tree}'"));
        };
        sources.push(match kind {
            "dir" => dir(Path::new(what))?,
            "ref" => Source::Commit(repo.resolve(what)?),
            "tar" => archive(cx, what)?,
            other => return fail(format!("Invalid tree type specification '{other}'")),
        });
    }
    if trees.is_empty() {
        let path = cx.given.rest.first().map_or(".", String::as_str);
        sources.push(dir(Path::new(path))?);
    }
    Ok(sources)
}

/// The policy whose labels files get.
fn policy(cx: &Cx, repo: &Repo, sources: &[Source]) -> anyhow::Result<Option<SePolicy>> {
    if let Some(root) = cx.given.value("selinux-policy").map(Path::new) {
        dir(root)?;
        return Ok(SePolicy::of_dir(root)?);
    }
    if !cx.given.has("selinux-policy-from-base") {
        return Ok(None);
    }
    Ok(match sources.first() {
        Some(Source::Dir(root)) => SePolicy::of_dir(root)?,
        Some(Source::Commit(commit) | Source::Base(commit)) => SePolicy::of_commit(repo, commit)?,
        _ => return fail("--selinux-policy-from-base needs a directory or a commit as first tree"),
    })
}

fn dir(path: &Path) -> anyhow::Result<Source> {
    match path.is_dir() {
        true => Ok(Source::Dir(path.to_owned())),
        false => fail(format!(
            "opendir({}): No such file or directory",
            path.display()
        )),
    }
}

fn archive(cx: &Cx, path: &str) -> anyhow::Result<Source> {
    let filter = match cx.given.value("tar-pathname-filter") {
        None => None,
        Some(text) => match PathFilter::parse(text) {
            Some(filter) => Some(filter),
            None => {
                return fail(format!(
                    "'{text}' is not PATTERN,REPLACEMENT with a pattern of plain text (after a ^, if wanted)"
                ));
            }
        },
    };
    Ok(Source::Tar(Archive {
        path: PathBuf::from(path),
        make_parents: cx.given.has("tar-autocreate-parents"),
        filter,
        whiteouts: false,
    }))
}

fn table(cx: &mut Cx, summary: &CommitSummary) -> anyhow::Result<()> {
    let metadata_written = summary.objects_written - summary.content_written;
    writeln!(cx.out, "Commit: {}", summary.checksum)?;
    for (name, number) in [
        ("Metadata Total", summary.metadata_total),
        ("Metadata Written", metadata_written),
        ("Content Total", summary.content_total),
        ("Content Written", summary.content_written),
        ("Content Cache Hits", summary.cache_hits),
        ("Content Bytes Written", summary.bytes_written),
    ] {
        writeln!(cx.out, "{name}: {number}")?;
    }
    Ok(())
}
