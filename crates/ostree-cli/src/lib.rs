//! The command line of `ostree`, over backstop's libraries.
//!
//! Called by the name `ostree`, the binary takes the options of that program, prints
//! what it prints, and fails as it fails, so that scripts written for it work.
//! `docs/ostree.md` says what is taken. Each verb has a file under `verbs`; it reads
//! its options, calls the libraries and prints.

mod command;
mod cx;
mod date;
mod options;
mod signature;
mod verbs;
mod version;
mod wording;

use std::io::Write;

use command::{Command, Node, group_help};
use cx::Cx;
use options::Given;

/// An error with this text.
fn fail<T>(text: impl Into<String>) -> anyhow::Result<T> {
    Err(anyhow::Error::msg(text.into()))
}

/// What was to be printed could not be, because nobody reads any more.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = |e: &(dyn std::error::Error + 'static)| {
        e.downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    };
    error.chain().any(io)
}

/// Runs the command line `args`, without the program's name; the exit status.
pub fn run(args: &[String], out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let result =
        dispatch("ostree", "", "", verbs::ALL, args, out, err).and_then(|()| Ok(out.flush()?));
    match result {
        Ok(()) => 0,
        Err(e) if is_broken_pipe(&e) => 0,
        Err(e) => {
            let _ = out.flush();
            // Nowhere to report a failing standard error to.
            let _ = writeln!(err, "error: {}", wording::of(&e));
            1
        }
    }
}

/// Finds the command that the first word names, and runs it.
fn dispatch(
    path: &str,
    name: &str,
    summary: &str,
    nodes: &[Node],
    args: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    let until = args.iter().position(|a| a == "--").unwrap_or(args.len());
    let at = args[..until]
        .iter()
        .position(|a| !a.starts_with('-') || a == "-");
    let before = &args[..at.unwrap_or(until)];
    if at.is_none() && before.iter().any(|a| a == "--version") {
        return Ok(write!(out, "{}", version::TEXT)?);
    }
    if at.is_none() && before.iter().any(|a| a == "--help" || a == "-h") {
        return Ok(write!(out, "{}", group_help(path, name, summary, nodes))?);
    }
    if at.is_none() && name == "admin" && before.iter().any(|a| a == "--print-current-dir") {
        let options = [command::SYSROOT, options::flag("print-current-dir", "")];
        let given = Given::parse(args, &options)?;
        return verbs::current_dir(&mut Cx { given, out, err });
    }
    let named = |text: &str| nodes.iter().find(|n| n.name() == text);
    match at.map(|at| (at, named(&args[at]))) {
        Some((at, Some(node))) => {
            let mut rest = args.to_vec();
            let word = rest.remove(at);
            let path = format!("{path} {word}");
            match node {
                Node::One(command) => one(command, &path, &rest, out, err),
                Node::Group(name, summary, nodes) => {
                    dispatch(&path, name, summary, nodes, &rest, out, err)
                }
            }
        }
        found => {
            if let (Some((at, _)), true) = (found, name.is_empty()) {
                verbs::extension(&args[at], &args[at + 1..])?;
            }
            writeln!(err, "{}", group_help(path, name, summary, nodes))?;
            fail(match (found, name.is_empty()) {
                (None, true) => "No command specified".to_owned(),
                (None, false) => format!("No \"{name}\" subcommand specified"),
                (Some((at, _)), true) => format!("Unknown command '{}'", args[at]),
                (Some((at, _)), false) => {
                    format!("Unknown \"{name}\" subcommand '{}'", args[at])
                }
            })
        }
    }
}

fn one(
    command: &Command,
    path: &str,
    args: &[String],
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<()> {
    let given = Given::parse(args, &command.all_options())?;
    if given.has("help") {
        return Ok(write!(out, "{}", command.help(path))?);
    }
    if given.has("version") {
        return Ok(write!(out, "{}", version::TEXT)?);
    }
    (command.run)(&mut Cx { given, out, err })
}
