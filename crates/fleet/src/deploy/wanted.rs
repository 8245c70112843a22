//! Which version a host is to have, by what its description names.

use std::collections::BTreeMap;

use super::{HostRun, ask};
use crate::config::{Attribute, ImageRef, Source};
use crate::source::{image, nix};
use crate::{Error, Result};

/// The version that a host is to have.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Its digest, as the host's journal names it.
    pub(super) version: String,
    /// What `backstop switch` on the host is told.
    pub(super) switch: String,
    /// An image to send first.
    pub(super) outgoing: Option<image::Outgoing>,
    /// A derivation to build on the host first.
    pub(super) derivation: Option<String>,
    /// What is known of where it came from.
    pub(super) provenance: BTreeMap<String, String>,
}

impl Wanted {
    /// A version that the host knows by the name that we know it by.
    fn called(version: String) -> Self {
        Self {
            switch: version.clone(),
            version,
            outgoing: None,
            derivation: None,
            provenance: BTreeMap::new(),
        }
    }
}

impl HostRun<'_> {
    /// Finds out which version it is to be, building it if it has to be here.
    pub(super) fn find_version(&mut self) -> Result<Wanted> {
        match &self.on.host.source {
            None => Err(self.nothing_wanted("nothing says which version it is to have; give `flake`, `store_path`, `image` or `fetch`")),
            Some(Source::StorePath { path, .. }) => Ok(Wanted::called(nix::real_path(path)?)),
            Some(Source::Flake {
                flake,
                attribute,
                build_on_target: false,
                ..
            }) => self.built_here(flake, attribute),
            Some(Source::Flake {
                flake, attribute, ..
            }) => self.evaluated_here(flake, attribute),
            Some(Source::Image(image)) => self.image_of_ours(image),
            Some(Source::Fetch(image)) => {
                let image = image.clone();
                self.image_of_theirs(&image)
            }
        }
    }

    fn nothing_wanted(&self, why: &str) -> Error {
        Error::Host {
            host: self.on.host.name.clone(),
            why: why.to_owned(),
        }
    }

    fn built_here(&self, flake: &str, attribute: &Attribute) -> Result<Wanted> {
        let limit = self.on.host.bounds.build;
        self.on.says("building");
        let mut wanted = Wanted::called(nix::build(flake, attribute, limit)?);
        wanted.provenance = self.on.shared.origins.of(flake, attribute, limit)?;
        Ok(wanted)
    }

    /// To be built there.
    fn evaluated_here(&self, flake: &str, attribute: &Attribute) -> Result<Wanted> {
        if attribute.is_wrapper() {
            return Err(self.nothing_wanted(&format!("only building {attribute} here tells which version is in it; name a configuration by `flake` to build it there")));
        }
        let limit = self.on.host.bounds.build;
        self.on.says("evaluating");
        let drv = nix::evaluate(flake, attribute, limit)?;
        let mut wanted = Wanted::called(nix::output(&drv, limit)?);
        wanted.derivation = Some(drv);
        wanted.provenance = self.on.shared.origins.of(flake, attribute, limit)?;
        Ok(wanted)
    }

    /// In a repository on this machine, to be sent.
    fn image_of_ours(&self, image: &ImageRef) -> Result<Wanted> {
        let shared = self.on.shared;
        self.on.says("looking up the version");
        let commit = image::resolve(&shared.fs, image)?;
        let mut wanted = Wanted::called(commit.to_string());
        if wanted.version != self.running() {
            let outgoing = shared
                .outgoings
                .prepare(&shared.fs, &shared.state, image, commit)?;
            wanted.outgoing = Some(outgoing);
        }
        Ok(wanted)
    }

    /// In a repository that the host sees.
    fn image_of_theirs(&mut self, image: &ImageRef) -> Result<Wanted> {
        self.on.says("asking for the version");
        let limit = self.on.host.bounds.build;
        let mut wanted = Wanted::called(ask::resolve(self.session()?, image, limit)?);
        wanted.switch = image.to_string();
        Ok(wanted)
    }
}
