//! `loader/backstop.cfg`: one configuration, and the decision.

use std::fmt::Write;

use super::quote::{boot_path, kernel_arg, word};
use super::{DIGESTS_NAME, EMPTY_DIGESTS_NAME, PUBLISHED_NAME};
use crate::config::{BootConfig, Entry, Trial};
use crate::sector::{LoadFailure, MAX_ATTEMPTS, NO_FAILURE};

/// A file to publish beside the boot entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedFile {
    /// Its name in the `loader` directory.
    pub name: &'static str,
    /// Its content.
    pub content: String,
}

/// Every file that GRUB needs in the `loader` directory for a configuration.
#[must_use]
pub fn published_files(config: &BootConfig) -> Vec<PublishedFile> {
    let file = |name, content| PublishedFile { name, content };
    let digests = config.trial().map(digest_list).unwrap_or_default();
    vec![
        file(PUBLISHED_NAME, published_config(config)),
        file(DIGESTS_NAME, digests),
        file(EMPTY_DIGESTS_NAME, String::new()),
    ]
}

/// What `hashsum --check` reads: digest, two blanks, path below
/// [`digest_dir`]. GRUB prints each path, and on a BIOS machine without a screen
/// it may print line breaks for ever where a line gets longer than 80 characters,
/// so they are kept short.
fn digest_list(trial: &Trial) -> String {
    let dir = digest_dir(trial);
    let below = |path: &str| path[dir.len()..].trim_matches('/').to_owned();
    let line = |d: &crate::FileDigest| format!("{}  {}\n", d.sha256, below(&d.path));
    trial.digests.iter().map(line).collect()
}

/// The directory of the trial's kernel, if all its files are there; else the top
/// of the boot filesystem, which is the empty path.
fn digest_dir(trial: &Trial) -> &str {
    let dir = trial
        .entry
        .linux
        .rfind('/')
        .map_or("", |end| &trial.entry.linux[..end]);
    let inside = |path: &str| path.strip_prefix(dir).is_some_and(|p| p.starts_with('/'));
    match trial.digests.iter().all(|d| inside(&d.path)) {
        true => dir,
        false => "",
    }
}

/// The script. It boots something, restarts the machine, leaves a menu for
/// somebody who pressed Escape (`backstop_menu` is `yes` then), or returns
/// because no entry could be loaded.
#[must_use]
pub fn published_config(config: &BootConfig) -> String {
    let id = config.id();
    let mut out = format!("# Boot configuration {id}, generated.\n\n");
    for (index, entry) in config.entries().iter().enumerate() {
        out += &entry_function(index, entry);
    }
    if let Some(trial) = config.trial() {
        out += &trial_functions(&id.to_string(), trial);
    }
    out += "function backstop_decide {\n";
    if config.trial().is_some() {
        out += "  backstop_try\n";
    }
    for index in 0..config.entries().len() {
        out += &format!("  backstop_entry_{index}\n");
    }
    out += "}\n\n";
    out += &menu(config);
    out + TAIL
}

/// The automatic way, unless somebody presses Escape within a second.
const TAIL: &str = r#"
if sleep --interruptible 1; then
  backstop_decide
else
  set backstop_menu=yes
  set default=0
  set timeout=60
fi
"#;

/// A choice by hand goes past the sector: it counts nothing and is no trial.
fn menu(config: &BootConfig) -> String {
    let item = |title: &str, body: &str| format!("menuentry {} {{\n  {body}\n}}\n", word(title));
    let mut out = item("Start as usual", "backstop_decide\n  sleep 10\n  reboot");
    for (index, entry) in config.entries().iter().enumerate() {
        out += &item(&entry.title, &format!("backstop_entry_{index}"));
    }
    out
}

