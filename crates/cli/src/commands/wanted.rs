//! Which version is wanted, as people name it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent::Policy;
use anyhow::{Context, bail};
use clap::Args;
use engine::VersionId;
use image::{ImageHost, Source};
use nix::flake::{BuildOptions, FlakeHost};
use nix::{NixHost, StorePath};

use crate::args::Global;
use crate::host::AnyHost;
use crate::progress::Terminal;
use crate::session::Session;

/// Names a version.
#[derive(Debug, Clone, Args)]
pub struct WantedArgs {
    /// Image hosts: REPOSITORY:REF, or a ref or commit of the repository that this
    /// host follows. Nix hosts: a path in the store, a link to one, or the number of
    /// a generation. Either: a bundle's file
    #[arg(required_unless_present = "flake", conflicts_with = "flake")]
    pub version: Option<String>,
    /// Nix hosts: build HOST's system from a flake
    #[arg(long, value_name = "FLAKE[#HOST]")]
    pub flake: Option<String>,
    /// Nix hosts: get the path from this store, as `nix copy --from` names it
    #[arg(long, value_name = "STORE", conflicts_with = "flake")]
    pub from: Option<String>,
    /// Nix hosts: get the path from the substituters that Nix knows
    #[arg(long, conflicts_with_all = ["flake", "from"])]
    pub substitute: bool,
    /// Nix hosts: pass this on to `nix build`
    #[arg(
        long = "build-option",
        value_name = "OPTION",
        allow_hyphen_values = true
    )]
    pub flags: Vec<String>,
    /// Nix hosts: what a deployer knows of where the path came from
    #[arg(long = "provenance", value_name = "NAME=TEXT", value_parser = fact, hide = true)]
    pub facts: Vec<(String, String)>,
}

/// Reads `NAME=TEXT`.
fn fact(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it has no `=`")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A version, and where it comes from.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub version: VersionId,
    pub source: String,
    pub provenance: BTreeMap<String, String>,
}

impl WantedArgs {
    /// Finds the version; a flake's is built.
    pub fn find(
        &self,
        session: &Session,
        policy: &Policy,
        global: &Global,
    ) -> anyhow::Result<Wanted> {
        let root = session.host.checks_root()?;
        if let Some(name) = &self.version
            && let Some(bundle) = super::bundle::open(&durable::RealFs, &root, name)?
        {
            return super::bundle::take_in(bundle, session, name, global);
        }
        match (&session.host, &self.flake, &self.version) {
            (AnyHost::Nix(host), Some(flake), _) => {
                let flags = self.flags.clone();
                built(host, flake, flags, None, global)
            }
            (AnyHost::Nix(host), None, Some(name)) => self.in_store(host, name),
            (AnyHost::Image(_), Some(_), _) => {
                bail!("a flake's systems are for Nix hosts, and this is an image host")
            }
            (AnyHost::Image(host), None, Some(name)) => of_image(host, policy, name, global),
            (_, None, None) => bail!("no version was named"),
        }
    }

    fn in_store(&self, host: &NixHost, name: &str) -> anyhow::Result<Wanted> {
        let source = match &self.from {
            Some(store) => format!("{}{store}", nix::host::STORE),
            None if self.substitute => nix::host::SUBSTITUTERS.to_owned(),
            None => nix::host::THIS_HOST.to_owned(),
        };
        Ok(Wanted {
            version: store_path(host, name)?.version(),
            source,
            provenance: self.facts.iter().cloned().collect(),
        })
    }
}

/// The path that is named by itself, by a link, or by a generation's number.
pub fn store_path(host: &NixHost, name: &str) -> anyhow::Result<StorePath> {
    if let Ok(number) = name.parse::<u64>() {
        let generations = host.overview()?.generations;
        let generation = generations.into_iter().find(|g| g.number == number);
        let generation =
            generation.with_context(|| format!("the system profile has no generation {number}"))?;
        return Ok(StorePath::of(host.layout(), &generation.version)?);
    }
    host.follow(Path::new(name))
        .with_context(|| format!("`{name}` names no version of a Nix host"))
}

/// Builds a flake's version.
pub fn built(
    host: &NixHost,
    flake: &str,
    flags: Vec<String>,
    out_link: Option<PathBuf>,
    global: &Global,
) -> anyhow::Result<Wanted> {
    let this_host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let flake = FlakeHost::parse(flake, &this_host);
    let options = BuildOptions { flags, out_link };
    let built = host.build(&flake, &options, &Terminal::new(global.json))?;
    Ok(Wanted {
        version: built.path.version(),
        source: format!("flake {flake}"),
        provenance: built.provenance,
    })
}

fn of_image(
    host: &ImageHost,
    policy: &Policy,
    name: &str,
    global: &Global,
) -> anyhow::Result<Wanted> {
    let source = match (name.parse::<Source>(), &policy.upgrade.source) {
        (Ok(source), _) if source.repo.is_dir() || host.has_remote(&source)? => source,
        (_, Some(repo)) => Source {
            repo: repo.into(),
            rev: name.to_owned(),
        },
        (parsed, None) => parsed.with_context(|| {
            format!("`{name}` alone names no version, since no policy says which repository this host follows")
        })?,
    };
    Ok(Wanted {
        version: host.resolve(&source, &Terminal::new(global.json))?,
        source: source.to_string(),
        provenance: BTreeMap::new(),
    })
}
