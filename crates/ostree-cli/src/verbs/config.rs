//! `ostree config`

use ostree::Repo;

use crate::command::{Command, Works};
use crate::cx::Cx;
use crate::fail;
use crate::options::value;

pub const COMMAND: Command = Command {
    name: "config",
    summary: "Read and change a repository's settings",
    words: "(get|set|unset) [GROUP.]KEY [VALUE]",
    works: Works::OnRepo,
    options: &[value("group", "GROUP", "The group of the key")],
    run,
};

fn run(cx: &mut Cx) -> anyhow::Result<()> {
    let repo = cx.repo()?;
    let verb = cx.word(0, "OPERATION must be specified")?;
    match verb.as_str() {
        "set" => set(cx, &repo),
        "get" => get(cx, &repo),
        "unset" => unset(cx, &repo),
        other => fail(format!("Unknown operation {other}")),
    }
}

/// Group and key, which are one word unless the group is an option.
fn place(cx: &Cx, usage: &str) -> anyhow::Result<(String, String)> {
    let key = cx.word(1, usage)?;
    if let Some(group) = cx.given.value("group") {
        return Ok((group.to_owned(), key));
    }
    match key.split_once('.') {
        Some((group, key)) => Ok((group.to_owned(), key.to_owned())),
        None => fail("Key must be of the form \"sectionname.keyname\""),
    }
}

fn expect_words(cx: &Cx, count: usize) -> anyhow::Result<()> {
    match cx.given.rest.len() <= count {
        true => Ok(()),
        false => fail("Too many arguments given"),
    }
}

fn set(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    let usage = match cx.given.value("group") {
        Some(_) => "GROUP name, KEY and VALUE must be specified",
        None => "KEY and VALUE must be specified",
    };
    expect_words(cx, 3)?;
    let (group, key) = place(cx, usage)?;
    let value = cx.word(2, usage)?;
    Ok(repo.set_config(&group, &key, Some(&value))?)
}

fn get(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    let usage = match cx.given.value("group") {
        Some(_) => "Group name and key must be specified",
        None => "KEY must be specified",
    };
    expect_words(cx, 2)?;
    let (group, key) = place(cx, usage)?;
    match repo.config_value(&group, &key)? {
        Some(value) => Ok(writeln!(cx.out, "{value}")?),
        None if !repo.has_config_group(&group)? => {
            fail(format!("Key file does not have group “{group}”"))
        }
        None => fail(format!(
            "Key file does not have key “{key}” in group “{group}”"
        )),
    }
}

fn unset(cx: &mut Cx, repo: &Repo) -> anyhow::Result<()> {
    let usage = match cx.given.value("group") {
        Some(_) => "Group name and key must be specified",
        None => "KEY must be specified",
    };
    expect_words(cx, 2)?;
    let (group, key) = place(cx, usage)?;
    Ok(repo.set_config(&group, &key, None)?)
}
