//! A remote within reach: its small files.

use std::path::{Path, PathBuf};

use ostree::{Checksum, Remote, Repo, check_ref_name};
use reqwest::{Client, Url};
use tokio::runtime::Runtime;

use crate::address::{Address, Base, MAX_MIRROR_LIST, mirrors};
use crate::attempt::Outcome;
use crate::client::ClientSettings;
use crate::metalink::{MAX_METALINK, Metalink};
use crate::near;
use crate::transfer::{Memory, Mirrors, transfer};
use crate::{BadMetalink, Error, NetOptions, NotTheFile, Result};

/// The longest `config` or ref that is read.
const MAX_SMALL: u64 = 1 << 20;

/// Where the files of a remote come from.
#[derive(Debug)]
pub(crate) enum Place {
    /// A directory of this machine.
    Near(PathBuf),
    /// Servers: for what changes (refs, summary), and for objects.
    Far { metadata: Mirrors, content: Mirrors },
}

/// A remote within reach.
#[derive(Debug)]
pub struct Connection {
    remote: Remote,
    pub(crate) net: NetOptions,
    pub(crate) settings: ClientSettings,
    pub(crate) place: Place,
    /// The summary, where a metalink has vouched for it.
    pub(crate) vouched: Option<Vec<u8>>,
    runtime: Runtime,
    client: Client,
}

/// A runtime of one thread, for the network.
pub(crate) fn runtime(remote: &str) -> Result<Runtime> {
    let built = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    built.map_err(|e| Error::Setup {
        remote: remote.to_owned(),
        source: e.into(),
    })
}

/// The beginning of a text, in one line, as long as a checksum is.
fn beginning(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).take(64).collect()
}

impl Connection {
    /// Gets ready to talk to a repository's remote, with the cookies that are kept for
    /// it; a list of mirrors is fetched now.
    ///
    /// # Errors
    /// Settings that cannot be used; the list of mirrors cannot be had.
    pub fn open(repo: &Repo, remote: &Remote, net: &NetOptions) -> Result<Self> {
        if let Some(state) = remote.unconfigured_state() {
            return Err(Error::Unconfigured {
                remote: remote.name().to_owned(),
                state: state.to_owned(),
            });
        }
        if let Some(backend) = remote.get("custom-backend") {
            return Err(Error::OtherBackend {
                remote: remote.name().to_owned(),
                backend: backend.to_owned(),
            });
        }
        let mut net = net.clone();
        net.cookies.extend(repo.cookies(remote.name())?);
        let url = match &net.url {
            Some(url) => url.into(),
            None => remote.address()?,
        };
        let metadata = Address::parse(&url)?;
        let content = remote.get("contenturl").filter(|_| net.url.is_none());
        let content = content.map(Address::parse).transpose()?;
        // A list of mirrors may name encrypted ones.
        let is_list = |a: &Address| matches!(a, Address::MirrorList(_) | Address::Metalink(_));
        let needs_tls = |a: &Address| a.is_encrypted() || is_list(a);
        let encrypted = needs_tls(&metadata) || content.as_ref().is_some_and(needs_tls);
        let settings = ClientSettings::new(remote, &net, encrypted)?;
        let mut connection = Self {
            remote: remote.clone(),
            net,
            client: settings.build()?,
            settings,
            place: Place::Near(PathBuf::new()),
            vouched: None,
            runtime: runtime(remote.name())?,
        };
        connection.place = match (metadata, content) {
            (Address::File(path), _) => Place::Near(path),
            (metadata, content) => connection.far(metadata, content)?,
        };
        Ok(connection)
    }

    /// Servers, once lists of them have been fetched.
    fn far(&mut self, metadata: Address, content: Option<Address>) -> Result<Place> {
        let metadata = match metadata {
            Address::Metalink(url) => {
                let (bases, summary) = self.metalink(&url)?;
                self.vouched = Some(summary);
                bases
            }
            other => self.bases(other)?,
        };
        let content = match content {
            Some(address) => self.bases(address)?,
            None => metadata.clone(),
        };
        Ok(Place::Far {
            metadata: Mirrors::new(metadata),
            content: Mirrors::new(content),
        })
    }

