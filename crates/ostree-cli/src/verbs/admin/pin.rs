//! `ostree admin pin`

use super::host;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::flag;

pub const COMMAND: Command = Command {
    name: "pin",
    summary: "Keep a deployment, whatever is cleaned up",
    words: "INDEX",
    works: Works::OnHost,
    options: &[flag("unpin", "Keep it no more").short('u')],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    cx.word(0, "INDEX must be specified")?;
    let sysroot = host::open(cx)?;
    let all = host::bootable(&sysroot)?;
    let pin = !cx.given.has("unpin");
    for text in cx.given.rest.clone() {
        let found = text.parse::<usize>().ok().and_then(|i| all.get(i));
        let Some(deployment) = found else {
            return fail(format!(
                "Out of range deployment index {text}, expected < {}",
                all.len()
            ));
        };
        let state = if pin { "pinned" } else { "unpinned" };
        if deployment.origin.is_pinned() == pin {
            writeln!(cx.out, "Deployment {text} is already {state}")?;
            continue;
        }
        sysroot.set_pinned(&deployment.id, pin)?;
        writeln!(cx.out, "Deployment {text} is now {state}")?;
    }
    Ok(())
}
