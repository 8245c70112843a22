//! GRUB's environment block: 1024 bytes that GRUB itself can write.

/// How long a block is; GRUB refuses any other.
pub(super) const LENGTH: usize = 1024;
const HEAD: &str = "# GRUB Environment Block\n";

/// The variables of a block, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Grubenv(Vec<(String, String)>);

impl Grubenv {
    /// Reads a block. Anything else than a block is refused.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != LENGTH {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let body = text.strip_prefix(HEAD)?;
        let mut variables = Vec::new();
        for line in body.split('\n').filter(|line| !line.starts_with('#')) {
            if let Some((name, value)) = line.split_once('=') {
                variables.push((name.to_owned(), unescape(value)));
            }
        }
        Some(Self(variables))
    }

    /// A variable's value; an empty one counts as none, as in GRUB's scripts.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(n, _)| n == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }

    /// Sets a variable, or removes it.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.0.retain(|(n, _)| n != name);
        if let Some(value) = value {
            self.0.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The block; `None` when its variables do not fit.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut text = HEAD.to_owned();
        for (name, value) in &self.0 {
            text.push_str(&format!("{name}={}\n", escape(value)));
        }
        let mut bytes = text.into_bytes();
        if bytes.len() > LENGTH {
            return None;
        }
        bytes.resize(LENGTH, b'#');
        Some(bytes)
    }
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\\n")
}

fn unescape(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' {
            chars.next().unwrap_or(c)
        } else {
            c
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_read_back_and_keep_their_length() {
        let mut env = Grubenv::default();
        env.set("saved_entry", Some("1"));
        env.set("next_entry", Some("All>NixOS \\ 12"));
        let bytes = env.to_bytes().unwrap();
        assert_eq!(bytes.len(), LENGTH);
        assert_eq!(Grubenv::parse(&bytes), Some(env.clone()));
        assert_eq!(env.get("next_entry"), Some("All>NixOS \\ 12"));
        env.set("next_entry", None);
        assert_eq!(env.get("next_entry"), None);
        assert_eq!(env.get("saved_entry"), Some("1"));
        env.set("x", Some(&"y".repeat(LENGTH)));
        assert_eq!(env.to_bytes(), None);
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let block = Grubenv::default().to_bytes().unwrap();
        assert!(Grubenv::parse(&block).is_some());
        assert!(Grubenv::parse(&block[1..]).is_none());
        assert!(Grubenv::parse(&vec![b'#'; LENGTH]).is_none());
        assert!(Grubenv::parse(b"").is_none());
    }

    #[test]
    fn the_block_is_the_one_that_grub_writes() {
        if std::process::Command::new("grub-editenv")
            .arg("--version")
            .output()
            .is_err()
        {
            println!("skipped: needs grub-editenv");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grubenv");
        let edit = |args: &[&str]| {
            let mut command = std::process::Command::new("grub-editenv");
            let done = command.arg(&path).args(args).output().unwrap();
            assert!(done.status.success());
            String::from_utf8(done.stdout).unwrap()
        };
        edit(&["create"]);
        edit(&["set", "next_entry=A>B C", "other=x"]);
        let mut env = Grubenv::parse(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(env.get("next_entry"), Some("A>B C"));
        env.set("next_entry", Some("D"));
        durable::publish_file(&durable::RealFs, &path, &env.to_bytes().unwrap(), 0o600).unwrap();
        assert_eq!(edit(&["list"]), "other=x\nnext_entry=D\n");
    }
}
