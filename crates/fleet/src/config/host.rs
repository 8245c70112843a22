//! One host, with everything decided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use health::{Check, Span};

use super::attribute::Attribute;
use super::file::Description;
use super::key::Key;
use super::settings::{CopyWith, Kind, Settings, Trial};
use crate::{Error, Result};

/// Where programs are put on a host.
const PROGRAM_DIR: &str = "/var/lib/backstop/bin";

/// One host of the fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name in the fleet.
    pub name: String,
    /// How to get there.
    pub address: Address,
    /// Its tags.
    pub tags: Vec<String>,
    /// Where its version comes from, if anything says so.
    pub source: Option<Source>,
    /// What it runs, where that is said or follows from the source.
    pub kind: Option<Kind>,
    /// Become root by sudo, unless the login is root's.
    pub sudo: bool,
    /// Its sysroot.
    pub sysroot: PathBuf,
    /// Programs to bring along, by processor.
    pub program: BTreeMap<String, PathBuf>,
    /// Where they are put.
    pub program_dir: PathBuf,
    /// How its version is tried.
    pub trial: Trial,
    /// Whether it waits for the deployer's word.
    pub confirm: bool,
    /// How often it may be booted in a boot trial.
    pub attempts: Option<u8>,
    /// Checks made from here.
    pub checks: Vec<Check>,
    /// Secrets.
    pub keys: BTreeMap<String, Key>,
    /// How long things may take.
    pub bounds: Bounds,
}

/// How to get to a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// A name, an address, or a `Host` of the ssh configuration.
    pub host: String,
    /// The port, if not as the ssh configuration says.
    pub port: Option<u16>,
    /// The user, if not as the ssh configuration says.
    pub user: Option<String>,
    /// More words for ssh's command line.
    pub options: Vec<String>,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// A repository and a revision in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRef {
    /// The repository's directory.
    pub repository: PathBuf,
    /// A ref or a commit.
    pub rev: String,
}

impl ImageRef {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        match text.rsplit_once(':') {
            Some((repository, rev)) if !repository.is_empty() && !rev.is_empty() => Ok(Self {
                repository: repository.into(),
                rev: rev.to_owned(),
            }),
            _ => Err(format!("`{text}` is not of the form REPOSITORY:REF")),
        }
    }
}

impl std::fmt::Display for ImageRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.repository.display(), self.rev)
    }
}

/// Where a host's version comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A toplevel in this machine's store.
    StorePath {
        /// Its path.
        path: String,
        /// How closures travel.
        copy: Copying,
    },
    /// A flake's configuration.
    Flake {
        /// The flake.
        flake: String,
        /// Its attribute that is the version.
        attribute: Attribute,
        /// Build on the host.
        build_on_target: bool,
        /// How closures travel.
        copy: Copying,
    },
    /// A commit of a repository on this machine.
    Image(ImageRef),
    /// A commit that the host fetches itself.
    Fetch(ImageRef),
}

/// How closures travel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copying {
    /// By which program.
    pub with: CopyWith,
    /// Let the host fetch what its substituters have.
    pub substitute: bool,
}

/// How long things may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Opening a connection.
    pub connect: Duration,
    /// Bringing backstop along.
    pub upload: Duration,
    /// Evaluating and building.
    pub build: Duration,
    /// Copying a version.
    pub copy: Duration,
    /// A secret's command, and bringing it there.
    pub key: Duration,
    /// Staging and preflight.
    pub stage: Duration,
    /// A live activation and its checks.
    pub activation: Duration,
    /// A boot and its checks.
    pub boot: Duration,
    /// Trying for a new connection.
    pub reconnect: Duration,
    /// The host's wait for confirmation.
    pub confirm: Duration,
    /// Keeping or going back.
    pub settle: Duration,
}

impl Bounds {
    fn of(settings: &Settings) -> Self {
        let span = |given: Option<Span>, usual| given.map_or(Duration::from_secs(usual), |s| s.0);
        Self {
            connect: span(settings.connect_timeout, 15),
            upload: span(settings.upload_timeout, 120),
            build: span(settings.build_timeout, 3600),
            copy: span(settings.copy_timeout, 1800),
            key: span(settings.key_timeout, 60),
            stage: span(settings.stage_timeout, 600),
            activation: span(settings.activation_timeout, 300),
            boot: span(settings.boot_timeout, 600),
            reconnect: span(settings.reconnect_timeout, 60),
            confirm: span(settings.confirm_timeout, 120),
            settle: span(settings.settle_timeout, 300),
        }
    }
}

impl Host {
    /// Decides everything about a host from its merged settings.
    pub(super) fn new(name: &str, settings: Settings, dir: &Path) -> Result<Self> {
        Self::decide(name, settings, dir).map_err(|why| Error::Host {
            host: name.to_owned(),
            why,
        })
    }

