//! What must be remembered of a trial besides the journal.

use std::path::PathBuf;

use durable::{Doing, Fs};
use engine::{BootId, TxId};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::program;
use crate::store::StorePath;

/// A process group that may outlive who started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub id: u32,
    /// When its leader was started, in the kernel's ticks: another process may get
    /// the same number later.
    pub started: u64,
}

/// What must be remembered of a trial to undo it: on the disk before its
/// activation begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Activation {
    pub tx: TxId,
    /// The boot it began in: a later one finds nothing active of it.
    pub boot: BootId,
    /// Whether it is tried by booting it.
    #[serde(default)]
    pub boots: bool,
    /// Where the profile led before.
    pub default_before: Option<StorePath>,
    /// The program at work, or the last one.
    pub group: Option<Group>,
    /// Units that failed in the activation, as far as it alone can tell.
    #[serde(default)]
    pub failed_units: Vec<String>,
}

/// Where it is remembered.
#[derive(Debug)]
pub(crate) struct Notes<'a> {
    fs: &'a dyn Fs,
    path: PathBuf,
}

impl<'a> Notes<'a> {
    pub fn new(fs: &'a dyn Fs, layout: &Layout) -> Self {
        let path = layout.memory().join("activation.json");
        Self { fs, path }
    }

    /// What is remembered of this trial; nothing if it never began.
    pub fn load(&self, tx: TxId) -> Result<Option<Activation>> {
        Ok(self.latest()?.filter(|found| found.tx == tx))
    }

    /// What is remembered of the last trial.
    pub fn latest(&self) -> Result<Option<Activation>> {
        let text = match durable::read_to_string(self.fs, &self.path) {
            Ok(text) => text,
            Err(e) if e.source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|source| Error::Notes {
                path: self.path.clone(),
                source,
            })
    }

    pub fn save(&self, activation: &Activation) -> Result<()> {
        let text = serde_json::to_string(activation).map_err(|source| Error::Notes {
            path: self.path.clone(),
            source,
        })?;
        Ok(durable::publish_file(
            self.fs,
            &self.path,
            text.as_bytes(),
            0o600,
        )?)
    }

    pub fn forget(&self) -> Result<()> {
        match self.fs.remove_file(&self.path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.doing("remove", &self.path)?),
        }
    }
}

impl Activation {
    /// Remembers the process group that was just started.
    pub fn working(&mut self, leader: u32) {
        let started = started(leader).unwrap_or_default();
        self.group = Some(Group {
            id: leader,
            started,
        });
    }

    /// Stops the program that may still be at work although who started it is gone.
    pub fn stop_leftovers(&self, boot: &BootId) {
        let Some(group) = self.group.filter(|_| self.boot == *boot) else {
            return;
        };
        // With its leader gone, the number is not given away while the group lives.
        if started(group.id).is_none_or(|now| now == group.started) {
            program::kill_group(group.id);
        }
    }
}

/// When a process was started: the 22nd field of `/proc/PID/stat`, the second of
/// which is in parentheses and may hold anything.
fn started(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use durable::RealFs;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Command;

    #[test]
    fn leftovers_of_this_boot_are_stopped() {
        let mut child = Command::new("sleep")
            .arg("60")
            .process_group(0)
            .spawn()
            .unwrap();
        let boot = BootId::new("this");
        let mut activation = Activation {
            tx: TxId(1),
            boot: boot.clone(),
            boots: false,
            default_before: None,
            group: None,
            failed_units: Vec::new(),
        };
        activation.stop_leftovers(&boot);
        activation.working(child.id());
        activation.stop_leftovers(&BootId::new("another"));
        let mut other = activation.clone();
        other.group = activation.group.map(|g| Group {
            started: g.started + 1,
            ..g
        });
        other.stop_leftovers(&boot);
        assert!(child.try_wait().unwrap().is_none(), "it was another's");
        activation.stop_leftovers(&boot);
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn notes_are_of_one_trial() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        std::fs::create_dir_all(layout.memory()).unwrap();
        let notes = Notes::new(&RealFs, &layout);
        assert_eq!(notes.load(TxId(1)).unwrap(), None);
        let activation = Activation {
            tx: TxId(1),
            boot: BootId::new("this"),
            boots: false,
            default_before: None,
            group: None,
            failed_units: vec!["a.service".to_owned()],
        };
        notes.save(&activation).unwrap();
        assert_eq!(notes.load(TxId(1)).unwrap(), Some(activation));
        assert_eq!(notes.load(TxId(2)).unwrap(), None);
        notes.forget().unwrap();
        notes.forget().unwrap();
    }
}
