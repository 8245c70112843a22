//! `ostree admin undeploy`

use super::host;
use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;

pub const COMMAND: Command = Command {
    name: "undeploy",
    summary: "Remove a deployment",
    words: "INDEX",
    works: Works::OnHost,
    options: &[],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let text = cx.word(0, "INDEX must be specified")?;
    let sysroot = host::open(cx)?;
    let mut good: Vec<_> = host::bootable(&sysroot)?
        .into_iter()
        .map(|d| d.id)
        .collect();
    let index: usize = match text.parse() {
        Ok(index) if index < good.len() => index,
        _ => {
            return fail(format!(
                "Out of range deployment index {text}, expected < {}",
                good.len()
            ));
        }
    };
    if sysroot.booted_at(std::path::Path::new("/"))?.as_ref() == Some(&good[index]) {
        return fail(format!(
            "Cannot undeploy currently booted deployment {index}"
        ));
    }
    let id = good.remove(index);
    host::publish(cx, &sysroot, good, false)?;
    Ok(writeln!(
        cx.out,
        "Deleted deployment {}.{}",
        id.checksum, id.serial
    )?)
}
