//! Secrets on their way to a host.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use super::{HostRun, OnHost};
use crate::config::{Key, KeySource, When};
use crate::ssh::Connection;
use crate::wire::{KeyFile, Request};
use crate::{Error, Result, local};

/// No secret is longer.
const LONGEST: u64 = 16 << 20;

/// A secret's content, from wherever it is.
///
/// # Errors
/// It is not there. The error never holds the secret.
pub fn fetch(name: &str, key: &Key, limit: Duration) -> Result<Vec<u8>> {
    let doing = format!("get the key `{name}`");
    let cannot = |why: String| Error::Program {
        doing: doing.clone(),
        why,
    };
    match key.source().map_err(cannot)? {
        KeySource::File(path) => {
            let mut content = Vec::new();
            let file = std::fs::File::open(path).map_err(Error::file("open", path))?;
            file.take(LONGEST)
                .read_to_end(&mut content)
                .map_err(Error::file("read", path))?;
            Ok(content)
        }
        KeySource::Env(variable) => std::env::var_os(variable)
            .map(std::os::unix::ffi::OsStringExt::into_vec)
            .ok_or_else(|| cannot(format!("the variable {variable} is not set"))),
        KeySource::Command(words) => {
            let mut words = words.iter();
            let mut command = Command::new(words.next().map_or("", String::as_str));
            command.args(words);
            // What a failing command prints may be a part of the secret.
            local::run_bytes(&doing, command, limit).map_err(|e| match e {
                Error::Program { .. } => cannot("its command failed".to_owned()),
                e => e,
            })
        }
    }
}

impl HostRun<'_> {
    /// Brings the host its secrets of that time.
    pub(super) fn bring_keys(&mut self, when: When) -> Result<()> {
        let Some(mut session) = self.session.take() else {
            return Ok(());
        };
        let brought = self.on.bring_keys(&mut session, when);
        self.session = Some(session);
        brought
    }
}

impl OnHost<'_> {
    /// Brings the host its secrets of that time, over this connection.
    pub(super) fn bring_keys(&self, over: &mut Connection, when: When) -> Result<()> {
        let all = self.host.keys.iter();
        let keys: Vec<_> = all.filter(|(_, key)| key.when == when).collect();
        if keys.is_empty() {
            return Ok(());
        }
        self.says("bringing secrets");
        for (name, key) in keys {
            let request = request(name, key)?;
            let limit = self.host.bounds.key;
            let content = fetch(name, key, limit)?;
            let doing = format!("take the key `{name}`");
            over.request(&doing, &request, &mut content.as_slice(), limit)?;
        }
        Ok(())
    }
}

fn request(name: &str, key: &Key) -> Result<Request> {
    let mode = key.mode().map_err(|why| Error::Program {
        doing: format!("use the key `{name}`"),
        why,
    })?;
    Ok(Request::Key(KeyFile {
        directory: key.directory(),
        name: key.name.clone().unwrap_or_else(|| name.to_owned()),
        owner: key.owner.clone(),
        group: key.group.clone(),
        mode,
        persistent: key.persistent,
    }))
}
