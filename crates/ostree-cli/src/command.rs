//! Commands: their names, options, and what they do.

use std::fmt::Write as _;

use crate::cx::Cx;
use crate::options::{Opt, flag, value};

/// What a command works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Works {
    /// A repository (`--repo`).
    OnRepo,
    /// A host (`--sysroot`).
    OnHost,
    /// Neither.
    Alone,
}

/// A command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it does, in a line.
    pub summary: &'static str,
    /// The words that it takes besides options.
    pub words: &'static str,
    /// What it works on.
    pub works: Works,
    /// Its own options.
    pub options: &'static [Opt],
    /// What it does.
    pub run: fn(&mut Cx) -> anyhow::Result<()>,
}

impl Command {
    /// One that works on a repository.
    pub const fn on_repo(
        name: &'static str,
        summary: &'static str,
        words: &'static str,
        options: &'static [Opt],
        run: fn(&mut Cx) -> anyhow::Result<()>,
    ) -> Self {
        let works = Works::OnRepo;
        Self {
            name,
            summary,
            words,
            works,
            options,
            run,
        }
    }
}

/// A command, or several under one name.
#[derive(Debug, Clone, Copy)]
pub enum Node {
    /// One command.
    One(&'static Command),
    /// Several: name, what they do, and which.
    Group(&'static str, &'static str, &'static [Node]),
}

/// The option that names the repository.
pub const REPO: Opt = value("repo", "PATH", "The repository");
/// The option that names the host.
pub const SYSROOT: Opt = value("sysroot", "PATH", "The root of the host");
/// What every command takes.
pub const COMMON: &[Opt] = &[
    flag("verbose", "Say more").short('v'),
    flag("version", "Print the version"),
];
/// The request for help.
pub const HELP: Opt = flag("help", "Show this help").short('h');

impl Node {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::One(command) => command.name,
            Self::Group(name, ..) => name,
        }
    }

    fn summary(&self) -> &'static str {
        match self {
            Self::One(command) => command.summary,
            Self::Group(_, summary, _) => summary,
        }
    }
}

impl Command {
    /// All options that it takes.
    #[must_use]
    pub fn all_options(&self) -> Vec<Opt> {
        let mut all = vec![HELP];
        all.extend(match self.works {
            Works::OnRepo => Some(REPO),
            Works::OnHost => Some(SYSROOT),
            Works::Alone => None,
        });
        all.extend_from_slice(self.options);
        all.extend_from_slice(COMMON);
        all
    }

    /// Its help. `path` is how it was called.
    #[must_use]
    pub fn help(&self, path: &str) -> String {
        let words = match self.words {
            "" => String::new(),
            words => format!(" {words}"),
        };
        let mut text = format!("Usage:\n  {path} [OPTION…]{words}\n\n{}\n", self.summary);
        let all = self.all_options();
        options(&mut text, "Help Options", &all[..1]);
        options(&mut text, "Application Options", &all[1..]);
        text
    }
}

/// The help of several commands.
#[must_use]
pub fn group_help(path: &str, name: &str, summary: &str, nodes: &[Node]) -> String {
    let mut text = format!("Usage:\n  {path} [OPTION…] COMMAND\n");
    if summary.is_empty() {
        text += "\nBuiltin Commands:\n";
    } else {
        let _ = write!(text, "\n{summary}\n\nBuiltin \"{name}\" Commands:\n");
    }
    let width = nodes.iter().map(|n| n.name().len()).max().unwrap_or(0);
    for node in nodes {
        let _ = writeln!(text, "  {:<width$}  {}", node.name(), node.summary());
    }
    options(&mut text, "Help Options", &[HELP]);
    options(&mut text, "Application Options", COMMON);
    text
}

/// A section of options.
fn options(text: &mut String, title: &str, options: &[Opt]) {
    let shown = |o: &Opt| {
        let short = o.short.map(|s| format!("-{s}, ")).unwrap_or_default();
        let value = o.value.map(|v| format!("={v}")).unwrap_or_default();
        format!("{short}--{}{value}", o.long)
    };
    let width = options.iter().map(|o| shown(o).len()).max().unwrap_or(0);
    let _ = write!(text, "\n{title}:\n");
    for option in options {
        let _ = writeln!(text, "  {:<width$}  {}", shown(option), option.help);
    }
}
