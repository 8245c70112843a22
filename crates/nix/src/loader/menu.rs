//! GRUB's menu, as `grub.cfg` describes it.

use std::collections::BTreeSet;

use super::version_in;
use crate::layout::Layout;
use crate::store::StorePath;

/// How deep submenus are looked into.
const DEEPEST: usize = 8;
/// The variable that names the entry to boot once.
pub(super) const NEXT: &str = "next_entry";
/// The variable with the entry that was booted last.
pub(super) const SAVED: &str = "saved_entry";

/// The menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Menu {
    entries: Vec<Entry>,
    /// What `default` is set to, unless something is booted once.
    default: String,
    takes_next: bool,
    /// Whether a boot is kept from becoming the default when it is to be the only one.
    spares_default: bool,
}

/// An entry that boots something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// How it is named to GRUB: `Submenu>Title`.
    pub name: String,
    /// What it boots.
    pub version: Option<StorePath>,
    /// Its way from the top.
    steps: Vec<Step>,
}

/// A place in a menu or submenu.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    index: usize,
    title: String,
}

/// A menu that is being read.
#[derive(Debug, Default)]
struct Level {
    /// The names on the way to it.
    names: Vec<String>,
    steps: Vec<Step>,
    titles: BTreeSet<String>,
    count: usize,
}

/// What a brace opened.
enum Open {
    Submenu,
    Entry,
    Other,
}

impl Level {
    /// The next thing in it: how it is named, and its place.
    fn add(&mut self, title: &str) -> (Vec<String>, Vec<Step>) {
        let index = self.count;
        self.count += 1;
        let first = self.titles.insert(title.to_owned());
        // GRUB takes what begins with a digit for a number and `>>>` for something
        // else than a title after a title, and only finds the first of its name.
        let clear = first
            && !title.starts_with(|c: char| c.is_ascii_digit() || c == '>' || c.is_whitespace())
            && !title.contains(['$', '\\'])
            && !title.is_empty();
        let name = match clear {
            true => title.replace('>', ">>"),
            false => index.to_string(),
        };
        let title = title.to_owned();
        let names = self.names.iter().cloned().chain([name]);
        let steps = self.steps.iter().cloned().chain([Step { index, title }]);
        (names.collect(), steps.collect())
    }
}

impl Menu {
    /// Reads a configuration.
    pub fn parse(layout: &Layout, config: &str) -> Self {
        let saves = |line: &str, name: &str| {
            let mut words = line.split_whitespace();
            words.next() == Some("save_env") && words.any(|word| word == name)
        };
        let lines = || config.lines().map(str::trim);
        let default = lines().filter_map(|line| line.strip_prefix("set default="));
        let default = default.map(unquoted).rfind(|value| !value.contains(NEXT));
        let saves_default = default.is_some_and(|value| value.contains(SAVED));
        Self {
            entries: entries(layout, config),
            default: default.unwrap_or("0").to_owned(),
            takes_next: config.contains("${next_entry}") && lines().any(|l| saves(l, NEXT)),
            spares_default: !saves_default || config.contains("boot_once"),
        }
    }

    /// Why it cannot be trusted to boot an entry only once.
    pub fn boots_again(&self) -> Option<&'static str> {
        if !self.takes_next {
            return Some("GRUB's configuration does not look at next_entry and clear it");
        }
        (!self.spares_default)
            .then_some("GRUB's configuration would make what is booted once the default")
    }

    /// The first entry of a version.
    pub fn entry_of(&self, version: &StorePath) -> Option<&Entry> {
        let of_version = |e: &&Entry| e.version.as_ref() == Some(version);
        self.entries.iter().find(of_version)
    }

    /// Whether the default is what was booted last.
    pub fn saves_default(&self) -> bool {
        self.default.contains(SAVED)
    }

    /// The entry that boots by default, with this in `saved_entry`.
    pub fn default(&self, saved: Option<&str>) -> Option<&Entry> {
        match self.saves_default() {
            true => self.chosen(saved.unwrap_or_default()),
            false => self.chosen(&self.default),
        }
    }

    /// The entry that GRUB finds by a name; it takes the first one for a name that it
    /// does not know.
    fn chosen(&self, name: &str) -> Option<&Entry> {
        let mut rest = name;
        let mut here: Vec<&Entry> = self.entries.iter().collect();
        for level in 0..=DEEPEST {
            let (component, after) = split(rest);
            let steps = || here.iter().filter_map(|e| e.steps.get(level));
            let digits: String = component.chars().take_while(char::is_ascii_digit).collect();
            let index = match digits.parse::<usize>() {
                Ok(index) => index,
                Err(_) => {
                    let title = component.replace(">>", ">");
                    steps().find(|s| s.title == title).map_or(0, |s| s.index)
                }
            };
            here.retain(|e| e.steps.get(level).is_some_and(|s| s.index == index));
            match here.first() {
                Some(entry) if entry.steps.len() == level + 1 => return Some(entry),
                Some(_) => rest = after,
                None => return None,
            }
        }
        None
    }
}

