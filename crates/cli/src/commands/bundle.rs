//! `backstop bundle`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use bundle::{Bundle, Kind, closure};
use clap::{Args, Subcommand};
use durable::{Fs, RealFs};
use image::Source;
use nix::StorePath;
use ostree::Repo;
use ostree::sign::{KeySet, SecretKey};

use super::wanted::Wanted;
use crate::args::Global;
use crate::exit::Ended;
use crate::host::AnyHost;
use crate::output::Output;
use crate::progress::Terminal;
use crate::session::Session;

/// Where keys are, below the root: those of the administrator, and the system's.
const KEYS: [&str; 2] = ["etc/backstop", "usr/lib/backstop"];

/// What `backstop bundle` does.
#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Write a version into one signed file
    Create(CreateArgs),
    /// Show what a bundle holds, and who signed it
    Show(ShowArgs),
    /// Make a pair of keys: NAME.secret and NAME.pub
    Key(KeyArgs),
}

/// What `backstop bundle create` takes.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// A toplevel in this machine's store, or a link to one; or REPOSITORY:REF
    version: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Sign with this secret key; may be given more than once
    #[arg(short, long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// What people call the version
    #[arg(long, default_value = "")]
    label: String,
}

/// What `backstop bundle show` takes.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The bundle
    file: PathBuf,
    /// Trust the public keys in this file, too
    #[arg(long, value_name = "FILE")]
    trust: Vec<PathBuf>,
}

/// What `backstop bundle key` takes.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// The files' name, without an ending
    name: PathBuf,
}

/// Runs the command.
pub fn run(command: BundleCommand, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    match command {
        BundleCommand::Create(args) => create(&args, global, out),
        BundleCommand::Show(args) => show(&args, global, out),
        BundleCommand::Key(args) => make_keys(&args, out),
    }
}

fn create(args: &CreateArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let monitor = Terminal::new(global.json);
    let keys: Vec<SecretKey> = args
        .keys
        .iter()
        .map(|path| secret(&*fs, path))
        .collect::<anyhow::Result<_>>()?;
    let written = if let Some(toplevel) = in_store(&args.version) {
        let what = closure::describe(&toplevel, &args.label);
        let mut content = closure::Export::start(&toplevel)?;
        bundle::write(&*fs, &args.output, what, &mut content, &keys, &monitor)?
    } else {
        let source: Source = args.version.parse().with_context(|| {
            format!(
                "`{}` is neither in a Nix store nor REPOSITORY:REF",
                args.version
            )
        })?;
        let repo = Repo::open(fs.clone(), &source.repo)?;
        let commit = repo.resolve(&source.rev)?;
        let what = bundle::image::describe(&commit, &args.label);
        let mut name = std::ffi::OsString::from(".");
        name.push(args.output.file_name().unwrap_or_default());
        name.push(".objects");
        let scratch = args.output.with_file_name(name);
        let export = bundle::image::Export::start(&repo, &commit, fs.clone(), &scratch, &monitor);
        bundle::write(&*fs, &args.output, what, &mut export?, &keys, &monitor)?
    };
    out.line(&format!(
        "{} holds {}.",
        args.output.display(),
        written.version
    ))?;
    out.json(&written)?;
    Ok(Ended::Done)
}

/// The path in the store that is named, by itself or by a link to it.
fn in_store(name: &str) -> Option<String> {
    let path = std::fs::canonicalize(name).ok()?;
    let path = path.to_str()?;
    path.contains("/nix/store/").then(|| path.to_owned())
}

fn secret(fs: &dyn Fs, path: &Path) -> anyhow::Result<SecretKey> {
    let text = durable::read_to_string(fs, path)?;
    let key = text.trim().parse();
    key.with_context(|| format!("cannot sign with {}", path.display()))
}

