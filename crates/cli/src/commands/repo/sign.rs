//! `backstop repo sign`

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use durable::RealFs;
use ostree::sign::{Gpg, KeySet, Scheme, SecretKey, Signer, Trust};
use serde_json::json;

use super::Context;
use crate::exit::Ended;

/// Sign a version, or check its signature. Exits with 6 when nobody who is trusted
/// signed it.
#[derive(Debug, Args)]
pub struct Sign {
    /// The version
    #[arg(required_unless_present = "new_key")]
    rev: Option<String>,
    /// Keys: secret ones to sign (for gpg: names of keys), public ones to check; "-"
    /// reads them from the standard input, for others can see arguments
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    /// Check instead of sign; without keys, against those of the host
    #[arg(long)]
    verify: bool,
    /// The kind of signature
    #[arg(short = 's', long, default_value = "ed25519", value_parser = ["ed25519", "gpg", "dummy"])]
    sign_type: String,
    /// Read keys from a file, one a line; for gpg, a keyring to check against
    #[arg(long, value_name = "FILE")]
    keys_file: Option<PathBuf>,
    /// Check against the keys in this directory instead of the host's
    #[arg(long, value_name = "DIR", requires = "verify")]
    keys_dir: Option<PathBuf>,
    /// Where gpg keeps its secret keys
    #[arg(long, value_name = "DIR")]
    gpg_homedir: Option<PathBuf>,
    /// Make a key: the secret one goes to FILE, the public one to FILE.pub
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rev", "verify"])]
    new_key: Option<PathBuf>,
}

impl Sign {
    pub(super) fn run(self, cx: &mut Context<'_>) -> anyhow::Result<Ended> {
        if let Some(path) = &self.new_key {
            return new_key(cx, path);
        }
        let repo = cx.open()?;
        let commit = repo.resolve(self.rev.as_deref().unwrap_or_default())?;
        let source = KeySource {
            scheme: self.sign_type.parse()?,
            keys: self.keys,
            file: self.keys_file,
            dir: self.keys_dir,
            gpg_home: self.gpg_homedir,
        };
        if self.verify {
            let vouched = match repo.verify_commit(&commit, &source.trust()?) {
                Ok(vouched) => vouched.to_string(),
                Err(e @ ostree::Error::UntrustedCommit { .. }) => {
                    let why = format!("{:#}", anyhow::Error::new(e));
                    cx.out.json(
                        &json!({ "commit": commit.to_string(), "trusted": false, "why": why }),
                    )?;
                    cx.out.line(&why)?;
                    return Ok(Ended::Unhealthy);
                }
                Err(e) => return Err(e.into()),
            };
            cx.out
                .json(&json!({ "commit": commit.to_string(), "trusted": true, "by": vouched }))?;
            cx.out.line(&format!("{commit} is signed by {vouched}"))?;
            return Ok(Ended::Done);
        }
        for signer in source.signers()? {
            repo.sign_commit(&commit, &signer)?;
        }
        cx.out.json(&json!({ "commit": commit.to_string() }))?;
        Ok(Ended::Done)
    }
}

/// Writes both halves of a new key, without replacing one that is there.
fn new_key(cx: &mut Context<'_>, path: &Path) -> anyhow::Result<Ended> {
    if path.exists() {
        bail!("{} exists already", path.display());
    }
    let key = SecretKey::generate().context("cannot make a key")?;
    let public = key.public().to_base64();
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    durable::publish_file(&RealFs, path, (key.to_base64() + "\n").as_bytes(), 0o600)?;
    durable::publish_file(
        &RealFs,
        Path::new(&beside),
        format!("{public}\n").as_bytes(),
        0o644,
    )?;
    cx.out.json(&json!({ "public": public }))?;
    cx.out.line(&public)?;
    Ok(Ended::Done)
}

