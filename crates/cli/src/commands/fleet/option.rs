//! `backstop fleet option`.

use std::time::Duration;

use anyhow::bail;
use clap::Args;
use fleet::config::Source;

use super::Fleet;
use crate::exit::Ended;
use crate::output::Output;

/// Reading an option may take this long: the host's configuration is evaluated.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What `backstop fleet option` takes.
#[derive(Debug, Args)]
pub struct OptionArgs {
    /// The host
    // `host` is a global option.
    #[arg(value_name = "HOST")]
    name: String,
    /// The option, such as services.openssh.enable
    option: String,
}

/// Runs the command.
pub fn run(args: OptionArgs, fleet: &Fleet, out: &mut Output) -> anyhow::Result<Ended> {
    let mut hosts = fleet.select(std::slice::from_ref(&args.name))?;
    let (Some(host), true) = (hosts.pop(), hosts.is_empty()) else {
        bail!("`{}` is more than one host", args.name);
    };
    let Some(Source::Flake {
        flake, attribute, ..
    }) = &host.source
    else {
        bail!("{} has no flake, so its options can't be read", host.name);
    };
    let Some(option) = attribute.option(&args.option) else {
        bail!("{flake}#{attribute} is no configuration, so it has no options");
    };
    let what = format!("{flake}#{option}");
    let json = fleet::local::nix("read the option", &["eval", "--json", &what], PATIENCE)?;
    let value: serde_json::Value = serde_json::from_str(&json)?;
    out.line(&serde_json::to_string_pretty(&value)?)?;
    out.json(&value)?;
    Ok(Ended::Done)
}
