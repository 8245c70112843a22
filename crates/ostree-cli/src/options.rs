//! Options as `ostree` reads them.
//!
//! They may stand anywhere among the arguments; a value follows as the next word or
//! after `=`; letters may be joined (`-qa`), and the last of them may have its value
//! joined to it (`-bmain`). `--` ends them.

use crate::fail;

/// An option that a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    /// Its name, without dashes.
    pub long: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// What its value is called; `None` where it has none.
    pub value: Option<&'static str>,
    /// What it does.
    pub help: &'static str,
}

/// An option without a value.
#[must_use]
pub const fn flag(long: &'static str, help: &'static str) -> Opt {
    Opt {
        long,
        short: None,
        value: None,
        help,
    }
}

/// An option with a value.
#[must_use]
pub const fn value(long: &'static str, name: &'static str, help: &'static str) -> Opt {
    Opt {
        long,
        short: None,
        value: Some(name),
        help,
    }
}

impl Opt {
    /// The same option, with a letter.
    #[must_use]
    pub const fn short(self, letter: char) -> Self {
        Self {
            short: Some(letter),
            ..self
        }
    }
}

/// Arguments, read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    options: Vec<(&'static str, Option<String>)>,
    /// The words that are no options.
    pub rest: Vec<String>,
}

impl Given {
    /// Reads arguments by the options that are known.
    ///
    /// # Errors
    /// An unknown option; a value that is missing, or is there and should not be.
    pub fn parse(args: &[String], known: &[Opt]) -> anyhow::Result<Self> {
        let mut given = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--") {
                Some("") => {
                    given.rest.extend(args.cloned());
                    break;
                }
                Some(long) => given.long(long, known, &mut args)?,
                None if arg.len() > 1 && arg.starts_with('-') => {
                    given.letters(&arg[1..], known, &mut args)?;
                }
                None => given.rest.push(arg.clone()),
            }
        }
        Ok(given)
    }

    fn long<'a>(
        &mut self,
        text: &str,
        known: &[Opt],
        args: &mut impl Iterator<Item = &'a String>,
    ) -> anyhow::Result<()> {
        let (name, joined) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let Some(option) = known.iter().find(|o| o.long == name) else {
            return fail(format!("Unknown option --{name}"));
        };
        let value = match (option.value, joined) {
            (None, None) => None,
            // As `ostree` has it: a flag's value counts for nothing.
            (None, Some(_)) => None,
            (Some(_), Some(value)) => Some(value),
            (Some(_), None) => match args.next() {
                Some(value) => Some(value.clone()),
                None => return fail(format!("Missing argument for --{name}")),
            },
        };
        self.options.push((option.long, value));
        Ok(())
    }

    fn letters<'a>(
        &mut self,
        text: &str,
        known: &[Opt],
        args: &mut impl Iterator<Item = &'a String>,
    ) -> anyhow::Result<()> {
        for (at, letter) in text.char_indices() {
            let Some(option) = known.iter().find(|o| o.short == Some(letter)) else {
                return fail(format!("Unknown option -{text}"));
            };
            if option.value.is_none() {
                self.options.push((option.long, None));
                continue;
            }
            let joined = &text[at + letter.len_utf8()..];
            let value = match (joined.is_empty(), args) {
                (false, _) => joined.to_owned(),
                (true, args) => match args.next() {
                    Some(value) => value.clone(),
                    None => return fail(format!("Missing argument for -{letter}")),
                },
            };
            self.options.push((option.long, Some(value)));
            return Ok(());
        }
        Ok(())
    }

    /// Whether the option was given.
    #[must_use]
    pub fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// The last value that the option was given.
    #[must_use]
    pub fn value(&self, long: &str) -> Option<&str> {
        let mut values = self.options.iter().rev().filter(|(name, _)| *name == long);
        values.find_map(|(_, value)| value.as_deref())
    }

    /// All values that the option was given, in order.
    #[must_use]
    pub fn values(&self, long: &str) -> Vec<&str> {
        let of_option = self.options.iter().filter(|(name, _)| *name == long);
        of_option
            .filter_map(|(_, value)| value.as_deref())
            .collect()
    }

    /// All options that were given, in order.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, Option<&str>)> {
        self.options.iter().map(|(name, v)| (*name, v.as_deref()))
    }

    /// The option's value as a number.
    ///
    /// # Errors
    /// That it is none.
    pub fn number<T: std::str::FromStr>(&self, long: &str) -> anyhow::Result<Option<T>> {
        match self.value(long) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => fail(format!("Cannot parse integer value “{text}” for --{long}")),
            },
        }
    }

    /// The option's value as yes or no.
    ///
    /// # Errors
    /// That it is neither.
    pub fn boolean(&self, long: &str) -> anyhow::Result<Option<bool>> {
        match self.value(long) {
            None => Ok(None),
            Some("1" | "true" | "yes") => Ok(Some(true)),
            Some("0" | "false" | "no" | "none") => Ok(Some(false)),
            Some(other) => fail(format!("Invalid boolean argument '{other}'")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Opt] = &[
        value("branch", "BRANCH", "").short('b'),
        flag("quiet", "").short('q'),
        flag("all", "").short('a'),
        value("depth", "N", ""),
    ];

    fn parse(line: &str) -> anyhow::Result<Given> {
        let args: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Given::parse(&args, KNOWN)
    }

    #[test]
    fn accepted() {
        let cases = [
            ("a -b main c", "main", "a c"),
            ("-bmain a", "main", "a"),
            ("a --branch=main", "main", "a"),
            ("--branch main a", "main", "a"),
            ("-qb main a", "main", "a"),
            ("--branch=x --branch=main a", "main", "a"),
            ("--branch=a=b a", "a=b", "a"),
            ("--branch=main -- -q a", "main", "-q a"),
            ("--branch main -", "main", "-"),
        ];
        for (line, branch, rest) in cases {
            let given = parse(line).unwrap();
            assert_eq!(given.value("branch"), Some(branch), "{line}");
            assert_eq!(given.rest.join(" "), rest, "{line}");
        }
        let given = parse("-qa --depth=-1").unwrap();
        assert!(given.has("quiet") && given.has("all"));
        assert_eq!(given.number::<i64>("depth").unwrap(), Some(-1));
    }

    #[test]
    fn refused() {
        let cases = [
            ("--what", "Unknown option --what"),
            ("-x", "Unknown option -x"),
            ("-qx", "Unknown option -qx"),
            ("--branch", "Missing argument for --branch"),
            ("-b", "Missing argument for -b"),
        ];
        for (line, says) in cases {
            assert_eq!(parse(line).unwrap_err().to_string(), says);
        }
        let given = parse("--depth=x").unwrap();
        assert!(given.number::<i64>("depth").is_err());
    }
}
