//! All of a pull in order: refs, objects, and then the refs here.

use std::sync::Arc;

use durable::RealFs;
use monitor::Monitor;
use ostree::session::{PullSession, SessionOptions, SessionSummary, Wanted};
use ostree::{Checksum, Remote, Repo, RepoMode, Summary, Verifier};

use crate::download::download;
use crate::error::chain;
use crate::{
    Connection, DeltaPreview, Deltas, Error, PullOptions, RemoteSummary, Result, delta, near,
};

/// What came of a pull.
pub type Pulled = SessionSummary;

/// Pulls from a remote into a repository.
///
/// # Errors
/// The network's, the disk's, what came is not what it should be, a signature is
/// missing. No ref has changed then, and what has arrived is kept for the next try.
pub fn pull(
    repo: &Repo,
    remote: &Remote,
    options: &PullOptions,
    verifier: &dyn Verifier,
    monitor: &dyn Monitor,
) -> Result<Pulled> {
    let (connection, summary) = reach(repo, remote, options, verifier, monitor)?;
    let plan = Plan {
        repo,
        connection: &connection,
        options,
        summary: summary.as_ref().map(|s| &s.summary),
    };
    let session_options = plan.session_options()?;
    plan.check_mode()?;
    let begin = || PullSession::begin(repo, session_options.clone(), verifier, monitor);
    let mut session = begin()?;
    if let Err(e) = plan.deltas(&session, monitor) {
        if options.deltas == Deltas::Require {
            return Err(e);
        }
        // By objects, then; what the delta made is kept as far as it is whole.
        monitor.note(&format!("a delta cannot be used: {}", chain(&e)));
        drop(session);
        session = begin()?;
    }
    if let Err(e) = download(&session, &connection) {
        return Err(match e {
            Error::Repo(e) => session.failed(e).into(),
            other => other,
        });
    }
    let pulled = session.publish()?;
    if options.mirror && options.refs.is_empty() && remote.branches().is_empty() {
        mirror_summary(repo, summary.as_ref())?;
    }
    Ok(pulled)
}

/// What [`pull()`] would fetch, were it by deltas alone. Nothing changes here.
///
/// # Errors
/// As that; no delta leads to something that is wanted.
pub fn preview_deltas(
    repo: &Repo,
    remote: &Remote,
    options: &PullOptions,
    verifier: &dyn Verifier,
    monitor: &dyn Monitor,
) -> Result<DeltaPreview> {
    let (connection, summary) = reach(repo, remote, options, verifier, monitor)?;
    let plan = Plan {
        repo,
        connection: &connection,
        options,
        summary: summary.as_ref().map(|s| &s.summary),
    };
    plan.check_mode()?;
    plan.check_deltas()?;
    let session = PullSession::begin(repo, plan.session_options()?, verifier, monitor)?;
    let found = delta::preview(&session, &connection, plan.summary);
    session.abandon();
    found
}

/// A remote within reach, and its summary where that is of use.
fn reach(
    repo: &Repo,
    remote: &Remote,
    options: &PullOptions,
    verifier: &dyn Verifier,
    monitor: &dyn Monitor,
) -> Result<(Connection, Option<RemoteSummary>)> {
    let connection = Connection::open(repo, remote, &options.net)?;
    let summary = match needs_summary(&connection, options) {
        true => connection.summary(repo, verifier, options.older_summary, monitor)?,
        false => None,
    };
    Ok((connection, summary))
}

/// Whether the summary is of use: to know what refs mean where that is not seen at
/// once, and because deltas that are demanded may be named nowhere else.
fn needs_summary(connection: &Connection, options: &PullOptions) -> bool {
    options.deltas == Deltas::Require
        || (connection.near().is_none() && !all_named_by_commit(options))
}

/// Whether nothing is wanted of which a summary could say what it is.
fn all_named_by_commit(options: &PullOptions) -> bool {
    let is_commit = |text: &str| text.parse::<Checksum>().is_ok();
    let named = |text: &String| {
        is_commit(text)
            || text
                .split_once('@')
                .is_some_and(|(_, commit)| is_commit(commit))
    };
    !options.refs.is_empty() && options.refs.iter().all(named)
}

/// The commit that a remote means by a revision now: a ref of it, or a commit, or
/// `REF@COMMIT`.
///
/// # Errors
/// The network's; its summary is refused; there is no such ref.
pub fn resolve(
    repo: &Repo,
    remote: &Remote,
    rev: &str,
    options: &PullOptions,
    verifier: &dyn Verifier,
    monitor: &dyn Monitor,
) -> Result<Checksum> {
    if let Ok(commit) = rev.parse() {
        return Ok(commit);
    }
    let connection = Connection::open(repo, remote, &options.net)?;
    let summary = match connection.near() {
        Some(_) => None,
        None => connection.summary(repo, verifier, options.older_summary, monitor)?,
    };
    let plan = Plan {
        repo,
        connection: &connection,
        options,
        summary: summary.as_ref().map(|s| &s.summary),
    };
    Ok(plan.one(rev)?.commit)
}

/// What is decided before the first object is asked for.
struct Plan<'a> {
    repo: &'a Repo,
    connection: &'a Connection,
    options: &'a PullOptions,
    summary: Option<&'a Summary>,
}

