//! Choosing hosts: by name, glob and `@tag`.

use crate::config::Host;
use crate::{Error, Result};

/// The places, among `hosts`, of those that a selection names, in the order of
/// `hosts`. A selection is a list of `NAME`, `GLOB`, `@TAG` or `@GLOB`, each of
/// which may hold several with commas between them, or begin with `!` to leave
/// hosts out. Without one that adds, all hosts are meant.
///
/// # Errors
/// One of them names no host at all: it is likely a slip.
pub fn select(hosts: &[Host], selection: &[String]) -> Result<Vec<usize>> {
    let words: Vec<&str> = selection
        .iter()
        .flat_map(|word| word.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let adds = words.iter().any(|word| !word.starts_with('!'));
    let mut chosen = vec![!adds; hosts.len()];
    for word in &words {
        let (bare, add) = match word.strip_prefix('!') {
            Some(bare) => (bare, false),
            None => (*word, true),
        };
        let named: Vec<usize> = named(hosts, bare).collect();
        if named.is_empty() {
            return Err(nothing(hosts, bare));
        }
        for at in named {
            chosen[at] = add;
        }
    }
    Ok((0..hosts.len()).filter(|at| chosen[*at]).collect())
}

fn named<'a>(hosts: &'a [Host], word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let names = move |host: &Host| match word.strip_prefix('@') {
        Some(tag) => host.tags.iter().any(|t| glob(tag, t)),
        None => glob(word, &host.name),
    };
    let places = hosts.iter().enumerate();
    places
        .filter(move |(_, host)| names(host))
        .map(|(at, _)| at)
}

fn nothing(hosts: &[Host], word: &str) -> Error {
    let what = match word.strip_prefix('@') {
        Some(tag) => format!("no host has the tag `{tag}`"),
        None => format!("no host is called `{word}`"),
    };
    let names: Vec<&str> = hosts.iter().take(8).map(|h| h.name.as_str()).collect();
    let more = if hosts.len() > 8 { ", …" } else { "" };
    Error::Selection(format!("{what}; there are {}{more}", names.join(", ")))
}

/// Whether a name fits a pattern with `*` and `?`.
fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last star was, and how much of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Description;

    fn fleet() -> Vec<Host> {
        let text = "
            [hosts.db1]\ntags=['db', 'eu']
            [hosts.db2]\ntags=['db', 'us']
            [hosts.web1]\ntags=['web', 'eu']
            [hosts.web2]\ntags=['web-canary']
            [hosts.web10]\n";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fleet.toml");
        #[allow(clippy::disallowed_methods)]
        std::fs::write(&path, text).unwrap();
        Description::load(&path).unwrap().hosts
    }

    #[test]
    fn selections() {
        let hosts = fleet();
        let chosen = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
            let places = select(&hosts, &words)?;
            let names: Vec<_> = places.iter().map(|at| hosts[*at].name.as_str()).collect();
            Ok::<_, Error>(names.join(" "))
        };
        let table: &[(&[&str], &str)] = &[
            (&[], "db1 db2 web1 web10 web2"),
            (&["web2", "db1"], "db1 web2"),
            (&["web*"], "web1 web10 web2"),
            (&["web?"], "web1 web2"),
            (&["@db"], "db1 db2"),
            (&["@web*"], "web1 web2"),
            (&["@eu,@us"], "db1 db2 web1"),
            (&["!@db"], "web1 web10 web2"),
            (&["@eu", "!web1"], "db1"),
            (&["*1*"], "db1 web1 web10"),
        ];
        for (words, expected) in table {
            assert_eq!(chosen(words).unwrap(), *expected, "{words:?}");
        }
        for (words, why) in [
            (&["nobody"], "no host is called `nobody`; there are db1"),
            (&["@none"], "no host has the tag `none`"),
        ] {
            assert!(chosen(words).unwrap_err().to_string().contains(why));
        }
    }

    #[test]
    fn globs_do_not_take_for_ever() {
        let name = "a".repeat(200);
        assert!(!glob(&"a*".repeat(60).replace("a*", "*a*b"), &name));
        assert!(glob("***", "") && !glob("?", ""));
    }
}
