//! SYSLINUX: `boot/syslinux/syslinux.cfg`, which leads to `loader/syslinux.cfg`.

use std::fmt::Write as _;

use crate::planned::Planned;

/// The new text: what others wrote into the old one, and these entries. Entries whose
/// kernel is in `/ostree` were made by us, or by `ostree`.
pub(super) fn config(old: &str, planned: &[Planned], prefix: &str) -> String {
    let (head, kept) = foreign(old);
    let mut text = head;
    let default = planned.first().map(|first| shown(0, planned, first));
    if let Some(default) = &default {
        let _ = writeln!(text, "DEFAULT {default}");
    }
    for (index, entry) in planned.iter().enumerate() {
        let _ = writeln!(text, "LABEL {}", shown(index, planned, entry));
        let _ = writeln!(text, "\tKERNEL {prefix}{}", entry.linux);
        for initrd in &entry.initrds {
            let _ = writeln!(text, "\tINITRD {prefix}{initrd}");
        }
        if let Some((key, path)) = &entry.devicetree {
            let word = if *key == "fdtdir" {
                "FDTDIR"
            } else {
                "DEVICETREE"
            };
            let _ = writeln!(text, "\t{word} {prefix}{path}");
        }
        let _ = writeln!(text, "\tAPPEND {}", entry.options);
    }
    text + &kept
}

/// What an entry is called; the same as its boot entry is.
fn shown(index: usize, planned: &[Planned], entry: &Planned) -> String {
    let several = planned.iter().any(|p| p.id.stateroot != entry.id.stateroot);
    match several {
        true => format!("{} (ostree:{}:{index})", entry.title, entry.id.stateroot),
        false => format!("{} (ostree:{index})", entry.title),
    }
}

/// What of a configuration is not ours: the lines before the first entry, without the
/// default, and the entries of others.
fn foreign(old: &str) -> (String, String) {
    let (mut head, mut kept) = (String::new(), String::new());
    let mut entry: Option<(String, bool)> = None;
    let mut put = |entry: Option<(String, bool)>| {
        if let Some((text, false)) = entry {
            kept += &text;
        }
    };
    for line in old.lines() {
        let word = line.split_whitespace().next().unwrap_or_default();
        let value = line.trim().strip_prefix(word).unwrap_or_default().trim();
        if word == "LABEL" {
            put(entry.take());
            entry = Some((format!("{line}\n"), false));
            continue;
        }
        match &mut entry {
            Some((text, ours)) => {
                *ours |= word == "KERNEL"
                    && (value.starts_with("/ostree/") || value.starts_with("/boot/ostree/"));
                let _ = writeln!(text, "{line}");
            }
            None if word == "DEFAULT" => {}
            None => {
                let _ = writeln!(head, "{line}");
            }
        }
    }
    put(entry);
    (head, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays() {
        let old = "PROMPT 1\nDEFAULT mine\nLABEL mine\n\tKERNEL /vmlinuz\nLABEL Old (ostree:0)\n\
                   \tKERNEL /boot/ostree/d-0f/vmlinuz\n\tAPPEND a\nLABEL x\n\tKERNEL /y\n";
        let (head, kept) = foreign(old);
        assert_eq!(head, "PROMPT 1\n");
        assert_eq!(
            kept,
            "LABEL mine\n\tKERNEL /vmlinuz\nLABEL x\n\tKERNEL /y\n"
        );
        assert_eq!(foreign(""), (String::new(), String::new()));
    }
}