    /// Fetches a metalink, and the summary that it vouches for: where the repository
    /// is, and the summary.
    fn metalink(&self, url: &Url) -> Result<(Vec<Base>, Vec<u8>)> {
        let bad = |source| Error::Metalink {
            url: url.to_string(),
            source,
        };
        let bytes = self.whole(url, MAX_METALINK)?;
        let metalink = Metalink::parse(&bytes, "summary").map_err(bad)?;
        let mut last = bad(BadMetalink::NoUrl);
        for (at, from) in metalink.urls.iter().enumerate() {
            match self.vouched_for(&metalink, from) {
                Ok(summary) => return Ok((metalink.bases(at), summary)),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn vouched_for(&self, metalink: &Metalink, from: &Url) -> Result<Vec<u8>> {
        let bytes = self.whole(from, metalink.size)?;
        metalink
            .check(&bytes)
            .map_err(|source| Error::NotOfMetalink {
                url: from.to_string(),
                source,
            })?;
        Ok(bytes)
    }

    /// A file that is at an address, and must be there.
    fn whole(&self, url: &Url, limit: u64) -> Result<Vec<u8>> {
        let here = Mirrors::new(vec![Base::exactly(url.clone())]);
        let bytes = self.fetch(&here, "", limit)?;
        bytes.ok_or_else(|| Error::NotOfMetalink {
            url: url.to_string(),
            source: NotTheFile::Absent,
        })
    }

    fn bases(&self, address: Address) -> Result<Vec<Base>> {
        match address {
            Address::Http(base) => Ok(vec![base]),
            Address::File(path) => Err(Error::Address {
                url: path.display().to_string(),
                why: "objects cannot be near when refs are far",
            }),
            Address::Metalink(url) => Err(Error::Address {
                url: url.into(),
                why: "a metalink leads to a summary, not to objects",
            }),
            Address::MirrorList(url) => {
                let here = Mirrors::new(vec![Base::exactly(url.clone())]);
                let list = self.fetch(&here, "", MAX_MIRROR_LIST)?;
                let list = list.unwrap_or_default();
                mirrors(&String::from_utf8_lossy(&list), &url)
            }
        }
    }

    /// The remote.
    #[must_use]
    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The directory, if the remote is one of this machine.
    #[must_use]
    pub fn near(&self) -> Option<&Path> {
        match &self.place {
            Place::Near(path) => Some(path),
            Place::Far { .. } => None,
        }
    }

    fn fetch(&self, from: &Mirrors, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let mut sink = Memory::new(limit);
        let transfer = transfer(&self.client, from, path, &mut sink, &self.net);
        match self.runtime.block_on(transfer)? {
            (Outcome::Complete, _) => Ok(Some(sink.bytes)),
            (Outcome::Absent, _) => Ok(None),
        }
    }

    /// A file that may change, such as the summary, by its path in the repository;
    /// `None` when there is none.
    ///
    /// # Errors
    /// The network's, or that it is longer than `limit` bytes.
    pub fn get(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match &self.place {
            Place::Near(root) => near::read(root, path, limit),
            Place::Far { metadata, .. } => self.fetch(metadata, path, limit),
        }
    }

    /// A file that never changes, such as a part of a static delta.
    ///
    /// # Errors
    /// The network's, or that it is longer than `limit` bytes.
    pub fn get_content(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        match &self.place {
            Place::Near(root) => near::read(root, path, limit),
            Place::Far { content, .. } => self.fetch(content, path, limit),
        }
    }

    /// The commit that a ref of the remote names, from the ref's own file.
    ///
    /// # Errors
    /// The network's; a name that cannot be one; what is there is no checksum.
    pub fn ref_file(&self, name: &str) -> Result<Option<Checksum>> {
        check_ref_name(name)?;
        let Some(bytes) = self.get(&format!("refs/heads/{name}"), MAX_SMALL)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        match text.trim_end().parse() {
            Ok(checksum) => Ok(Some(checksum)),
            Err(_) => Err(Error::NotARef {
                name: name.to_owned(),
                found: beginning(&text),
            }),
        }
    }

    /// The word for the remote's mode in its `config`, if that can be seen.
    pub(crate) fn mode_word(&self) -> Result<Option<String>> {
        let Some(bytes) = self.get("config", MAX_SMALL)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let mode = text.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == "mode").then(|| value.trim().to_owned())
        });
        Ok(mode)
    }
}
