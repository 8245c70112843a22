//! Where a flake's versions come from.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::config::Attribute;
use crate::{Error, Result, local};

/// What is known of a flake's source.
type Facts = BTreeMap<String, String>;

/// The flakes of a rollout, each asked for once.
#[derive(Debug, Default)]
pub(crate) struct Origins(Mutex<BTreeMap<String, Facts>>);

impl Origins {
    /// What is to be remembered of a version: the flake, its revision, its lock.
    pub(crate) fn of(&self, flake: &str, attribute: &Attribute, limit: Duration) -> Result<Facts> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut facts = match known.get(flake) {
            Some(facts) => facts.clone(),
            None => {
                let facts = ask(flake, limit)?;
                known.insert(flake.to_owned(), facts.clone());
                facts
            }
        };
        facts.insert("attribute".to_owned(), attribute.path().to_owned());
        Ok(facts)
    }
}

fn ask(flake: &str, limit: Duration) -> Result<Facts> {
    let words = ["flake", "metadata", "--json", flake];
    let metadata = local::nix("ask where the flake came from", &words, limit)?;
    ::nix::flake::provenance(&metadata).map_err(|e| Error::Nonsense {
        from: "nix".to_owned(),
        what: crate::chain(&e),
    })
}
