//! What the fuzzer begins with: real files, made by the program itself.
#![expect(clippy::disallowed_methods, reason = "a corpus, which may be lost")]

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// Kinds of objects, by the end of their names and the byte that the fuzzer's
/// `objects` tells them by.
const KINDS: [(&str, u8); 3] = [("commit", 0), ("dirtree", 1), ("dirmeta", 2)];

/// A check as people write it.
const CHECK: &str = "description = 'the site answers'\nrequired = true\nretries = 3\n\
    interval = '2s'\ntimeout = '5s'\n[http]\nurl = 'http://127.0.0.1/'\nstatus = 200\n";
/// What vouches for a summary, as mirror managers write it.
const METALINK: &str = "<?xml version='1.0'?><metalink version='3.0'><files>\
    <file name='summary'><size>3</size><verification><hash type='sha256'>\
    2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae</hash></verification>\
    <resources><url type='http' preference='9'>http://a/b?c=1&amp;d=2</url></resources>\
    </file></files></metalink>";
/// What a policy says of files, and what is labelled like something else.
const CONTEXTS: &[u8] = b"/.* u:r:d:s0\n/usr/bin/.* -- u:r:b:s0\n/usr/lib(64)?/.+\\.so(\\.[^/]*)? \
    u:r:l:s0\n/etc/x|/y <<none>>\n/a{2,3} -d u:r:a:s0\n\0/usr/etc /etc\n";
/// An answer with three objects, one of them not there, after how it is cut.
const MANY: &[u8] = b"\x02\x05\x00\0\0\0\0\0\0\0\x03abc\xff\xff\xff\xff\xff\xff\xff\xff\
    \0\0\0\0\0\0\0\x01z";
/// A boot entry as it lies in `loader/entries`.
const ENTRY: &str = "title Debian 12\nversion 2\nlinux /ostree/d-1/vmlinuz\n\
    initrd /ostree/d-1/initrd\noptions root=UUID=1 rw \"a b\"=c panic=5\n";

/// Plants each parser's seeds below `dir/corpus`.
pub fn plant(dir: &Path, program: &str) -> anyhow::Result<()> {
    let corpus = dir.join("corpus");
    let tmp = tempfile::tempdir()?;
    let garden = Garden {
        program: program.to_owned(),
        dir: tmp.path().to_owned(),
        corpus,
    };
    garden.repository()?;
    garden.archives()?;
    garden.seed("check", "seed", CHECK.as_bytes())?;
    garden.seed("metalink", "seed", METALINK.as_bytes())?;
    garden.seed("file-contexts", "seed", CONTEXTS)?;
    garden.seed("boot-entry", "seed", ENTRY.as_bytes())?;
    garden.seed(
        "value-text",
        "seed",
        b"{'a': <uint64 5>, 'b': <('x', [1, 2])>}",
    )?;
    garden.seed("wire", "seed", b"M\0\0\0\x02{}I\0\0\0\x01xE\0\0\0\0")?;
    garden.seed("many-answer", "seed", MANY)?;
    garden.seed("many-query", "seed", b"of=ab/cd.filez,0e/%2d.dirtree")?;
    garden.seed("delta-patch", "seed", b"\x04abcdBSDIFF40")?;
    garden.seed("sector", "seed", &[0; 512])
}

/// Where seeds are made, and where they go.
struct Garden {
    program: String,
    dir: PathBuf,
    corpus: PathBuf,
}

impl Garden {
    fn seed(&self, parser: &str, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let dir = self.corpus.join(parser);
        std::fs::create_dir_all(&dir)?;
        Ok(std::fs::write(dir.join(name), bytes)?)
    }

    fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<()> {
        let mut command = Command::new(program);
        let out = command.args(args).current_dir(&self.dir).output();
        let out = out.with_context(|| format!("cannot run {program}"))?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(out.status.success(), "{program} {}: {said}", args.join(" "));
        Ok(())
    }

    /// Two commits, with a summary and a delta.
    fn repository(&self) -> anyhow::Result<()> {
        let tree = self.dir.join("tree");
        std::fs::create_dir_all(tree.join("dir"))?;
        std::os::unix::fs::symlink("file", tree.join("dir/link"))?;
        self.run(
            &self.program,
            &["repo", "--repo=repo", "init", "--mode=archive"],
        )?;
        let commit = ["repo", "--repo=repo", "commit", "-b", "main", "tree"];
        for content in ["one\n".repeat(300), "one\n".repeat(200) + "two"] {
            std::fs::write(tree.join("dir/file"), content)?;
            self.run(&self.program, &commit)?;
        }
        self.run(
            &self.program,
            &["repo", "--repo=repo", "delta", "generate", "main"],
        )?;
        self.run(&self.program, &["repo", "--repo=repo", "summary", "-u"])?;
        let repo = self.dir.join("repo");
        self.seed("summary", "seed", &std::fs::read(repo.join("summary"))?)?;
        self.seed("config", "seed", &std::fs::read(repo.join("config"))?)?;
        self.below(&repo)
    }

    /// Each object and each part of a delta goes where its name says.
    fn below(&self, dir: &Path) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                self.below(&path)?;
                continue;
            }
            let bytes = std::fs::read(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let end = name.rsplit('.').next().unwrap_or_default();
            if let Some((kind, number)) = KINDS.iter().find(|(kind, _)| *kind == end) {
                self.seed("objects", kind, &[&[*number], &bytes[..]].concat())?;
            } else if end == "filez" {
                self.seed("arriving", &name, &bytes)?;
            } else if name == "superblock" {
                self.seed("delta-superblock", "seed", &bytes)?;
            } else if name.parse::<u32>().is_ok() {
                self.seed("delta-part", &name, &bytes)?;
            }
        }
        Ok(())
    }

    fn archives(&self) -> anyhow::Result<()> {
        let export = ["--format=ustar", "-cf", "plain.tar", "tree"];
        self.run("tar", &export)?;
        self.run("tar", &["--format=pax", "-czf", "packed.tar", "tree"])?;
        for name in ["plain.tar", "packed.tar"] {
            self.seed("tar", name, &std::fs::read(self.dir.join(name))?)?;
        }
        Ok(())
    }
}
