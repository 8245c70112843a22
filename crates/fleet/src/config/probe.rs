//! Checks that are made from the deployer's machine.

use std::time::Duration;

use health::{Check, HttpProbe, Need, Origin, Probe, Span, Stage};
use serde::Deserialize;

/// A check made from here: can the service be reached by those who use it?
/// Exactly one of `tcp`, `http` and `command` is given. `{host}` stands for the
/// host's address.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeTable {
    /// `HOST:PORT` that must accept connections.
    pub tcp: Option<String>,
    /// A URL that must be answered.
    pub http: Option<String>,
    /// A command that must end with status 0.
    pub command: Option<Vec<String>>,
    /// HTTP: the status wanted; usually any 2xx.
    pub status: Option<u16>,
    /// HTTP: what the body must contain.
    pub contains: Option<String>,
    /// HTTP: do not check the server's certificate.
    #[serde(default)]
    pub insecure: bool,
    /// How long one try may take.
    pub timeout: Option<Span>,
    /// How often it is tried again.
    pub retries: Option<u32>,
    /// The pause between two tries.
    pub interval: Option<Span>,
}

impl ProbeTable {
    /// The check, for the host at `address`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, name: &str, address: &str) -> Result<Check, String> {
        let fill = |text: &String| text.replace("{host}", address);
        let probe = match (&self.tcp, &self.http, &self.command) {
            (Some(tcp), None, None) => Probe::Tcp { address: fill(tcp) },
            (None, Some(url), None) => Probe::Http(HttpProbe {
                url: fill(url),
                status: self.status,
                contains: self.contains.clone(),
                insecure: self.insecure,
            }),
            (None, None, Some(words)) if !words.is_empty() => Probe::Command {
                argv: words.iter().map(fill).collect(),
            },
            _ => {
                return Err(format!(
                    "check `{name}`: give exactly one of `tcp`, `http` and `command`"
                ));
            }
        };
        let span = |given: Option<Span>, usual| given.map_or(Duration::from_secs(usual), |s| s.0);
        Ok(Check {
            name: name.to_owned(),
            description: "seen from the deployer".to_owned(),
            stages: vec![Stage::Live],
            need: Need::Required,
            always: true,
            container: false,
            timeout: span(self.timeout, 10),
            retries: self.retries.unwrap_or(5).min(1000),
            interval: span(self.interval, 2),
            probe,
            origin: Origin::BuiltIn,
        })
    }
}
