//! The boot order: what is published, and what was.

use boot::{ConfigId, KernelArgs};
use serde::{Deserialize, Serialize};

use crate::deployment::{DeploymentId, Standing};
use crate::sysroot::Sysroot;
use crate::{Error, Result};

/// Which deployments boot, in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootOrder {
    /// The default first, then what to fall back to.
    pub good: Vec<DeploymentId>,
    /// Booted by hand, or when nothing else loads.
    pub bad: Vec<DeploymentId>,
    /// What must prove itself. It may stand among `good` too, when the same
    /// deployment is tried with other kernel arguments.
    pub trial: Option<TrialEntry>,
}

/// A deployment on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialEntry {
    /// Which.
    pub deployment: DeploymentId,
    /// How often it may be started, 1 to 9.
    pub attempts: u8,
    /// Kernel arguments for the trial alone, in the place of all of its own; none means
    /// its own. `backstop.trial=` and, unless given, `panic=` and
    /// `systemd.watchdog_sec=` come by themselves.
    pub kargs: KernelArgs,
}

/// What is published now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Published {
    /// The name of the configuration, if backstop published it.
    pub config: Option<ConfigId>,
    /// The order. Of one that `ostree` published, all count as good.
    pub order: BootOrder,
}

impl Published {
    /// The standing of a deployment.
    #[must_use]
    pub fn standing(&self, id: &DeploymentId) -> Standing {
        let order = &self.order;
        if let Some(at) = order.good.iter().position(|g| g == id) {
            return Standing::Good(at);
        }
        if order.bad.contains(id) {
            return Standing::Bad;
        }
        match &order.trial {
            Some(trial) if trial.deployment == *id => Standing::Trial,
            _ => Standing::Unlisted,
        }
    }
}

impl BootOrder {
    /// Every deployment in it, once, in the order of their boot entries.
    pub(crate) fn all(&self) -> Vec<&DeploymentId> {
        let trial = self.trial.iter().map(|t| &t.deployment);
        let mut all: Vec<&DeploymentId> = Vec::new();
        for id in self.good.iter().chain(trial).chain(&self.bad) {
            if !all.contains(&id) {
                all.push(id);
            }
        }
        all
    }

    /// Refuses an order that could leave the host without a way back.
    pub(crate) fn check(&self) -> Result<()> {
        if self.good.is_empty() {
            return Err(Error::Order("it has no good deployment to fall back to"));
        }
        if self.bad.iter().any(|id| self.good.contains(id)) {
            return Err(Error::Order("a deployment is in it as good and as bad"));
        }
        if let Some(trial) = &self.trial
            && self.bad.contains(&trial.deployment)
        {
            return Err(Error::Order("a deployment is on trial in it and bad"));
        }
        let distinct = |list: &[DeploymentId]| {
            let set: std::collections::BTreeSet<_> = list.iter().collect();
            set.len() == list.len()
        };
        if !distinct(&self.good) || !distinct(&self.bad) {
            return Err(Error::Order("a deployment is in it twice"));
        }
        Ok(())
    }
}