impl Plan<'_> {
    fn remote(&self) -> &Remote {
        self.connection.remote()
    }

    fn name(&self) -> String {
        self.remote().name().to_owned()
    }

    /// Uses deltas, where that is wanted and possible.
    fn deltas(&self, session: &PullSession<'_>, monitor: &dyn Monitor) -> Result<()> {
        let options = self.options;
        let required = options.deltas == Deltas::Require;
        if required {
            self.check_deltas()?;
        }
        // What is near is read faster by itself.
        if options.deltas == Deltas::Never || (self.connection.near().is_some() && !required) {
            return Ok(());
        }
        delta::apply(session, self.connection, self.summary, required, monitor)
    }

    /// Refuses to demand deltas where they cannot be used.
    fn check_deltas(&self) -> Result<()> {
        let partial = self.options.commit_metadata_only || !self.options.subpaths.is_empty();
        match self.repo.mode() == RepoMode::Archive || partial {
            true => Err(Error::DeltasUseless),
            false => Ok(()),
        }
    }

    fn session_options(&self) -> Result<SessionOptions> {
        let options = self.options;
        let mut local_caches = Vec::new();
        if let Some(root) = self.connection.near() {
            local_caches.push(near::open(root)?);
        }
        for path in &options.local_caches {
            local_caches.push(Repo::open(Arc::new(RealFs), path)?);
        }
        let from = options.timestamp_check_from.as_deref();
        Ok(SessionOptions {
            wanted: self.wanted()?,
            remote: Some(self.name()),
            mirror: options.mirror,
            depth: options.depth,
            subpaths: options.subpaths.clone(),
            commit_metadata_only: options.commit_metadata_only,
            local_caches,
            verify_bindings: options.verify_bindings,
            collection: self.collection()?,
            timestamp_check: options.timestamp_check,
            plain_modes_only: options.plain_modes_only,
            unverified_files: options.unverified_files,
            timestamp_check_from: from.map(|rev| self.repo.resolve(rev)).transpose()?,
        })
    }

    /// The collection whose refs the remote has: as it says itself, where it is near.
    fn collection(&self) -> Result<Option<String>> {
        if let Some(root) = self.connection.near() {
            return Ok(near::open(root)?.collection_id()?);
        }
        let id = self.remote().get("collection-id");
        id.map(ostree::check_collection_id).transpose()?;
        Ok(id.map(str::to_owned))
    }

    /// The commits that are asked for.
    fn wanted(&self) -> Result<Vec<Wanted>> {
        let mut names = self.options.refs.clone();
        if names.is_empty() {
            names.extend(self.remote().branches().iter().map(|b| (*b).to_owned()));
        }
        if !names.is_empty() {
            return names.iter().map(|name| self.one(name)).collect();
        }
        if !self.options.mirror {
            return Err(Error::NoRefs(self.name()));
        }
        let all = self.connection.refs_of(self.summary)?;
        let all = all.ok_or_else(|| Error::NoSummary {
            remote: self.name(),
            why: "to know all of its refs",
        })?;
        let wanted = |(name, commit)| Wanted {
            name: Some(name),
            commit,
        };
        Ok(all.into_iter().map(wanted).collect())
    }

    /// `REF`, `COMMIT` or `REF@COMMIT`.
    fn one(&self, text: &str) -> Result<Wanted> {
        if let Ok(commit) = text.parse() {
            return Ok(Wanted { name: None, commit });
        }
        if let Some((name, commit)) = text.split_once('@')
            && let Ok(commit) = commit.parse()
        {
            ostree::check_ref_name(name)?;
            let name = Some(name.to_owned());
            return Ok(Wanted { name, commit });
        }
        ostree::check_ref_name(text)?;
        Ok(Wanted {
            commit: self.resolve(text)?,
            name: Some(text.to_owned()),
        })
    }

    /// The commit that the remote calls so.
    fn resolve(&self, name: &str) -> Result<Checksum> {
        if let Some(found) = self.summary.and_then(|s| s.refs.get(name)) {
            return Ok(found.commit);
        }
        let none = || Error::NoSuchRef {
            remote: self.name(),
            name: name.to_owned(),
        };
        let remote = self.remote();
        let vouched = self.connection.vouched.is_some();
        if vouched || remote.gpg_verify_summary()? || remote.sign_verify_summary()? {
            // Only what is signed or vouched for counts.
            return Err(match (self.summary, self.connection.near()) {
                (None, None) => Error::NoSummary {
                    remote: self.name(),
                    why: "because the remote's settings demand a signed one",
                },
                _ => none(),
            });
        }
        self.connection.ref_file(name)?.ok_or_else(none)
    }

    /// Over HTTP, files have neither owners nor attributes: only an archive will do.
    fn check_mode(&self) -> Result<()> {
        if self.connection.near().is_some() {
            return Ok(());
        }
        let mode = match self.summary.and_then(Summary::mode) {
            Some(mode) => Some(mode.as_str().to_owned()),
            None => self.connection.mode_word()?,
        };
        match mode {
            Some(mode) if mode != "archive-z2" && mode != "archive" => Err(Error::NotAnArchive {
                remote: self.name(),
                mode,
            }),
            _ => Ok(()),
        }
    }
}

impl Connection {
    /// All refs of the remote, if it says so: in its summary, or because it is near.
    ///
    /// # Errors
    /// The disk's.
    pub fn refs_of(&self, summary: Option<&Summary>) -> Result<Option<Vec<(String, Checksum)>>> {
        if let Some(root) = self.near() {
            let refs = near::open(root)?.refs(None)?;
            let own = refs.into_iter().filter(|(name, _)| !name.contains(':'));
            return Ok(Some(own.collect()));
        }
        let refs = summary.map(|s| s.refs.iter());
        Ok(refs.map(|refs| refs.map(|(name, r)| (name.clone(), r.commit)).collect()))
    }
}

/// A mirror of everything has the summary too, and its signature.
fn mirror_summary(repo: &Repo, summary: Option<&RemoteSummary>) -> Result<()> {
    let Some(summary) = summary else {
        return Ok(());
    };
    repo.publish_summary(&summary.bytes, summary.signatures.as_deref())?;
    Ok(())
}
