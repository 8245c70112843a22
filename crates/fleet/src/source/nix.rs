//! Nix closures: evaluated and built here or there, and brought to a host.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

use crate::config::{Attribute, CopyWith, Copying, Host};
use crate::local::{self, Running};
use crate::ssh::{Connection, shared};
use crate::{Error, Result};

/// So many paths go on one command line.
const AT_ONCE: usize = 500;
/// By which deploy-rs's wrapper is known.
const WRAPPED: &str = "deploy-rs-activate";
/// No closure has more paths.
const MOST_PATHS: usize = 1_000_000;

/// Builds a host's version here.
pub(crate) fn build(flake: &str, attribute: &Attribute, limit: Duration) -> Result<String> {
    let installable = format!("{flake}#{}", attribute.path());
    // `--print-out-paths` is unknown to older ones.
    let words = ["build", "--no-link", "--json", &installable];
    unwrap(&one_output(&local::nix(
        "build the version",
        &words,
        limit,
    )?)?)
}

/// The one path that `nix build --json` says it built.
fn one_output(json: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Built {
        outputs: BTreeMap<String, Option<String>>,
    }
    let nonsense = || Error::Nonsense {
        from: "nix".to_owned(),
        what: local::one_line(json),
    };
    let built: Vec<Built> = serde_json::from_str(json).map_err(|_| nonsense())?;
    let mut paths = built
        .into_iter()
        .flat_map(|built| built.outputs.into_values());
    match (paths.next(), paths.next()) {
        (Some(Some(path)), None) => one_path(&path),
        _ => Err(nonsense()),
    }
}

/// Evaluates a host's version here, without building it.
pub(crate) fn evaluate(flake: &str, attribute: &Attribute, limit: Duration) -> Result<String> {
    let installable = format!("{flake}#{}.drvPath", attribute.path());
    let words = ["eval", "--raw", &installable];
    one_path(&local::nix("evaluate the version", &words, limit)?)
}

/// The version in deploy-rs's wrapper, which links to each of its files; any other
/// path is the version itself.
fn unwrap(path: &str) -> Result<String> {
    let wrapper = Path::new(path);
    if !wrapper.join(WRAPPED).exists() {
        return Ok(path.to_owned());
    }
    let inside = wrapper.join("nixos-version");
    let found = std::fs::canonicalize(&inside);
    let found = found.map_err(Error::file("find the version behind", &inside))?;
    one_path(&found.parent().unwrap_or(wrapper).to_string_lossy())
}

/// What a derivation will build.
pub(crate) fn output(drv: &str, limit: Duration) -> Result<String> {
    let mut command = Command::new("nix-store");
    command.args(["--query", "--outputs", drv]);
    one_path(&local::run("find out what is to be built", command, limit)?)
}

/// Where a toplevel that was named by a link really is.
pub(crate) fn real_path(path: &str) -> Result<String> {
    let found =
        std::fs::canonicalize(path).map_err(Error::file("find the version", Path::new(path)))?;
    one_path(&found.to_string_lossy())
}

fn one_path(text: &str) -> Result<String> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next()) {
        (Some(path), None) if path.contains("/store/") => Ok(path.to_owned()),
        _ => Err(Error::Nonsense {
            from: "nix".to_owned(),
            what: local::one_line(text),
        }),
    }
}

/// Copies a path with all that it needs, as far as the host lacks it. Answers
/// with how many paths were sent.
pub(crate) fn copy(
    connection: &mut Connection,
    host: &Host,
    path: &str,
    closure: &[String],
    how: Copying,
    socket: &Path,
    tell: impl FnMut(u64),
) -> Result<usize> {
    let limit = host.bounds.copy;
    let mut missing = missing(connection, closure, limit)?;
    if how.substitute && !missing.is_empty() {
        substitute(connection, &missing, limit)?;
        missing = self::missing(connection, &missing, limit)?;
    }
    if missing.is_empty() {
        return Ok(0);
    }
    match how.with {
        CopyWith::NixCopy => nix_copy(host, path, socket)?,
        CopyWith::Stream => stream(connection, &missing, limit, tell)?,
    }
    Ok(missing.len())
}

/// The closures of paths in this machine's store, each asked for only once: many
/// hosts may get the same.
#[derive(Debug, Default)]
pub(crate) struct Closures {
    known: Mutex<BTreeMap<String, Arc<Mutex<Option<Closure>>>>>,
}

type Closure = Arc<Vec<String>>;

impl Closures {
    /// A path and all that it needs. Whoever asks for what is being found out
    /// waits for it.
    pub(crate) fn of(&self, path: &str, limit: Duration) -> Result<Closure> {
        self.find(path, || closure(path, limit))
    }

    fn find(&self, path: &str, ask: impl FnOnce() -> Result<Vec<String>>) -> Result<Closure> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = known.entry(path.to_owned()).or_default().clone();
        drop(known);
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(closure) = &*slot {
            return Ok(closure.clone());
        }
        let found = Arc::new(ask()?);
        *slot = Some(found.clone());
        Ok(found)
    }
}

/// A path and all that it needs, by this machine's store.
fn closure(path: &str, limit: Duration) -> Result<Vec<String>> {
    let mut command = Command::new("nix-store");
    command.args(["--query", "--requisites", path]);
    let text = local::run("find out what the version needs", command, limit)?;
    let paths: Vec<String> = text.lines().map(str::to_owned).collect();
    if paths.is_empty() || paths.len() > MOST_PATHS {
        return Err(Error::Nonsense {
            from: "nix-store".to_owned(),
            what: format!("{} paths", paths.len()),
        });
    }
    Ok(paths)
}

