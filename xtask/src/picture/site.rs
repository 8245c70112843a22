//! Hosts to be filmed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};

/// Hosts in directories, behind one sshd.
#[derive(Debug)]
pub struct Site {
    dir: PathBuf,
    program: PathBuf,
    hosts: Vec<PathBuf>,
    sshd: Child,
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    if !out.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(path);
    Ok(file.and_then(|mut file| file.write_all(text.as_bytes()))?)
}

impl Site {
    /// Makes the hosts; one of them is to get a version that answers wrongly.
    pub fn new(program: &Path, count: usize) -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("rollout-{}", std::process::id()));
        std::fs::create_dir_all(&dir)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let sshd = sshd(&dir, port)?;
        let mut site = Self {
            dir,
            program: program.to_owned(),
            hosts: Vec::new(),
            sshd,
        };
        let mut toml = head(&site.dir, port);
        for number in 1..=count {
            let host = site.dir.join(format!("web{number}"));
            run(Command::new(program)
                .args(["demo", "--no-stories", "--dir"])
                .arg(&host))?;
            site.hosts.push(host.clone());
            println!("web{number} is made");
            // The second version is healthy, the third is not.
            let which = if number == count * 3 / 4 {
                "shop/all^^"
            } else {
                "shop/all^^^"
            };
            let mut find = Command::new(program);
            find.arg("repo")
                .arg("--repo")
                .arg(host.join("releases"))
                .args(["rev-parse", which]);
            let (commit, h) = (run(&mut find)?, host.display());
            writeln!(
                toml,
                "[hosts.web{number:02}]\nsysroot = '{h}'\nfetch = '{h}/releases:{}'",
                commit.trim()
            )?;
        }
        write(&site.dir.join("fleet.toml"), &toml)?;
        Ok(site)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The command line that is filmed.
    pub fn deploy(&self) -> String {
        let d = self.dir.display();
        format!(
            "cd {d} && XDG_STATE_HOME={d}/state {} fleet deploy --waves 1,25%,rest --max-failures 1",
            self.program.display()
        )
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for host in &self.hosts {
            // A host that was not made is not there to be removed.
            let _ = Command::new(&self.program)
                .args(["demo", "--remove"])
                .arg(host)
                .output();
        }
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn sshd(dir: &Path, port: u16) -> anyhow::Result<Child> {
    for key in ["host", "id"] {
        let words = ["-q", "-t", "ed25519", "-N", "", "-f"];
        run(Command::new("ssh-keygen").args(words).arg(dir.join(key)))?;
    }
    let key = std::fs::read_to_string(dir.join("host.pub"))?;
    write(&dir.join("known"), &format!("[127.0.0.1]:{port} {key}"))?;
    let d = dir.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {d}/host\nPidFile none\n\
         AuthorizedKeysFile {d}/id.pub\nStrictModes no\nUsePAM no\nMaxStartups 200\n"
    );
    write(&dir.join("sshd_config"), &config)?;
    Command::new("/usr/sbin/sshd")
        .args(["-D", "-f"])
        .arg(dir.join("sshd_config"))
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start sshd")
}

fn head(dir: &Path, port: u16) -> String {
    let d = dir.display();
    format!(
        "[defaults]\ntarget_host = '127.0.0.1'\ntarget_port = {port}\ntrial = 'live'\n\
         ssh_options = ['-F', 'none', '-i', '{d}/id', '-o', 'UserKnownHostsFile={d}/known']\n"
    )
}
