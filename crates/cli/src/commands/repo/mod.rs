//! `backstop repo`: one file per subcommand.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use durable::RealFs;
use ostree::{Checksum, Repo};

use crate::args::Global;
use crate::exit::Ended;
use crate::output::Output;

mod cat;
mod checkout;
mod commit;
mod delta;
mod diff;
mod fsck;
mod init;
mod log;
mod ls;
mod prune;
mod pull;
mod pull_local;
mod refs;
mod remote;
mod rev_parse;
mod serve;
mod show;
mod sign;
mod summary;

/// Work on a repository of system versions.
#[derive(Debug, Args)]
pub struct RepoArgs {
    /// The repository; the host's own (`ostree/repo`) when not given
    #[arg(
        long,
        value_name = "DIR",
        global = true,
        env = "OSTREE_REPO",
        hide_env_values = true
    )]
    repo: Option<PathBuf>,
    #[command(subcommand)]
    command: RepoCommand,
}

/// A subcommand of `backstop repo`.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// Make a repository
    Init(init::Init),
    /// Store a directory as a new version
    Commit(commit::Commit),
    /// Get a version as a directory
    Checkout(checkout::Checkout),
    /// List, set and delete the names of versions
    Refs(refs::Refs),
    /// Show a version and those before it
    Log(log::Log),
    /// List the files in a version
    Ls(ls::Ls),
    /// Show what is said of a version
    Show(show::Show),
    /// Print files of a version
    Cat(cat::Cat),
    /// List the paths that differ between two versions
    Diff(diff::Diff),
    /// Check every object, and that nothing is missing
    Fsck(fsck::Fsck),
    /// Fetch versions from another repository on this machine
    PullLocal(pull_local::PullLocal),
    /// Fetch versions from a remote
    Pull(pull::Pull),
    /// Say where versions come from
    Remote(remote::RemoteArgs),
    /// Show or write the list of all refs
    Summary(summary::SummaryArgs),
    /// Let others pull over HTTP
    Serve(serve::Serve),
    /// Remove what no version needs
    Prune(prune::Prune),
    /// Print the checksums that names stand for
    RevParse(rev_parse::RevParse),
    /// Sign a version, or check its signature
    Sign(sign::Sign),
    /// Make and use static deltas: what turns one version into another
    Delta(delta::Delta),
}

/// What every subcommand needs.
struct Context<'a> {
    path: PathBuf,
    out: &'a mut Output,
}

impl Context<'_> {
    /// Opens the repository.
    fn open(&self) -> ostree::Result<Repo> {
        Repo::open(Arc::new(RealFs), &self.path)
    }

    /// Who shows progress.
    fn monitor(&self) -> crate::progress::Terminal {
        crate::progress::Terminal::new(self.out.is_json())
    }
}

/// Runs it.
pub fn run(args: RepoArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let path = args
        .repo
        .unwrap_or_else(|| global.sysroot.join("ostree/repo"));
    let mut cx = Context { path, out };
    let cx = &mut cx;
    match args.command {
        RepoCommand::Init(command) => command.run(cx),
        RepoCommand::Commit(command) => command.run(cx),
        RepoCommand::Checkout(command) => command.run(cx),
        RepoCommand::Refs(command) => command.run(cx),
        RepoCommand::Log(command) => command.run(cx),
        RepoCommand::Ls(command) => command.run(cx),
        RepoCommand::Show(command) => command.run(cx),
        RepoCommand::Cat(command) => command.run(cx),
        RepoCommand::Diff(command) => command.run(cx),
        RepoCommand::Fsck(command) => command.run(cx),
        RepoCommand::PullLocal(command) => command.run(cx),
        RepoCommand::Pull(command) => command.run(cx),
        RepoCommand::Remote(command) => command.run(cx),
        RepoCommand::Summary(command) => command.run(cx),
        RepoCommand::Serve(command) => command.run(cx),
        RepoCommand::Prune(command) => command.run(cx),
        RepoCommand::RevParse(command) => command.run(cx),
        RepoCommand::Sign(command) => command.run(cx),
        RepoCommand::Delta(command) => command.run(cx),
    }
}

/// A time as people read it.
fn date(timestamp: u64) -> String {
    let seconds = i64::try_from(timestamp).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000").to_string(),
        Err(_) => format!("{timestamp} seconds after 1970"),
    }
}

/// A commit as JSON.
fn commit_json(checksum: &Checksum, commit: &ostree::Commit) -> serde_json::Value {
    serde_json::json!({
        "checksum": checksum.to_string(),
        "parent": commit.parent.map(|p| p.to_string()),
        "content_checksum": commit.content_checksum().to_string(),
        "timestamp": commit.timestamp,
        "version": commit.version(),
        "subject": commit.subject,
        "body": commit.body,
    })
}

/// A commit as `ostree log` and `ostree show` print it.
fn print_commit(
    cx: &mut Context<'_>,
    checksum: &Checksum,
    commit: &ostree::Commit,
) -> std::io::Result<()> {
    let out = &mut *cx.out;
    out.line(&format!("commit {checksum}"))?;
    if let Some(parent) = commit.parent {
        out.line(&format!("Parent:  {parent}"))?;
    }
    out.line(&format!("ContentChecksum:  {}", commit.content_checksum()))?;
    out.line(&format!("Date:  {}", date(commit.timestamp)))?;
    if let Some(version) = commit.version() {
        out.line(&format!("Version: {version}"))?;
    }
    if commit.subject.is_empty() {
        out.line("(no subject)")?;
    } else {
        out.line("")?;
        out.line(&format!("    {}", commit.subject))?;
    }
    out.line("")?;
    if !commit.body.is_empty() {
        for line in commit.body.lines() {
            out.line(&format!("    {line}"))?;
        }
        out.line("")?;
    }
    Ok(())
}