/// The part of a name before the first separator, and what follows it.
fn split(name: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(at) = name[from..].find('>').map(|at| from + at) {
        if !name[at + 1..].starts_with('>') {
            return (&name[..at], &name[at + 1..]);
        }
        from = at + 2;
    }
    (name, "")
}

/// The entries of a configuration, in their order.
fn entries(layout: &Layout, config: &str) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut levels = vec![Level::default()];
    let mut open: Vec<Open> = Vec::new();
    for line in config.lines().map(str::trim) {
        let goes_on = line.ends_with('{');
        let level = levels.last_mut();
        if let (Some(title), Some(level)) = (titled(line, "submenu"), level) {
            let (names, steps) = level.add(title);
            if goes_on && levels.len() < DEEPEST {
                let below = Level {
                    names,
                    steps,
                    ..Level::default()
                };
                levels.push(below);
                open.push(Open::Submenu);
            } else if goes_on {
                open.push(Open::Other);
            }
        } else if let (Some(title), Some(level)) = (titled(line, "menuentry"), levels.last_mut()) {
            let (names, steps) = level.add(title);
            found.push(Entry {
                name: names.join(">"),
                version: None,
                steps,
            });
            if goes_on {
                open.push(Open::Entry);
            }
        } else if goes_on {
            open.push(Open::Other);
        } else if line == "}" {
            if matches!(open.pop(), Some(Open::Submenu)) {
                levels.pop();
            }
        } else if matches!(open.last(), Some(Open::Entry))
            && is_kernel(line)
            && let Some(entry) = found.last_mut()
        {
            entry.version = entry.version.take().or_else(|| version_in(layout, line));
        }
    }
    found
}

/// Whether a line may load a kernel; below Xen, kernels are modules.
fn is_kernel(line: &str) -> bool {
    line.starts_with("linux") || line.starts_with("module")
}

/// The title in `menuentry "Title" …`.
fn titled<'l>(line: &'l str, word: &str) -> Option<&'l str> {
    let rest = line.strip_prefix(word)?;
    let title = rest.trim_start();
    if title.len() == rest.len() {
        return None;
    }
    match title.chars().next()? {
        quote @ ('"' | '\'') => title[1..].split(quote).next(),
        _ => title.split_whitespace().next(),
    }
}

