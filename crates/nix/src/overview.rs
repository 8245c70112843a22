//! What a Nix host has and runs, for its status.

use engine::VersionId;
use serde::Serialize;

use crate::NixHost;
use crate::error::Result;
use crate::rehearsal::Rehearsal;

/// One generation of the system profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// Its number.
    pub number: u64,
    /// Its version.
    pub version: VersionId,
    /// Whether the profile leads to it.
    pub current: bool,
}

/// What a Nix host has and runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Overview {
    /// What was booted.
    pub booted: VersionId,
    /// What is active: the same, or what was activated since.
    pub current: VersionId,
    /// What boots next by default, as far as the boot loader tells; else where the
    /// profile leads.
    pub default: Option<VersionId>,
    /// The boot loader that boot trials are made with, if there is one.
    pub loader: Option<&'static str>,
    /// Whether versions are started in a container before they are activated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Rehearsal>,
    /// The generation that the profile leads to.
    pub generation: Option<u64>,
    /// The profile's generations, oldest first.
    pub generations: Vec<Generation>,
}

impl NixHost {
    /// What it has and runs.
    ///
    /// # Errors
    /// It can't be told.
    pub fn overview(&self) -> Result<Overview> {
        let profile = self.profile();
        let generation = profile.current_number();
        let loader = self.loader().ok();
        // Asking the boot loader needs rights that a status does without.
        let told = loader.as_ref().and_then(|l| l.default().ok().flatten());
        let default = match told {
            Some(default) => Some(default),
            None => profile.current()?,
        };
        let generations = profile.generations()?.into_iter().map(|g| Generation {
            number: g.number,
            version: g.path.version(),
            current: generation == Some(g.number),
        });
        Ok(Overview {
            booted: self.booted_system()?.version(),
            current: self.active_system()?.version(),
            default: default.map(|path| path.version()),
            loader: loader.as_ref().map(crate::loader::Loader::name),
            container: self.rehearsal(),
            generation,
            generations: generations.collect(),
        })
    }
}