/// Who signs what is written.
#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// Sign with this secret key; "-" reads it from the standard input
    #[arg(long, value_name = "KEY")]
    sign: Vec<String>,
    /// Sign with the secret keys in a file, one a line
    #[arg(long, value_name = "FILE")]
    sign_from_file: Option<PathBuf>,
    /// The kind of those keys
    #[arg(long, default_value = "ed25519", value_parser = ["ed25519", "dummy"])]
    sign_type: String,
    /// Sign with this OpenPGP key, which gpg knows
    #[arg(long, value_name = "KEY")]
    gpg_sign: Vec<String>,
    /// Where gpg keeps its secret keys
    #[arg(long, value_name = "DIR")]
    gpg_homedir: Option<PathBuf>,
}

impl SignArgs {
    /// All of them.
    pub(super) fn signers(&self) -> anyhow::Result<Vec<Signer>> {
        let source = |scheme, keys: &[String], file: Option<&PathBuf>| KeySource {
            scheme,
            keys: keys.to_vec(),
            file: file.cloned(),
            dir: None,
            gpg_home: self.gpg_homedir.clone(),
        };
        let kinds = [
            source(
                self.sign_type.parse()?,
                &self.sign,
                self.sign_from_file.as_ref(),
            ),
            source(Scheme::Gpg, &self.gpg_sign, None),
        ];
        let mut found = Vec::new();
        for kind in kinds.iter().filter(|kind| kind.is_named()) {
            found.extend(kind.signers()?);
        }
        Ok(found)
    }
}

/// Where keys come from.
#[derive(Debug)]
pub(super) struct KeySource {
    pub(super) scheme: Scheme,
    pub(super) keys: Vec<String>,
    pub(super) file: Option<PathBuf>,
    pub(super) dir: Option<PathBuf>,
    pub(super) gpg_home: Option<PathBuf>,
}

impl KeySource {
    /// Whether any is named.
    pub(super) fn is_named(&self) -> bool {
        !self.keys.is_empty() || self.file.is_some() || self.dir.is_some()
    }

    /// The keys given as arguments, or on the standard input.
    fn given(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for key in &self.keys {
            if key == "-" {
                let text = std::io::read_to_string(std::io::stdin());
                let text = text.context("cannot read keys from the standard input")?;
                found.extend(text.lines().map(str::to_owned));
            } else {
                found.push(key.clone());
            }
        }
        Ok(found)
    }

    /// Who signs.
    pub(super) fn signers(&self) -> anyhow::Result<Vec<Signer>> {
        let mut texts = self.given()?;
        if let Some(file) = &self.file {
            texts.extend(
                durable::read_to_string(&RealFs, file)?
                    .lines()
                    .map(str::to_owned),
            );
        }
        texts.retain(|text| !text.trim().is_empty());
        if texts.is_empty() {
            bail!("name a key to sign with, or a file with --keys-file");
        }
        let one = |text: &String| match self.scheme {
            Scheme::Gpg => Ok(Signer::Gpg {
                gpg: Gpg {
                    home: self.gpg_home.clone(),
                    ..Gpg::default()
                },
                key: text.clone(),
            }),
            scheme => Signer::parse(scheme, text).map_err(anyhow::Error::from),
        };
        texts.iter().map(one).collect()
    }

    /// Who is trusted: the keys that are named, or else those of the host.
    pub(super) fn trust(&self) -> anyhow::Result<Trust> {
        Ok(match self.scheme {
            Scheme::Dummy => Trust::Dummy(self.given()?),
            Scheme::Gpg => {
                let named = self.keys.iter().map(PathBuf::from);
                Trust::Gpg(Gpg::with_keyrings(named.chain(self.file.clone()).collect()))
            }
            Scheme::Ed25519 => {
                let mut keys = KeySet::default();
                for key in self.given()? {
                    keys.trust(key.parse()?);
                }
                if let Some(dir) = &self.dir {
                    keys.add_dir(&RealFs, dir)?;
                }
                if let Some(file) = &self.file {
                    keys.add_file(&RealFs, file)?;
                }
                if !self.is_named() {
                    keys = KeySet::of_system(&RealFs)?;
                }
                Trust::Ed25519(keys)
            }
        })
    }
}