fn show(args: &ShowArgs, global: &Global, out: &mut Output) -> anyhow::Result<Ended> {
    let fs = RealFs;
    let mut trusted = trusted(&fs, &global.sysroot)?;
    for path in &args.trust {
        trusted.add_file(&fs, path)?;
    }
    let (mut bundle, why) = match Bundle::open(&fs, &args.file, &trusted) {
        Err(bundle::Error::Untrusted { source, .. }) => {
            let why = source.to_string();
            (Bundle::open_unverified(&fs, &args.file)?, Some(why))
        }
        opened => (opened?, None),
    };
    bundle.verify()?;
    let what = bundle.description().clone();
    let kind = match what.kind {
        Kind::Nix => "a Nix closure",
        Kind::Image => "an image version",
    };
    out.line(&format!("{kind}, {}", what.version))?;
    if !what.label.is_empty() {
        out.line(&format!("called {}", what.label))?;
    }
    match (bundle.signer(), &why) {
        (Some(key), _) => out.line(&format!("signed by {}", key.to_base64()))?,
        (None, why) => out.warn(&format!(
            "nobody trusted here signed it: {}",
            why.as_deref().unwrap_or_default()
        )),
    }
    out.json(&serde_json::json!({
        "description": what,
        "signer": bundle.signer().map(|key| key.to_base64()),
        "signatures": bundle.signatures(),
    }))?;
    Ok(match why {
        None => Ended::Done,
        Some(_) => Ended::Unhealthy,
    })
}

fn make_keys(args: &KeyArgs, out: &mut Output) -> anyhow::Result<Ended> {
    let fs = RealFs;
    let key = SecretKey::generate().context("cannot make a key")?;
    let (secret, public) = (
        args.name.with_extension("secret"),
        args.name.with_extension("pub"),
    );
    for path in [&secret, &public] {
        if fs.metadata(path).is_ok() {
            bail!("{} is there already", path.display());
        }
    }
    let line = |text: String| format!("{text}\n").into_bytes();
    durable::publish_file(&fs, &secret, &line(key.to_base64()), 0o600)?;
    durable::publish_file(&fs, &public, &line(key.public().to_base64()), 0o644)?;
    out.line(&format!(
        "{} signs; {} belongs in /etc/backstop/trusted.ed25519 of the hosts.",
        secret.display(),
        public.display()
    ))?;
    Ok(Ended::Done)
}

/// The keys that the system below this root trusts.
fn trusted(fs: &dyn Fs, root: &Path) -> anyhow::Result<KeySet> {
    let mut keys = KeySet::default();
    for dir in KEYS {
        keys.add_dir(fs, &root.join(dir))?;
    }
    Ok(keys)
}

/// Opens a bundle that somebody trusted below `root` signed, if `name` is one.
pub fn open(fs: &dyn Fs, root: &Path, name: &str) -> anyhow::Result<Option<Bundle>> {
    let path = Path::new(name);
    if !bundle::reader::is_one(fs, path) {
        return Ok(None);
    }
    let trusted = trusted(fs, root)?;
    Ok(Some(Bundle::open(fs, path, &trusted)?))
}

/// Puts a bundle's version into the host's store or repository.
pub fn take_in(
    mut bundle: Bundle,
    session: &Session,
    name: &str,
    global: &Global,
) -> anyhow::Result<Wanted> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let monitor = Terminal::new(global.json);
    let what = bundle.description().clone();
    let mut provenance = BTreeMap::from([("bundle".to_owned(), name.to_owned())]);
    if let Some(signer) = bundle.signer() {
        provenance.insert("signer".to_owned(), signer.to_base64());
    }
    let (version, source) = match (&session.host, what.kind) {
        (AnyHost::Nix(host), Kind::Nix) => {
            let roots = host.layout().state().join("gcroots");
            closure::protect(&*fs, &roots, &what.version)?;
            closure::unpack(&mut bundle, &monitor)?;
            let path = StorePath::parse(host.layout(), &what.version)?;
            (path.version(), nix::host::THIS_HOST.to_owned())
        }
        (AnyHost::Image(host), Kind::Image) => {
            let repo = host.sysroot().repo();
            let scratch = host.sysroot().layout().memory().join("bundle");
            let commit = bundle::image::unpack(&mut bundle, repo, &fs, &scratch, &monitor)?;
            let source = Source {
                repo: repo.path().to_owned(),
                rev: commit.to_string(),
            };
            (source.resolve(fs.clone())?, source.to_string())
        }
        (_, Kind::Nix) => bail!("{name} holds a Nix closure, and this is an image host"),
        (_, Kind::Image) => bail!("{name} holds an image version, and this is a Nix host"),
    };
    Ok(Wanted {
        version,
        source,
        provenance,
    })
}