fn unquoted(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::Path;

    const HASH: [&str; 4] = [
        "00000000000000000000000000000000",
        "11111111111111111111111111111111",
        "22222222222222222222222222222222",
        "33333333333333333333333333333333",
    ];

    pub fn layout() -> Layout {
        Layout::new(Path::new("/"))
    }

    pub fn version(n: usize) -> StorePath {
        let path = format!("/nix/store/{}-nixos-system-a", HASH[n]);
        StorePath::parse(&layout(), &path).unwrap()
    }

    fn entry(title: &str, n: usize) -> String {
        let init = format!("/nix/store/{}-nixos-system-a/init", HASH[n]);
        format!(
            "menuentry \"{title}\" --class nixos {{\n  linux ($drive2)/k init={init} quiet\n  initrd ($drive2)/i\n}}\n"
        )
    }

    /// The menu of three generations, one of them with a specialisation.
    pub fn config(default: &str) -> String {
        let head = format!(
            "if [ -s $prefix/grubenv ]; then\n  load_env\nfi\nif [ \"${{next_entry}}\" ]; then\n  \
             set default=\"${{next_entry}}\"\n  set next_entry=\n  save_env next_entry\n  \
             set boot_once=true\nelse\n  set default={default}\nfi\nset timeout=0\nfunction savedefault {{\n  \
             if [ -z \"${{boot_once}}\"]; then\n    save_env saved_entry\n  fi\n}}\n"
        );
        let all = [
            entry("NixOS", 2),
            "menuentry \"Firmware\" { fwsetup }\n".to_owned(),
            "submenu \"NixOS - All configurations\" --class submenu {\n".to_owned(),
            "menuentry Halt { halt }\n".to_owned(),
            entry("NixOS - Configuration 3 (2026 - 26>05)", 2),
            "submenu \"> NixOS - Configuration 2 (2026)\" {\n".to_owned(),
            entry("NixOS - Configuration 2 - Default (2026)", 1),
            entry("NixOS - Configuration 2 - (rescue)", 3),
            "}\n".to_owned(),
            entry("NixOS - Configuration 1 (2025)", 0),
            "}\n".to_owned(),
        ];
        head + &all.concat()
    }

    #[test]
    fn entries_are_named_as_grub_finds_them() {
        let menu = Menu::parse(&layout(), &config("0"));
        let all = "NixOS - All configurations";
        let two = "NixOS - Configuration 2";
        let table = [
            (2, "NixOS".to_owned()),
            // After a separator, its title would not be taken for one.
            (1, format!("{all}>2>{two} - Default (2026)")),
            (3, format!("{all}>2>{two} - (rescue)")),
            (0, format!("{all}>NixOS - Configuration 1 (2025)")),
        ];
        for (n, name) in table {
            let entry = menu.entry_of(&version(n)).unwrap();
            assert_eq!(entry.name, name);
            assert_eq!(menu.chosen(&name), Some(entry), "{name}");
        }
        assert_eq!(menu.boots_again(), None);
    }

    #[test]
    fn titles_that_grub_misreads_are_numbers() {
        let twice = entry("Same", 0) + &entry("Same", 1) + &entry("2026", 2) + &entry("a$b", 3);
        let menu = Menu::parse(&layout(), &twice);
        let names: Vec<_> = menu.entries.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(names, ["Same", "1", "2", "3"]);
        let deep = "submenu a {\n".repeat(50_000) + &entry("x", 0);
        assert!(Menu::parse(&layout(), &deep).entries.len() == 1);
    }

    #[test]
    fn the_default_is_what_grub_would_boot() {
        let all = "NixOS - All configurations";
        let one = format!("{all}>NixOS - Configuration 1 (2025)");
        let three = format!("{all}>NixOS - Configuration 3 (2026 - 26>>05)");
        let table = [
            ("0", None, Some(2)),
            ("1", None, None),
            ("2>3", None, Some(0)),
            ("2>2>1", None, Some(3)),
            ("\"${saved_entry}\"", None, Some(2)),
            ("\"${saved_entry}\"", Some(one.as_str()), Some(0)),
            ("\"${saved_entry}\"", Some(three.as_str()), Some(2)),
            ("\"${saved_entry}\"", Some("gone"), Some(2)),
            ("0", Some(one.as_str()), Some(2)),
        ];
        for (default, saved, expected) in table {
            let menu = Menu::parse(&layout(), &config(default));
            let found = menu.default(saved).and_then(|e| e.version.clone());
            assert_eq!(found, expected.map(version), "{default} {saved:?}");
        }
    }

    #[test]
    fn a_configuration_that_would_boot_it_again_is_refused() {
        let good = config("\"${saved_entry}\"");
        let table = [
            (good.clone(), true),
            (good.replace("save_env next_entry", "true"), false),
            (good.replace("${next_entry}", "${other}"), false),
            (good.replace("boot_once", "other"), false),
            (config("0").replace("boot_once", "other"), true),
        ];
        for (config, can) in table {
            let menu = Menu::parse(&layout(), &config);
            assert_eq!(menu.boots_again().is_none(), can, "{config}");
        }
    }
}
