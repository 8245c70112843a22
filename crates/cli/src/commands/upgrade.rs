//! `backstop upgrade`.

use std::collections::BTreeMap;

use agent::Policy;
use anyhow::bail;
use clap::Args;
use engine::IfRefused;
use image::Source;

use super::trial::{self, TrialArgs};
use super::wanted::{self, Wanted};
use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;

/// What `backstop upgrade` takes.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// Run by the timer: a version known to be bad, or an open upgrade, is no failure
    #[arg(long, hide = true)]
    unattended: bool,
    /// Say whether there is a new version, and change nothing
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    trial: TrialArgs,
}

/// Runs the command.
pub fn run(args: UpgradeArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let policy = session.policy()?;
    // An upgrade that waits for its window is looked after again.
    if args.unattended && session.journal.load()?.state.tx().is_some() {
        session.host.start_supervisor()?;
        return Ok(Ended::Done);
    }
    let Some(wanted) = follow(&session, &policy, global)? else {
        if args.unattended {
            out.line("No policy says what this host follows: nothing to do.")?;
            return Ok(Ended::Done);
        }
        bail!(
            "nothing says what this host follows: {}",
            how(&session.host)
        );
    };
    let running = session.running()?;
    if wanted.version == running {
        let (source, version) = (&wanted.source, running.short());
        out.line(&format!("{source} is {version}, which is running."))?;
        return Ok(Ended::Done);
    }
    if args.check {
        return report(&session, &wanted, out);
    }
    let mut request = args.trial.request(wanted.version, &wanted.source, &policy);
    request.provenance = wanted.provenance;
    if !args.unattended {
        return args.trial.begin(&mut session, request, global, out);
    }
    if policy.upgrade.if_refused.is_none() {
        // Nobody is there to ask for a reboot; the policy says when one may be.
        request.if_refused = IfRefused::Boot;
    }
    trial::start(&mut session, request, global, out)?;
    Ok(Ended::Done)
}

/// The version that the stateroot follows, or else the policy, if any.
pub fn follow(
    session: &Session,
    policy: &Policy,
    global: &Global,
) -> anyhow::Result<Option<Wanted>> {
    let upgrade = &policy.upgrade;
    match &session.host {
        AnyHost::Image(host) => {
            let source = match (
                host.stateroot_source()?,
                &upgrade.source,
                &upgrade.reference,
            ) {
                (Some(own), ..) => Some(own),
                (None, Some(repo), Some(rev)) => Some(Source {
                    repo: repo.into(),
                    rev: rev.clone(),
                }),
                _ => host.followed()?,
            };
            let Some(source) = source else {
                return Ok(None);
            };
            Ok(Some(Wanted {
                version: host.resolve(&source, &Terminal::new(global.json))?,
                source: source.to_string(),
                provenance: BTreeMap::new(),
            }))
        }
        AnyHost::Nix(host) => match (&upgrade.flake, &upgrade.path) {
            (Some(flake), _) => {
                // What a flake names may have moved since it was looked at.
                let flags = ["--refresh".to_owned()].into_iter();
                let flags = flags.chain(upgrade.flags.clone()).collect();
                wanted::built(host, flake, flags, None, global).map(Some)
            }
            (None, Some(path)) => {
                let source = format!("path {}", path.display());
                let version = host.follow(path)?.version();
                let provenance = BTreeMap::new();
                Ok(Some(Wanted {
                    version,
                    source,
                    provenance,
                }))
            }
            (None, None) => Ok(None),
        },
    }
}

/// How to say what a host follows.
fn how(host: &AnyHost) -> &'static str {
    match host {
        AnyHost::Image(_) => {
            "set `source` and `ref` under [upgrade] in /etc/backstop/backstop.toml, or name a \
             version with `backstop switch`"
        }
        AnyHost::Nix(_) => {
            "set `flake` or `path` under [upgrade] in /etc/backstop/backstop.toml, or name a \
             version with `backstop switch`"
        }
    }
}

/// Says what an upgrade would try.
fn report(session: &Session, wanted: &Wanted, out: &mut Output) -> anyhow::Result<Ended> {
    let knowledge = session.journal.load()?.knowledge;
    let (source, target) = (&wanted.source, &wanted.version);
    match knowledge.bad(target) {
        Some(reason) => out.line(&format!(
            "{source} is {}, which failed here: {reason}. It is not tried again.",
            target.short()
        ))?,
        None => out.line(&format!("{source} is {}: new.", target.short()))?,
    }
    out.json(&serde_json::json!({
        "source": source,
        "version": target,
        "bad": knowledge.bad(target),
        "provenance": wanted.provenance,
    }))?;
    Ok(Ended::Done)
}
