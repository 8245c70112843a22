//! Kernel arguments, and the image's defaults for them.
//!
//! An image says in `usr/lib/backstop/kargs.d/*.toml` what its kernel should be
//! started with; a host's own additions and removals are kept apart and survive
//! an upgrade ([`KernelArgs::carry_over`]).

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// Why a list of kernel arguments was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KargsError {
    /// A double quote is opened and never closed.
    #[error("the kernel arguments have an unfinished double quote: {0}")]
    Unfinished(String),
    /// Something no kernel command line can hold.
    #[error("a kernel argument may not be empty or hold control characters: {0:?}")]
    Unusable(String),
    /// A `kargs.d` file that cannot be read.
    #[error("the kernel argument file {name} is not valid")]
    File {
        /// The file's name.
        name: String,
        /// What the TOML reader said.
        source: Box<toml::de::Error>,
    },
}

/// A kernel command line: arguments in order, each as it is written there,
/// double quotes included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct KernelArgs(Vec<String>);

/// The part of an argument before the first `=`.
fn key(arg: &str) -> &str {
    arg.split_once('=').map_or(arg, |(key, _)| key)
}

/// Splits at blanks outside double quotes, as the kernel does.
fn split(line: &str) -> Result<Vec<String>, KargsError> {
    let mut args = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        quoted ^= c == '"';
        match args.last_mut() {
            Some(_) if c.is_ascii_whitespace() && !quoted => args.push(String::new()),
            Some(arg) => arg.push(c),
            None => {}
        }
    }
    if quoted {
        return Err(KargsError::Unfinished(line.to_owned()));
    }
    args.retain(|arg| !arg.is_empty());
    Ok(args)
}

/// One argument, checked.
fn single(arg: &str) -> Result<String, KargsError> {
    let bad = || KargsError::Unusable(arg.to_owned());
    if arg.chars().any(char::is_control) {
        return Err(bad());
    }
    match split(arg)?.as_slice() {
        [one] if one == arg => Ok(arg.to_owned()),
        // Blanks outside quotes: it would become several arguments.
        _ => Err(bad()),
    }
}

impl FromStr for KernelArgs {
    type Err = KargsError;

    fn from_str(line: &str) -> Result<Self, KargsError> {
        if line.chars().any(|c| c.is_control() && !c.is_whitespace()) {
            return Err(KargsError::Unusable(line.to_owned()));
        }
        Ok(Self(
            split(line)?
                .iter()
                .map(|a| single(a))
                .collect::<Result<_, _>>()?,
        ))
    }
}

impl fmt::Display for KernelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

impl KernelArgs {
    /// No arguments.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The arguments of a list of strings, one each.
    ///
    /// # Errors
    /// An argument that is empty, or that would be more than one.
    pub fn of<S: AsRef<str>>(args: impl IntoIterator<Item = S>) -> Result<Self, KargsError> {
        let args = args.into_iter().map(|a| single(a.as_ref()));
        Ok(Self(args.collect::<Result<_, _>>()?))
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The last value given for `name`, without quotes; `""` when it stands
    /// there without a value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let last = self.0.iter().rev().find(|arg| key(arg) == name)?;
        let value = last.split_once('=').map_or("", |(_, value)| value);
        Some(value.replace('"', ""))
    }

    /// Whether this very argument is there.
    #[must_use]
    pub fn contains(&self, arg: &str) -> bool {
        self.0.iter().any(|a| a == arg)
    }

    /// Adds an argument at the end, even when it is there already.
    ///
    /// # Errors
    /// It is empty, or would be more than one argument.
    pub fn append(&mut self, arg: &str) -> Result<(), KargsError> {
        self.0.push(single(arg)?);
        Ok(())
    }

    /// Adds all of `other` at the end.
    pub fn extend(&mut self, other: &Self) {
        self.0.extend(other.0.iter().cloned());
    }

    /// Puts `arg` in the place of the first argument with its name and drops the
    /// others of that name; adds it at the end when there is none.
    ///
    /// # Errors
    /// It is empty, or would be more than one argument.
    pub fn replace(&mut self, arg: &str) -> Result<(), KargsError> {
        let arg = single(arg)?;
        let Some(first) = self.0.iter().position(|a| key(a) == key(&arg)) else {
            self.0.push(arg);
            return Ok(());
        };
        let mut at = 0;
        self.0.retain(|a| {
            at += 1;
            at - 1 == first || key(a) != key(&arg)
        });
        self.0[first] = arg;
        Ok(())
    }

    /// Removes `NAME` (every argument of that name) or `NAME=VALUE` (that one
    /// argument, wherever it stands); answers how many went.
    pub fn delete(&mut self, what: &str) -> usize {
        let before = self.0.len();
        let whole = what.contains('=');
        self.0
            .retain(|a| if whole { a != what } else { key(a) != what });
        before - self.0.len()
    }

    /// The arguments for a new version: its image's defaults with this host's
    /// own changes, which are the difference between `effective` and the old
    /// image's defaults. What the host removed stays removed, what it added
    /// stays added.
    #[must_use]
    pub fn carry_over(old_defaults: &Self, effective: &Self, new_defaults: &Self) -> Self {
        let added = effective.without(old_defaults);
        let removed = old_defaults.without(effective);
        let mut args = new_defaults.without(&removed);
        args.0.extend(added.0);
        args
    }