/// The name of the file that holds the order, in the `loader` directory, so that
/// it is switched together with the entries.
pub(crate) const ORDER_NAME: &str = "backstop.toml";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderFile {
    config: String,
    good: Vec<String>,
    bad: Vec<String>,
    trial: Option<TrialFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrialFile {
    deployment: String,
    attempts: u8,
    kargs: String,
}

/// The text of the order's file.
pub(crate) fn to_text(config: ConfigId, order: &BootOrder) -> Result<String> {
    let names = |list: &[DeploymentId]| list.iter().map(ToString::to_string).collect();
    let file = OrderFile {
        config: config.to_string(),
        good: names(&order.good),
        bad: names(&order.bad),
        trial: order.trial.as_ref().map(|t| TrialFile {
            deployment: t.deployment.to_string(),
            attempts: t.attempts,
            kargs: t.kargs.to_string(),
        }),
    };
    toml::to_string(&file).map_err(|e| Error::Invalid {
        path: ORDER_NAME.into(),
        why: e.to_string(),
    })
}

/// Reads it; the error says what is wrong.
pub(crate) fn from_text(text: &str) -> std::result::Result<Published, String> {
    let file: OrderFile = toml::from_str(text).map_err(|e| e.message().to_owned())?;
    let name = |n: &String| n.parse::<DeploymentId>().map_err(|e| e.to_string());
    let names = |list: &[String]| list.iter().map(name).collect::<std::result::Result<_, _>>();
    let trial = match &file.trial {
        Some(t) => Some(TrialEntry {
            deployment: name(&t.deployment)?,
            attempts: t.attempts,
            kargs: t
                .kargs
                .parse()
                .map_err(|e: boot::KargsError| e.to_string())?,
        }),
        None => None,
    };
    Ok(Published {
        config: Some(
            file.config
                .parse()
                .map_err(|e: boot::config::ConfigIdError| e.to_string())?,
        ),
        order: BootOrder {
            good: names(&file.good)?,
            bad: names(&file.bad)?,
            trial,
        },
    })
}

impl Sysroot {
    /// The published boot order; an empty one when nothing was published yet.
    ///
    /// # Errors
    /// The disk's, or an order that cannot be read.
    pub fn published(&self) -> Result<Published> {
        let Some(version) = self.boot_version()? else {
            return Ok(Published::default());
        };
        if let Some(published) = self.published_with(version)? {
            return Ok(published);
        }
        let good = self.entries()?.into_iter().map(|e| e.deployment);
        let order = BootOrder {
            good: good.collect(),
            ..BootOrder::default()
        };
        Ok(Published {
            config: None,
            order,
        })
    }

    /// The order that was written down with the entries of a boot version; `ostree`
    /// writes none.
    pub(crate) fn published_with(&self, version: u8) -> Result<Option<Published>> {
        let path = self.layout().loader_of(version).join(ORDER_NAME);
        if self.fs().metadata(&path).is_err() {
            return Ok(None);
        }
        let text = durable::read_to_string(self.fs(), &path)?;
        let published = from_text(&text).map_err(|why| Error::Invalid { path, why })?;
        Ok(Some(published))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> DeploymentId {
        DeploymentId {
            stateroot: "debian".into(),
            checksum: ostree::Checksum::of(&[n]),
            serial: 0,
        }
    }

    fn order(good: &[u8], bad: &[u8], trial: Option<u8>) -> BootOrder {
        BootOrder {
            good: good.iter().map(|n| id(*n)).collect(),
            bad: bad.iter().map(|n| id(*n)).collect(),
            trial: trial.map(|n| TrialEntry {
                deployment: id(n),
                attempts: 3,
                kargs: "panic=1 x=\"a b\"".parse().unwrap(),
            }),
        }
    }

    #[test]
    fn the_file_reads_back() {
        for order in [order(&[1], &[], None), order(&[1, 2], &[3], Some(4))] {
            let config = ConfigId::of(b"x");
            let text = to_text(config, &order).unwrap();
            let read = from_text(&text).unwrap();
            assert_eq!(read.order, order);
            assert_eq!(read.config, Some(config));
        }
        assert!(from_text("good = []").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}", cut in 0usize..400) {
            let _ = from_text(&text);
            let whole = to_text(ConfigId::of(b"x"), &order(&[1], &[2], Some(3))).unwrap();
            let _ = from_text(&whole[..cut.min(whole.len())]);
        }
    }

    #[test]
    fn orders_without_a_way_back_are_refused() {
        let table = [
            (order(&[1], &[], None), true),
            (order(&[1, 2], &[3], Some(4)), true),
            (order(&[1], &[], Some(1)), true),
            (order(&[], &[], None), false),
            (order(&[], &[1], Some(2)), false),
            (order(&[1], &[1], None), false),
            (order(&[1, 1], &[], None), false),
            (order(&[1], &[2], Some(2)), false),
        ];
        for (order, fine) in table {
            assert_eq!(order.check().is_ok(), fine, "{order:?}");
        }
    }

    #[test]
    fn entries_come_good_first_and_bad_last() {
        let order = order(&[1, 2], &[3], Some(2));
        assert_eq!(order.all(), [&id(1), &id(2), &id(3)]);
    }
}