/// `[ -s FILE ]` for the kernel and each initrd: after a half-loaded entry
/// another one may hang, so what is missing must be found out before.
fn all_there(entry: &Entry) -> String {
    let files = std::iter::once(&entry.linux).chain(&entry.initrds);
    let tests: Vec<String> = files
        .map(|path| format!("-s {}", boot_path(path)))
        .collect();
    format!("[ {} ]", tests.join(" -a "))
}

fn linux(entry: &Entry) -> String {
    let mut out = format!("linux {}", boot_path(&entry.linux));
    for arg in entry.options.iter() {
        out += " ";
        out += &kernel_arg(arg);
    }
    out
}

fn initrd(entry: &Entry) -> String {
    if entry.initrds.is_empty() {
        return "true".to_owned();
    }
    let paths: Vec<String> = entry.initrds.iter().map(|p| boot_path(p)).collect();
    format!("initrd {}", paths.join(" "))
}

/// Boots an entry, or returns.
fn entry_function(index: usize, entry: &Entry) -> String {
    let name = &entry.name;
    format!(
        "function backstop_entry_{index} {{
  if {there}; then
    if {linux}; then
      if {initrd}; then
        echo 'backstop: booting {name}'
        boot
      fi
    fi
  fi
  echo 'backstop: cannot load {name}'
}}

",
        there = all_there(entry),
        linux = linux(entry),
        initrd = initrd(entry),
    )
}

/// Sets `backstop_counted` to `yes` once the lower count is on the disk. It is
/// read back, because `save_env` changes the first of two lines with the same
/// key, and the last one is what counts.
fn count(id: &str) -> String {
    let mut out = String::from("function backstop_count {\n  set backstop_counted=no\n");
    let _ = writeln!(
        out,
        "  if [ \"${{backstop_version}}:${{backstop_config}}:${{backstop_failed}}:${{backstop_end}}\" \
         = '1:{id}:{NO_FAILURE}:1' ]; then"
    );
    for left in (1..=MAX_ATTEMPTS).rev() {
        let word = if left == MAX_ATTEMPTS { "if" } else { "elif" };
        let _ = writeln!(
            out,
            "    {word} [ \"${{backstop_left}}\" = '{left}' ]; then set backstop_left={}; set backstop_counted=yes",
            left - 1
        );
    }
    out += r#"    fi
    if [ "${backstop_counted}" = 'yes' ]; then
      set backstop_expected="${backstop_left}"
      set backstop_counted=no
      if save_env -f "${backstop_state}" backstop_left; then
        if load_env --skip-sig -f "${backstop_state}" backstop_left; then
          if [ "${backstop_left}" = "${backstop_expected}" ]; then
            set backstop_counted=yes
          fi
        fi
      fi
      if [ "${backstop_counted}" = 'yes' ]; then
        echo "backstop: attempt counted, ${backstop_left} left"
      else
        echo 'backstop: cannot count the attempt, no trial'
      fi
    fi
  fi
}

"#;
    out
}

/// The functions of the trial. `backstop_try` does not return once an attempt is
/// counted: a kernel that does not load ends the trial and restarts the machine.
fn trial_functions(id: &str, trial: &Trial) -> String {
    count(id) + &end_trial(&trial.entry.name) + &verify(trial) + &try_trial(trial)
}

fn end_trial(name: &str) -> String {
    format!(
        r#"function backstop_end_trial {{
  echo "backstop: trial {name} did not load: ${{backstop_failed}}"
  set backstop_left=0
  save_env -f "${{backstop_state}}" backstop_left backstop_failed
  reboot
}}

"#
    )
}