    /// The arguments left when each of `other`'s takes one of its kind away.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut taken = other.0.clone();
        let keep = |arg: &&String| match taken.iter().position(|t| t == *arg) {
            Some(at) => {
                taken.swap_remove(at);
                false
            }
            None => true,
        };
        Self(self.0.iter().filter(keep).cloned().collect())
    }
}

/// The directory in an image that holds its default kernel arguments.
pub const DEFAULTS_DIR: &str = "usr/lib/backstop/kargs.d";

/// A file in [`DEFAULTS_DIR`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DefaultsFile {
    kargs: Vec<String>,
}

/// Puts the image's default arguments together from its `kargs.d` files
/// (`name`, text), which are taken in the order of their names.
///
/// # Errors
/// A file that is not TOML with a list `kargs`, or an unusable argument.
pub fn defaults(files: &[(String, String)]) -> Result<KernelArgs, KargsError> {
    let mut files: Vec<_> = files.iter().collect();
    files.sort();
    let mut all = KernelArgs::new();
    for (name, text) in files {
        let file: DefaultsFile = toml::from_str(text).map_err(|source| KargsError::File {
            name: name.clone(),
            source: Box::new(source),
        })?;
        for arg in &file.kargs {
            all.append(arg)?;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn args(line: &str) -> KernelArgs {
        line.parse().unwrap()
    }

    #[test]
    fn splits_like_the_kernel() {
        let table = [
            ("", vec![]),
            ("  quiet   ro ", vec!["quiet", "ro"]),
            ("a=\"b c\" d", vec!["a=\"b c\"", "d"]),
            ("\"a=b c\"", vec!["\"a=b c\""]),
            ("a=b=c\tx", vec!["a=b=c", "x"]),
        ];
        for (line, expected) in table {
            assert_eq!(args(line).iter().collect::<Vec<_>>(), expected, "{line}");
        }
        assert!("a=\"b".parse::<KernelArgs>().is_err());
        assert!("a\0b".parse::<KernelArgs>().is_err());
        assert!("a=\"b\nc\"".parse::<KernelArgs>().is_err());
    }

    #[test]
    fn one_argument_stays_one() {
        for bad in ["", "a b", " a", "a=\"b", "a\n"] {
            assert!(KernelArgs::new().append(bad).is_err(), "{bad:?}");
        }
        let mut list = KernelArgs::new();
        list.append("a=\"b c\"").unwrap();
        assert_eq!(list.get("a").unwrap(), "b c");
    }

    #[test]
    fn replaces_and_deletes() {
        let mut list = args("a=1 b a=2 c=3");
        list.replace("a=9").unwrap();
        assert_eq!(list.to_string(), "a=9 b c=3");
        list.replace("d").unwrap();
        assert_eq!(list.to_string(), "a=9 b c=3 d");
        assert_eq!(list.delete("c=4"), 0);
        assert_eq!(list.delete("c=3"), 1);
        list.append("a=8").unwrap();
        assert_eq!(list.delete("a"), 2);
        assert_eq!(list.to_string(), "b d");
        assert_eq!(list.get("b").unwrap(), "");
        assert_eq!(list.get("x"), None);
    }

    #[test]
    fn carries_local_changes_over() {
        let table = [
            // old image, on the host, new image, expected
            ("ro quiet", "ro quiet", "ro splash", "ro splash"),
            ("ro quiet", "ro", "ro quiet x", "ro x"),
            (
                "ro",
                "ro console=ttyS0 console=tty0",
                "rw",
                "rw console=ttyS0 console=tty0",
            ),
            ("a a", "a", "a a b", "a b"),
            ("", "root=UUID=1", "", "root=UUID=1"),
        ];
        for (old, host, new, expected) in table {
            let got = KernelArgs::carry_over(&args(old), &args(host), &args(new));
            assert_eq!(got.to_string(), expected, "{old} | {host} | {new}");
        }
    }

    #[test]
    fn reads_the_image_defaults_in_order() {
        let files = [
            ("20-b.toml".into(), "kargs = [\"b=2\"]".into()),
            ("10-a.toml".into(), "kargs = [\"a\", \"ro\"]".into()),
        ];
        assert_eq!(defaults(&files).unwrap().to_string(), "a ro b=2");
        for bad in ["kargs = \"a\"", "args = []", "kargs = [\"a b\"]", "["] {
            assert!(defaults(&[("x.toml".into(), bad.into())]).is_err(), "{bad}");
        }
    }

    fn any_args() -> impl Strategy<Value = KernelArgs> {
        let arg = "[a-c](=([0-2]|\"[0-1 ]{0,3}\"))?";
        prop::collection::vec(arg, 0..6).prop_map(|list| KernelArgs::of(list).unwrap())
    }

    fn sorted(args: &KernelArgs) -> Vec<&str> {
        let mut list: Vec<_> = args.iter().collect();
        list.sort_unstable();
        list
    }

    proptest! {
        #[test]
        fn a_line_reads_back(line in "[a-b= \"\t]{0,24}") {
            if let Ok(args) = line.parse::<KernelArgs>() {
                prop_assert_eq!(args.to_string().parse(), Ok(args));
            }
        }

        #[test]
        fn without_new_defaults_a_host_keeps_its_arguments(
            defaults in any_args(),
            effective in any_args(),
            other in any_args(),
        ) {
            let kept = KernelArgs::carry_over(&defaults, &effective, &defaults);
            prop_assert_eq!(sorted(&kept), sorted(&effective));
            // And one without changes of its own gets the new defaults.
            let taken = KernelArgs::carry_over(&defaults, &defaults, &other);
            prop_assert_eq!(taken, other);
        }
    }
}
