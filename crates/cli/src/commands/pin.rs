//! `backstop pin` and `backstop unpin`.

use anyhow::bail;
use clap::Args;
use engine::{Event, Scope};

use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;
use crate::timeline::Printer;

/// What `backstop pin` and `backstop unpin` take.
#[derive(Debug, Args)]
pub struct PinArgs {
    /// The version, or the beginning of its name
    version: String,
}

/// Runs the command: keeps a version over every cleaning up, or no longer.
pub fn run(
    args: PinArgs,
    pinned: bool,
    global: &Global,
    out: &mut Output,
) -> anyhow::Result<Ended> {
    let mut session = Session::open(global)?;
    let version = session.host.kept_named(&args.version)?;
    let AnyHost::Image(host) = &session.host else {
        bail!(
            "a Nix host keeps the generations of its system profile: \
             see `nix-env --profile /nix/var/nix/profiles/system --list-generations`"
        );
    };
    let mut changed = false;
    for deployment in host.sysroot().deployments()? {
        let same = image::source::version(&deployment.id.checksum) == version;
        if same && deployment.origin.is_pinned() != pinned {
            host.sysroot().set_pinned(&deployment.id, pinned)?;
            changed = true;
        }
    }
    if changed {
        let version = version.clone();
        let event = match pinned {
            true => Event::Pinned { version },
            false => Event::Unpinned { version },
        };
        let printer = Printer { quiet: true };
        let monitor = Terminal::new(global.json);
        session
            .driver(&printer, &monitor, Scope::Short)
            .feed(event)?;
    }
    out.line(&format!(
        "Version {} is {}.",
        version.short(),
        match pinned {
            true => "pinned: no cleaning up removes it",
            false => "not pinned",
        }
    ))?;
    Ok(Ended::Done)
}
