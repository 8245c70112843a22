//! Check files.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::check::{Check, HttpProbe, Origin, Probe};
use crate::report::{Need, Stage};
use crate::span::Span;

/// A check file as written. Exactly one of the probes is given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckFile {
    #[serde(default)]
    description: String,
    stage: Option<OneOrMany<Stage>>,
    #[serde(default)]
    need: Need,
    #[serde(default)]
    always: bool,
    #[serde(default)]
    container: bool,
    timeout: Option<Span>,
    #[serde(default)]
    retries: u32,
    interval: Option<Span>,
    command: Option<Command>,
    unit: Option<String>,
    no_new_failed_units: Option<bool>,
    tcp: Option<String>,
    http: Option<Http>,
    listening: Option<bool>,
    default_route: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// A command: words, or a line for the shell.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a list of words, or a line for the shell")]
enum Command {
    Shell(String),
    Words(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a URL, or a table with `url`")]
enum Http {
    Url(String),
    Table(HttpTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpTable {
    url: String,
    status: Option<u16>,
    contains: Option<String>,
    #[serde(default)]
    insecure: bool,
}

/// Reads one check file. `None` means that the file is empty and masks the
/// check of its name.
///
/// # Errors
/// What is wrong with it, with the line, for the person who wrote it.
pub fn parse(name: &str, text: &str, path: &Path) -> Result<Option<Check>, String> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let mut file: CheckFile =
        toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
    if file.retries > 1000 {
        return Err(format!("retries = {} is more than 1000", file.retries));
    }
    let stages = match file.stage.take() {
        None => vec![Stage::Live, Stage::Boot],
        Some(OneOrMany::One(stage)) => vec![stage],
        Some(OneOrMany::Many(stages)) => stages,
    };
    let seconds = |span: Option<Span>, usual| span.map_or(Duration::from_secs(usual), |s| s.0);
    let check = Check {
        name: name.to_owned(),
        description: file.description.clone(),
        stages,
        need: file.need,
        always: file.always,
        container: file.container,
        timeout: seconds(file.timeout, 30),
        retries: file.retries,
        interval: seconds(file.interval, 2),
        probe: file.probes()?,
        origin: Origin::File(path.to_owned()),
    };
    match check.container && !fits_container(&check.probe) {
        true => Err("container = true is for command, unit, tcp and http only".to_owned()),
        false => Ok(Some(check)),
    }
}

/// Whether it can be asked where nothing is to be compared with, and no route leads out.
fn fits_container(probe: &Probe) -> bool {
    !matches!(
        probe,
        Probe::NoNewFailedUnits | Probe::Listening | Probe::DefaultRoute
    )
}

impl CheckFile {
    /// The one probe.
    fn probes(self) -> Result<Probe, String> {
        let flag = |given: Option<bool>, probe| given.filter(|on| *on).map(|_| Ok(probe));
        let mut probes = [
            self.command.map(command),
            self.unit.map(unit),
            self.tcp.map(tcp),
            self.http.map(http),
            flag(self.no_new_failed_units, Probe::NoNewFailedUnits),
            flag(self.listening, Probe::Listening),
            flag(self.default_route, Probe::DefaultRoute),
        ]
        .into_iter()
        .flatten();
        match (probes.next(), probes.next()) {
            (Some(probe), None) => probe,
            (None, _) => Err(
                "what to check is missing: give one of command, unit, tcp, http, \
                 no_new_failed_units, listening, default_route"
                    .to_owned(),
            ),
            (Some(_), Some(_)) => {
                Err("more than one thing to check: write one file for each".to_owned())
            }
        }
    }
}

fn command(command: Command) -> Result<Probe, String> {
    let argv = match command {
        Command::Words(argv) => argv,
        Command::Shell(line) => vec!["/bin/sh".to_owned(), "-c".to_owned(), line],
    };
    match argv.first() {
        Some(program) if !program.is_empty() => Ok(Probe::Command { argv }),
        _ => Err("command is empty".to_owned()),
    }
}

fn unit(unit: String) -> Result<Probe, String> {
    let word = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    if unit.contains('.') && unit.chars().all(word) && !unit.starts_with('-') {
        return Ok(Probe::Unit { unit });
    }
    Err(format!(
        "unit = \"{unit}\" is no unit's full name, such as \"ssh.service\""
    ))
}

fn tcp(address: String) -> Result<Probe, String> {
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(port)) if port > 0 => Ok(Probe::Tcp { address }),
        _ => Err(format!(
            "tcp = \"{address}\" is not of the form \"HOST:PORT\""
        )),
    }
}

fn http(http: Http) -> Result<Probe, String> {
    let probe = match http {
        Http::Url(url) => HttpProbe {
            url,
            status: None,
            contains: None,
            insecure: false,
        },
        Http::Table(table) => HttpProbe {
            url: table.url,
            status: table.status,
            contains: table.contains,
            insecure: table.insecure,
        },
    };
    if !["http://", "https://"]
        .iter()
        .any(|s| probe.url.starts_with(s))
    {
        let url = &probe.url;
        return Err(format!("`{url}` does not begin with http:// or https://"));
    }
    Ok(Probe::Http(probe))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Check>, String> {
        parse("shop", text, Path::new("/etc/backstop/checks.d/shop.toml"))
    }

    #[test]
    fn a_check_is_read_with_its_defaults() {
        let check = read("http = \"http://localhost/\"").unwrap().unwrap();
        assert_eq!(check.name, "shop");
        assert_eq!(check.stages, [Stage::Live, Stage::Boot]);
        assert_eq!(check.need, Need::Required);
        assert_eq!(check.timeout, Duration::from_secs(30));
        assert_eq!((check.retries, check.always), (0, false));
        assert!(!check.container);
    }

    #[test]
    fn everything_can_be_said() {
        let text = "description = 'the shop answers'\nstage = 'boot'\nneed = 'wanted'\n\
            always = true\ntimeout = '5s'\nretries = 3\ninterval = '500ms'\n\
            http = { url = 'https://localhost/', status = 204, contains = 'ok', insecure = true }";
        let check = read(text).unwrap().unwrap();
        assert_eq!(check.stages, [Stage::Boot]);
        assert_eq!(check.need, Need::Wanted);
        assert_eq!(check.interval, Duration::from_millis(500));
        let Probe::Http(http) = check.probe else {
            panic!("{:?}", check.probe)
        };
        assert_eq!((http.status, http.insecure), (Some(204), true));
    }

    #[test]
    fn an_empty_file_masks() {
        assert_eq!(read(" \n"), Ok(None));
    }

    #[test]
    fn a_bad_file_is_answered_with_what_is_wrong() {
        let table = [
            ("comand = ['true']", "unknown field `comand`"),
            ("retries = 'x'\nunit = 'a.service'", "line 1"),
            ("description = 'nothing else'", "what to check is missing"),
            ("unit = 'a.service'\ntcp = 'b:1'", "more than one thing"),
            ("unit = 'ssh'", "no unit's full name"),
            ("unit = '--root=/.x'", "no unit's full name"),
            ("tcp = 'localhost'", "HOST:PORT"),
            ("tcp = 'localhost:0'", "HOST:PORT"),
            ("http = 'ftp://x'", "http://"),
            ("command = []", "command is empty"),
            ("command = ['true']\ntimeout = 'soon'", "no length of time"),
            ("command = ['true']\nretries = 5000", "more than 1000"),
            ("stage = 'later'\ncommand = ['true']", "line 1"),
            ("container = true\nlistening = true", "container = true is"),
            ("[[[", "line 1"),
        ];
        for (text, wanted) in table {
            let message = read(text).unwrap_err();
            assert!(message.contains(wanted), "{text}: {message}");
        }
    }
}
