//! Who signs, and who is trusted.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use durable::RealFs;
use ostree::sign::{Gpg, KeySet, RemoteVerifier, Scheme, Signer, Trust, sign_data};
use ostree::{Checksum, Metadata, Remote, Repo, Verifier};

use crate::cx::Cx;
use crate::fail;

/// The kind of key that `--sign-type` names.
pub fn scheme(cx: &Cx) -> anyhow::Result<Scheme> {
    match cx.given.value("sign-type").unwrap_or("ed25519") {
        "ed25519" => Ok(Scheme::Ed25519),
        "dummy" => Ok(Scheme::Dummy),
        _ => fail("Requested signature type is not implemented"),
    }
}

/// The secret keys in the file that `--keys-file` names, one a line.
pub fn keys_of_file(cx: &Cx) -> anyhow::Result<Vec<String>> {
    let Some(file) = cx.given.value("keys-file") else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(file)?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

/// gpg, with the home that `--gpg-homedir` names.
pub fn gpg(cx: &Cx) -> Gpg {
    Gpg {
        home: cx.given.value("gpg-homedir").map(PathBuf::from),
        ..Gpg::default()
    }
}

/// A key of gpg, in that home.
pub fn gpg_signer(cx: &Cx, key: &str) -> Signer {
    Signer::Gpg {
        gpg: gpg(cx),
        key: key.to_owned(),
    }
}

/// All keys that are to sign something new.
pub fn signers(cx: &Cx) -> anyhow::Result<Vec<Signer>> {
    let mut signers = Vec::new();
    for key in cx.given.values("gpg-sign") {
        signers.push(gpg_signer(cx, key));
    }
    let mut keys: Vec<String> = cx
        .given
        .values("sign")
        .iter()
        .map(|k| (*k).to_owned())
        .collect();
    for file in cx.given.values("sign-from-file") {
        keys.push(std::fs::read_to_string(file)?.trim().to_owned());
    }
    keys.extend(keys_of_file(cx)?);
    for key in keys {
        signers.push(Signer::parse(scheme(cx)?, &key)?);
    }
    Ok(signers)
}

/// The signatures of a summary that the options ask for.
pub fn sign_summary(cx: &Cx, summary: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let signers = signers(cx)?;
    if signers.is_empty() {
        return Ok(None);
    }
    Ok(Some(sign_data(summary, &signers, None)?.encode()))
}

/// Who judges what comes from a remote.
pub fn verifier(repo: &Repo, remote: &Remote) -> anyhow::Result<Box<dyn Verifier>> {
    Ok(Box::new(RemoteVerifier::new(repo, remote)?))
}

/// Trusts the keys that `--gpg-import` names.
pub fn import_keys(cx: &mut Cx, repo: &Repo, remote: &str) -> anyhow::Result<()> {
    let Some(file) = cx.given.value("gpg-import").map(PathBuf::from) else {
        return Ok(());
    };
    let count = repo.import_keys(remote, &[&file], &[])?;
    imported(cx, count, remote)
}

/// Says how many keys are new.
pub fn imported(cx: &mut Cx, count: usize, remote: &str) -> anyhow::Result<()> {
    let keys = if count == 1 { "key" } else { "keys" };
    Ok(writeln!(
        cx.out,
        "Imported {count} GPG {keys} to remote \"{remote}\""
    )?)
}

/// The public keys that the options and words name; those of the system where none
/// is named.
pub fn trust(cx: &Cx, words: &[String]) -> anyhow::Result<Trust> {
    if scheme(cx)? == Scheme::Dummy {
        return Ok(Trust::Dummy(words.to_vec()));
    }
    let mut keys = KeySet::default();
    let mut named = false;
    for word in words {
        named = true;
        // One that is no key vouches for nothing.
        if let Ok(key) = word.parse() {
            keys.trust(key);
        }
    }
    if let Some(file) = cx.given.value("keys-file") {
        named = true;
        keys.add_file(&RealFs, Path::new(file))?;
    }
    if let Some(dir) = cx.given.value("keys-dir") {
        named = true;
        keys.add_dir(&RealFs, Path::new(dir))
            .with_context(|| format!("cannot read keys in {dir}"))?;
    }
    if !named {
        keys = KeySet::of_system(&RealFs)?;
    }
    Ok(Trust::Ed25519(keys))
}

/// What is to be said of a commit's OpenPGP signatures, where there are any.
pub fn describe(cx: &mut Cx, repo: &Repo, commit: &Checksum) -> anyhow::Result<()> {
    let Some(detached) = repo.detached_metadata(commit)? else {
        return Ok(());
    };
    let mut keyrings = Vec::new();
    if let Some(remote) = cx.given.value("gpg-verify-remote") {
        keyrings = repo.keyrings(Some(repo.remote(remote)?.name()))?;
    } else {
        keyrings.extend(repo.keyrings(None)?);
        for remote in repo.remotes()? {
            keyrings.extend(repo.keyrings(Some(remote.name()))?);
        }
    }
    if let Some(home) = cx.given.value("gpg-homedir") {
        keyrings.extend(
            ["pubring.gpg", "pubring.kbx"]
                .iter()
                .map(|f| Path::new(home).join(f)),
        );
    }
    let object = ostree::ObjectName::new(*commit, ostree::ObjectKind::Commit);
    let found = gpg_signatures(keyrings, &repo.object_bytes(&object)?, &detached)?;
    if found.is_empty() {
        return Ok(());
    }
    let s = if found.len() == 1 { "" } else { "s" };
    writeln!(cx.out, "Found {} signature{s}:", found.len())?;
    for signature in &found {
        writeln!(cx.out, "\n  {}", signature.replace('\n', "\n  "))?;
    }
    Ok(writeln!(cx.out)?)
}

/// What the keys in some keyrings say of the OpenPGP signatures over `data`.
pub fn gpg_signatures(
    mut keyrings: Vec<PathBuf>,
    data: &[u8],
    metadata: &Metadata,
) -> anyhow::Result<Vec<String>> {
    let signatures = ostree::sign::signatures_of(metadata, Scheme::Gpg)?;
    if signatures.is_empty() {
        return Ok(Vec::new());
    }
    keyrings.retain(|k| k.is_file());
    let found = Gpg::with_keyrings(keyrings).inspect(data, &signatures)?;
    Ok(found.iter().map(crate::signature::describe).collect())
}
