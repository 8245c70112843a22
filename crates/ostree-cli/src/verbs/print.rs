//! Commits and sizes as they are printed.

use ostree::{Checksum, Commit, Value};

use crate::cx::Cx;
use crate::date;

/// A commit with what is said of it.
pub fn commit(cx: &mut Cx, checksum: &Checksum, commit: &Commit) -> anyhow::Result<()> {
    writeln!(cx.out, "commit {checksum}")?;
    if let Some(parent) = commit.parent {
        writeln!(cx.out, "Parent:  {parent}")?;
    }
    writeln!(cx.out, "ContentChecksum:  {}", commit.content_checksum())?;
    writeln!(cx.out, "Date:  {}", date::shown(commit.timestamp))?;
    if let Some(version) = commit.version() {
        writeln!(cx.out, "Version: {version}")?;
    }
    if commit.subject.is_empty() {
        writeln!(cx.out, "(no subject)")?;
    } else {
        writeln!(cx.out)?;
        indented(cx, &commit.subject)?;
    }
    if !commit.body.is_empty() {
        writeln!(cx.out)?;
        indented(cx, &commit.body)?;
    }
    writeln!(cx.out)?;
    Ok(())
}

fn indented(cx: &mut Cx, text: &str) -> anyhow::Result<()> {
    for line in text.lines() {
        writeln!(cx.out, "    {line}")?;
    }
    Ok(())
}

/// A commit's value, with its numbers as they are meant, unless `--no-byteswap` is given.
pub fn raw_commit(cx: &mut Cx, checksum: &Checksum, commit: &Commit) -> anyhow::Result<()> {
    writeln!(cx.out, "commit {checksum}")?;
    let value = commit.value()?;
    match cx.given.has("no-byteswap") {
        true => raw(cx, &value),
        false => raw(cx, &value.byteswapped()),
    }
}

/// A value, as `ostree` prints one.
pub fn raw(cx: &mut Cx, value: &Value) -> anyhow::Result<()> {
    Ok(writeln!(cx.out, "{value}")?)
}

/// A size for people, in powers of 1000. As in GLib, the space before `kB` and the like does not break.
#[must_use]
pub fn size(bytes: u64) -> String {
    if bytes == 1 {
        return "1 byte".to_owned();
    }
    let units = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64 / 1000.0;
    if bytes < 1000 {
        return format!("{bytes} bytes");
    }
    for unit in units {
        if value < 1000.0 || unit == "EB" {
            return format!("{value:.1}\u{a0}{unit}");
        }
        value /= 1000.0;
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1200, "1.2\u{a0}kB"),
            (2_500_000, "2.5\u{a0}MB"),
        ] {
            assert_eq!(super::size(bytes), text);
        }
    }
}