/// Those of some paths that the host's store lacks.
fn missing(connection: &mut Connection, paths: &[String], limit: Duration) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    for some in paths.chunks(AT_ONCE) {
        let mut words = vec!["--check-validity".to_owned(), "--print-invalid".to_owned()];
        words.extend_from_slice(some);
        let said = connection.must_run("nix-store", &words, None, limit)?;
        let said = String::from_utf8_lossy(&said).into_owned();
        missing.extend(said.lines().map(str::to_owned));
    }
    Ok(missing)
}

/// Lets the host fetch what it can; what it can't is sent.
fn substitute(connection: &mut Connection, paths: &[String], limit: Duration) -> Result<()> {
    for some in paths.chunks(AT_ONCE) {
        let mut words: Vec<String> = ["--realise", "--ignore-unknown", "--keep-going"]
            .map(str::to_owned)
            .to_vec();
        words.extend_from_slice(some);
        let nix_store = crate::wire::Program::Named("nix-store".to_owned());
        // Its status says that something could not be fetched, which is no failure.
        connection.run(nix_store, &words, None, limit, &mut |_| {})?;
    }
    Ok(())
}

/// Sends an export of these paths through the open connection.
fn stream(
    connection: &mut Connection,
    paths: &[String],
    limit: Duration,
    tell: impl FnMut(u64),
) -> Result<()> {
    let mut command = Command::new("nix-store");
    command.arg("--export").args(paths).stdout(Stdio::piped());
    let mut export = Running::start("export the version", &mut command)?;
    let Some(stdout) = export.child.stdout.take() else {
        return Ok(());
    };
    let mut counted = Counted {
        from: stdout,
        total: 0,
        tell,
    };
    let words = ["--import".to_owned()];
    let imported = connection.must_run("nix-store", &words, Some(&mut counted), limit);
    match (export.finish(Duration::from_secs(10)), imported) {
        // An import fails after a failed export too; the export's word says why.
        (Err(why @ Error::Program { .. }), Err(_)) => Err(why),
        (exported, imported) => imported.and(exported),
    }
}

/// Tells how much was read.
struct Counted<R, F> {
    from: R,
    total: u64,
    tell: F,
}

impl<R: Read, F: FnMut(u64)> Read for Counted<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.total += read as u64;
        (self.tell)(self.total);
        Ok(read)
    }
}

/// `nix copy` over the host's session, for hosts that demand signatures.
fn nix_copy(host: &Host, path: &str, socket: &Path) -> Result<()> {
    let user = host.address.user.as_ref();
    let at = user.map_or(String::new(), |user| format!("{user}@"));
    let mut command = Command::new("nix");
    command
        .args([
            "--extra-experimental-features",
            "nix-command",
            "copy",
            "--to",
        ])
        .arg(format!("ssh://{at}{}", host.address.host))
        .arg(path)
        .env("NIX_SSHOPTS", shared(&host.address, socket));
    local::run("copy the version", command, host.bounds.copy).map(drop)
}

/// Where the host's garbage collector finds what was brought, until the version's
/// own roots are there.
const INCOMING: &str = "/nix/var/nix/gcroots/backstop-incoming";

/// Keeps what is brought from being collected: the host's turn may come hours later.
/// Done before it is there, so that no collection comes between.
pub(crate) fn hold(connection: &mut Connection, path: &str, limit: Duration) -> Result<()> {
    let words = ["-sfn", path, INCOMING].map(str::to_owned);
    connection.must_run("ln", &words, None, limit).map(drop)
}

/// Builds a derivation on the host, which has it already.
pub(crate) fn realise(connection: &mut Connection, drv: &str, limit: Duration) -> Result<String> {
    let words = ["--realise".to_owned(), drv.to_owned()];
    let said = connection.must_run("nix-store", &words, None, limit)?;
    one_path(&String::from_utf8_lossy(&said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_is_asked_for_once() {
        let closures = Closures::default();
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let ask = |path: &str| {
            let found = closures.find(path, || {
                asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(vec![path.to_owned()])
            });
            found.unwrap()[0].clone()
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(ask("/nix/store/a"), "/nix/store/a"));
            }
        });
        assert_eq!(ask("/nix/store/b"), "/nix/store/b");
        assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), 2);
        let fails = closures.find("/nix/store/c", || Err(Error::CalledOff));
        assert!(fails.is_err());
        assert_eq!(ask("/nix/store/c"), "/nix/store/c", "a failure is not kept");
    }

    #[test]
    fn one_store_path_is_wanted() {
        assert_eq!(one_path("/nix/store/x\n").unwrap(), "/nix/store/x");
        for text in ["", "/nix/store/a\n/nix/store/b\n", "warning: dirty"] {
            assert!(one_path(text).is_err(), "{text}");
        }
        let built = r#"[{"drvPath":"/nix/store/x.drv","outputs":{"out":"/nix/store/x"}}]"#;
        assert_eq!(one_output(built).unwrap(), "/nix/store/x");
        for text in [
            "",
            "[]",
            "[{}]",
            r#"[{"outputs":{"out":null}}]"#,
            r#"[{"outputs":{"a":"/nix/store/a","b":"/nix/store/b"}}]"#,
        ] {
            assert!(one_output(text).is_err(), "{text}");
        }
    }
}