    fn decide(name: &str, s: Settings, dir: &Path) -> std::result::Result<Self, String> {
        check_name(name)?;
        let address = address(name, &s)?;
        let source = source(name, &s, dir)?;
        let checks = s.checks.iter();
        let checks = checks.map(|(name, table)| table.check(name, &address.host));
        let checks = checks.collect::<std::result::Result<_, _>>()?;
        for (name, key) in &s.keys {
            key.check(name)?;
        }
        let sysroot = s.sysroot.clone().unwrap_or_else(|| "/".into());
        check_remote_path("sysroot", &sysroot)?;
        let program_dir = s.program_dir.clone().unwrap_or_else(|| match &source {
            _ if sysroot == Path::new("/") => PROGRAM_DIR.into(),
            _ => sysroot.join("ostree/backstop/bin"),
        });
        check_remote_path("program_dir", &program_dir)?;
        let programs = s.program.iter().flatten();
        let here = |path: &PathBuf| Description::absolute(path, dir);
        Ok(Self {
            name: name.to_owned(),
            kind: kind(s.kind, source.as_ref())?,
            sudo: s.sudo.unwrap_or(true),
            source,
            tags: s.tags.clone().unwrap_or_default(),
            program: programs.map(|(a, path)| (a.clone(), here(path))).collect(),
            trial: s.trial.unwrap_or_default(),
            confirm: s.confirm.unwrap_or(true),
            attempts: s.attempts,
            checks,
            keys: s.keys.clone(),
            bounds: Bounds::of(&s),
            address,
            sysroot,
            program_dir,
        })
    }
}

/// A host's name is a word of command lines and the name of a file.
fn check_name(name: &str) -> std::result::Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let first = name.chars().next();
    if first.is_some_and(|c| c.is_ascii_alphanumeric()) && name.chars().all(fine) {
        return Ok(());
    }
    Err("the name of a host has letters, digits, `.`, `_` and `-`, and begins with a letter or digit".to_owned())
}

fn address(name: &str, s: &Settings) -> std::result::Result<Address, String> {
    let host = s.target_host.clone().unwrap_or_else(|| name.to_owned());
    for word in [Some(&host), s.target_user.as_ref()].into_iter().flatten() {
        // ssh would take it for an option.
        if word.is_empty() || word.starts_with('-') {
            return Err(format!("`{word}` is empty or begins with `-`"));
        }
    }
    Ok(Address {
        host,
        port: s.target_port,
        user: s.target_user.clone(),
        options: s.ssh_options.clone().unwrap_or_default(),
    })
}

/// Paths that become a part of a shell script on the host.
fn check_remote_path(what: &str, path: &Path) -> std::result::Result<(), String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "/._-+@=,".contains(c);
    match path.to_str() {
        Some(text) if path.is_absolute() && text.chars().all(fine) => Ok(()),
        _ => Err(format!(
            "{what} must begin with / and have no blanks or signs that a shell would obey: {}",
            path.display()
        )),
    }
}

/// The one source that is given. What a host says itself counts before what a
/// flake is for all.
fn source(name: &str, s: &Settings, dir: &Path) -> std::result::Result<Option<Source>, String> {
    let copy = Copying {
        with: s.copy_with.unwrap_or_default(),
        substitute: s.substitute_on_destination.unwrap_or(false),
    };
    let mut given = Vec::new();
    if let Some(path) = &s.store_path {
        let path = path.clone();
        if !path.contains("/store/") || path.starts_with('-') {
            return Err(format!("`{path}` is no path in a Nix store"));
        }
        given.push(Source::StorePath { path, copy });
    }
    if let Some(image) = &s.image {
        let mut image = ImageRef::parse(image)?;
        image.repository = Description::absolute(&image.repository, dir);
        given.push(Source::Image(image));
    }
    if let Some(fetch) = &s.fetch {
        given.push(Source::Fetch(ImageRef::parse(fetch)?));
    }
    if let (Some(flake), true) = (&s.flake, given.is_empty()) {
        given.push(flake_source(name, flake, s, copy, dir));
    }
    if given.len() > 1 {
        return Err("give only one of `store_path`, `image` and `fetch`".to_owned());
    }
    Ok(given.pop())
}

fn flake_source(name: &str, flake: &str, s: &Settings, copy: Copying, dir: &Path) -> Source {
    let (flake, attribute) = match flake.split_once('#') {
        Some((flake, attribute)) => (flake, Attribute::parse(attribute)),
        None => (flake, Attribute::of(name)),
    };
    Source::Flake {
        flake: super::flake::absolute(flake, dir),
        attribute,
        build_on_target: s.build_on_target.unwrap_or(false),
        copy,
    }
}

fn kind(said: Option<Kind>, source: Option<&Source>) -> std::result::Result<Option<Kind>, String> {
    let follows = source.map(|source| match source {
        Source::StorePath { .. } | Source::Flake { .. } => Kind::Nix,
        Source::Image(_) | Source::Fetch(_) => Kind::Image,
    });
    match (said, follows) {
        (Some(said), Some(follows)) if said != follows => {
            Err("`kind` and where the version comes from do not go together".to_owned())
        }
        (said, follows) => Ok(said.or(follows)),
    }
}