/// Compares kernel and initrds with their digests, where GRUB can. It takes an
/// unknown command for one that went well, so checking a list that does not
/// exist shows whether there is a `hashsum` (it must fail), and an empty one
/// whether that knows SHA-256. (`save_env` is in the module of `load_env`: if one
/// were missing, the sector would not have been read.)
fn verify(trial: &Trial) -> String {
    format!(
        r#"function backstop_verify {{
  set backstop_failed={missing}
  if {there}; then
    set backstop_failed={NO_FAILURE}
    set backstop_verified='not verified, because there is no hashsum here'
    if hashsum --hash sha256 --check "${{backstop_loader}}/is-there-a-hashsum"; then true; else
      if hashsum --hash sha256 --check "${{backstop_loader}}/{EMPTY_DIGESTS_NAME}"; then
        set backstop_verified=verified
        if hashsum --hash sha256 --check "${{backstop_loader}}/{DIGESTS_NAME}" --prefix {prefix}; then true; else
          set backstop_failed={digest}
          set backstop_verified=damaged
        fi
      fi
    fi
    echo "backstop: trial {name} ${{backstop_verified}}"
  fi
}}

"#,
        name = trial.entry.name,
        missing = LoadFailure::Missing.code(),
        digest = LoadFailure::Digest.code(),
        prefix = boot_path(digest_dir(trial)),
        there = all_there(&trial.entry),
    )
}

/// Count, verify, load.
fn try_trial(trial: &Trial) -> String {
    format!(
        r#"function backstop_try {{
  backstop_count
  if [ "${{backstop_counted}}" = 'yes' ]; then
    backstop_verify
    if [ "${{backstop_failed}}" = '{NO_FAILURE}' ]; then
      set backstop_failed={kernel}
      if {linux}; then
        set backstop_failed={initrd_failed}
        if {initrd}; then
          echo 'backstop: booting trial {name}'
          boot
        fi
      fi
    fi
    backstop_end_trial
  fi
}}

"#,
        name = trial.entry.name,
        kernel = LoadFailure::Kernel.code(),
        initrd_failed = LoadFailure::Initrd.code(),
        linux = linux(&trial.entry),
        initrd = initrd(&trial.entry),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{entry, trial};

    #[test]
    fn without_a_trial_the_sector_is_never_written() {
        let config = BootConfig::new(vec![entry("a"), entry("b")], None).unwrap();
        let text = published_config(&config);
        assert!(!text.contains("save_env") && !text.contains("hashsum"));
        assert!(text.contains("  backstop_entry_0\n  backstop_entry_1\n"));
    }

    #[test]
    fn the_count_is_saved_before_the_kernel_is_loaded() {
        let config = BootConfig::new(vec![entry("a")], Some(trial("b", 3))).unwrap();
        let text = published_config(&config);
        let try_it = &text[text.find("function backstop_try").unwrap()..];
        let count = try_it.find("backstop_count").unwrap();
        assert!(count < try_it.find("linux ").unwrap());
        assert!(text.contains(&format!("'1:{}:------:1'", config.id())));
    }

    #[test]
    fn the_digest_list_is_what_hashsum_reads() {
        let config = BootConfig::new(vec![entry("a")], Some(trial("b", 3))).unwrap();
        let files = published_files(&config);
        let list = files.iter().find(|f| f.name == DIGESTS_NAME).unwrap();
        let expected = format!("{}  vmlinuz\n", "0".repeat(64));
        assert_eq!(list.content, expected);
        let text = published_config(&config);
        assert!(
            text.contains("--prefix \"${backstop_boot}\"'/ostree/b'"),
            "{text}"
        );
    }

    #[test]
    fn files_in_several_directories_are_listed_from_the_top() {
        let mut trial = trial("b", 3);
        trial.digests.push(crate::FileDigest {
            path: "/other/initrd".into(),
            sha256: "1".repeat(64),
        });
        assert_eq!(digest_dir(&trial), "");
        assert!(digest_list(&trial).ends_with("  other/initrd\n"));
    }

    #[test]
    fn arguments_cannot_leave_their_quotes() {
        let mut odd = entry("a");
        odd.options = "x=\"a; reboot\" y='$z' }".parse().unwrap();
        let config = BootConfig::new(vec![odd], None).unwrap();
        let text = published_config(&config);
        assert!(text.contains(r"'x=a; reboot' 'y='\''$z'\''' '}'"), "{text}");
    }
}
