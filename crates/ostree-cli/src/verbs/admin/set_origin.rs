//! `ostree admin set-origin`

use ostree::{IfExists, Remote};

use super::host;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::value;

pub const COMMAND: Command = Command {
    name: "set-origin",
    summary: "Say where a deployment's next version comes from",
    words: "REMOTENAME URL [BRANCH]",
    works: Works::OnHost,
    options: &[
        value("set", "KEY=VALUE", "Another setting of the remote").short('s'),
        value("index", "INDEX", "Which deployment"),
    ],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let (name, url) = match cx.given.rest.as_slice() {
        [name, url, ..] => (name.clone(), url.clone()),
        _ => return fail("Not enough arguments; expected REMOTENAME URL"),
    };
    let sysroot = host::open(cx)?;
    let all = host::bootable(&sysroot)?;
    let index = cx.given.number::<usize>("index")?.unwrap_or(0);
    let Some(deployment) = all.get(index) else {
        let count = all.len();
        return fail(format!(
            "Out of range deployment index {index}, expected < {count}"
        ));
    };
    let mut remote = Remote::new(&name, &url)?;
    for text in cx.given.values("set") {
        let Some((key, value)) = text.split_once('=') else {
            return fail(format!("Missing '=' in KEY=VALUE for --set: {text}"));
        };
        remote.set(key, Some(value));
    }
    sysroot.repo().add_remote(&remote, IfExists::Keep)?;
    let old = deployment.origin.refspec().unwrap_or_default();
    let old_branch = old.rsplit(':').next().unwrap_or_default();
    let branch = cx.given.rest.get(2).map_or(old_branch, String::as_str);
    let origin = deployment.origin.with_refspec(&format!("{name}:{branch}"));
    Ok(sysroot.set_origin(&deployment.id, &origin)?)
}
