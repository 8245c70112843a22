//! `ostree checkout`

use std::io::Read;
use std::path::{Path, PathBuf};

use ostree::{CheckoutOptions, Error, Links, Overwrite, Repo, RepoMode};

use super::commit::paths;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::{flag, value};

pub const COMMAND: Command = Command {
    name: "checkout",
    summary: "Get a commit as a directory",
    words: "COMMIT [DESTINATION]",
    works: Works::OnRepo,
    options: &[
        flag("user-mode", "Leave owners and extended attributes out").short('U'),
        flag("disable-cache", "Keep no uncompressed copies"),
        value("subpath", "PATH", "Only this directory or file"),
        flag("union", "Fill a directory; replace files that are there"),
        flag("union-add", "Fill a directory; keep files that are there"),
        flag(
            "union-identical",
            "Fill a directory; fail where a file is another",
        ),
        flag("whiteouts", "Let .wh. files remove what is there"),
        flag(
            "process-passthrough-whiteouts",
            "Make overlay whiteouts of .ostree-wh. files",
        ),
        flag("allow-noent", "Do nothing where the subpath is not there"),
        flag("from-stdin", "Read what to check out from standard input"),
        value("from-file", "FILE", "Read what to check out from a file"),
        value("fsync", "yes|no", "Whether to wait for the disk"),
        flag("force-copy-zerosized", "Empty files are copied always").short('z'),
        flag("require-hardlinks", "Fail where hard links cannot be made").short('H'),
        flag("force-copy", "Copy all files").short('C'),
        flag("bareuseronly-dirs", "Harmless mode bits on directories").short('M'),
        value("skip-list", "FILE", "Paths to leave out"),
        value(
            "selinux-policy",
            "PATH",
            "Label files by the policy of this system",
        ),
        value(
            "selinux-prefix",
            "PREFIX",
            "What paths start with in that policy",
        ),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    cx.refuse(&["selinux-policy"])?;
    let repo = cx.repo()?;
    let options = options(cx, &repo)?;
    if cx.given.has("from-stdin") || cx.given.has("from-file") {
        return many(cx, &repo, &options);
    }
    let rev = cx.word(0, "COMMIT must be specified")?;
    let dest = cx.given.rest.get(1).unwrap_or(&rev).clone();
    one(cx, &repo, &options, &rev, Path::new(&dest))
}

fn options(cx: &Cx, repo: &Repo) -> anyhow::Result<CheckoutOptions> {
    let has = |option: &str| cx.given.has(option);
    let unions = ["union", "union-add", "union-identical"];
    if unions.iter().filter(|u| has(u)).count() > 1 {
        return fail("Cannot specify both --union and --union-add, or --union-identical");
    }
    if has("require-hardlinks") && has("force-copy") {
        return fail("Cannot specify both --require-hardlinks and --force-copy");
    }
    if has("union-identical") && !has("require-hardlinks") {
        return fail("--union-identical requires --require-hardlinks");
    }
    if has("require-hardlinks") {
        match (repo.mode(), has("user-mode")) {
            (RepoMode::Bare, true) => {
                return fail("Bare repository mode cannot hardlink in user checkout mode");
            }
            (RepoMode::BareUser, false) => {
                return fail("User repository mode requires user checkout mode to hardlink");
            }
            _ => {}
        }
    }
    Ok(CheckoutOptions {
        user_mode: has("user-mode"),
        links: match (has("require-hardlinks"), has("force-copy")) {
            (true, _) => Links::Require,
            (_, true) => Links::Never,
            _ => Links::Prefer,
        },
        subpath: cx.given.value("subpath").map(PathBuf::from),
        into_existing: unions.iter().any(|u| has(u)),
        overwrite: match () {
            () if has("union") => Overwrite::Replace,
            () if has("union-add") => Overwrite::Keep,
            () if has("union-identical") => Overwrite::Same,
            () => Overwrite::Refuse,
        },
        whiteouts: has("whiteouts"),
        overlay_whiteouts: has("process-passthrough-whiteouts"),
        skip: cx
            .given
            .value("skip-list")
            .map(paths)
            .transpose()?
            .unwrap_or_default(),
        harmless_dirs: has("bareuseronly-dirs"),
        cache: !has("disable-cache"),
        copy_empty: true,
    })
}

/// Checks several commits out over one another: revisions and subpaths, each ended
/// by a NUL.
fn many(cx: &mut Cx, repo: &Repo, options: &CheckoutOptions) -> anyhow::Result<()> {
    let mut list = Vec::new();
    match cx.given.value("from-file") {
        Some(file) => drop(std::fs::File::open(file)?.read_to_end(&mut list)?),
        None => drop(std::io::stdin().read_to_end(&mut list)?),
    }
    let dest = cx.word(0, "DESTINATION must be specified")?;
    let text = String::from_utf8(list)?;
    let mut words = text.split('\0');
    while let Some(rev) = words.next().filter(|r| !r.is_empty()) {
        let Some(subpath) = words.next() else {
            return fail(format!("Missing subpath after {rev}"));
        };
        let options = CheckoutOptions {
            subpath: (!subpath.is_empty()).then(|| PathBuf::from(subpath)),
            ..options.clone()
        };
        one(cx, repo, &options, rev, Path::new(&dest))?;
    }
    Ok(())
}

fn one(
    cx: &Cx,
    repo: &Repo,
    options: &CheckoutOptions,
    rev: &str,
    dest: &Path,
) -> anyhow::Result<()> {
    let commit = repo.resolve(rev)?;
    match repo.checkout(&commit, dest, options, &cx.monitor()) {
        Err(Error::NoSuchPath { .. }) if cx.given.has("allow-noent") => Ok(()),
        Err(e) => Err(e.into()),
        Ok(_) => match cx.given.boolean("fsync")? {
            Some(true) => Ok(cx.fs().sync_filesystem(dest)?),
            _ => Ok(()),
        },
    }
}
