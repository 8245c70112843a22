//! A commit's subject and body from an editor.

use std::process::Command;

use crate::fail;

const HINT: &str = "\n# The first line is the subject, the rest the body. Lines that begin with # do not\n# count. Without a subject no commit is made.\n";

/// Lets a person write; subject and body.
pub fn message(subject: &str, body: &str) -> anyhow::Result<(String, String)> {
    let path = std::env::temp_dir().join(format!("ostree-commit-{}", std::process::id()));
    let mut text = subject.to_owned();
    if !body.is_empty() {
        text = format!("{text}\n\n{body}");
    }
    durable::publish_file(&durable::RealFs, &path, (text + HINT).as_bytes(), 0o600)?;
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|v| std::env::var(v).ok());
    let editor = editor.unwrap_or_else(|| "vi".to_owned());
    let command = format!("{editor} {}", path.display());
    let status = Command::new("sh").arg("-c").arg(&command).status();
    let written = std::fs::read_to_string(&path);
    durable::remove_tree(&durable::RealFs, &path)?;
    if !status?.success() {
        return fail(format!("There was a problem with the editor '{editor}'"));
    }
    split(&written?)
}

fn split(text: &str) -> anyhow::Result<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with('#')).collect();
    let text = lines.join("\n");
    let (subject, body) = text.trim().split_once('\n').unwrap_or((text.trim(), ""));
    match subject.trim() {
        "" => fail("Aborting commit due to empty commit subject."),
        subject => Ok((subject.to_owned(), body.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn messages() {
        assert_eq!(
            split("a\n\nb\nc\n# no\n").unwrap(),
            ("a".into(), "b\nc".into())
        );
        assert_eq!(split("a").unwrap(), ("a".into(), String::new()));
        assert!(split("\n# only a comment\n").is_err());
    }
}
