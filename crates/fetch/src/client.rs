//! One HTTP client, set up as a remote's settings say.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ostree::Remote;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Identity, Proxy, redirect};

use crate::{Error, NetOptions, Result};

/// The longest certificate or key file that is read.
const MAX_CREDENTIAL: u64 = 4 << 20;
/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How many times an answer may send us elsewhere.
const MAX_REDIRECTS: usize = 10;
/// How much may be on its way in one stream, and in all of a connection (HTTP/2).
const WINDOWS: (u32, u32) = (1 << 20, 8 << 20);

/// What each thread needs to make a client of its own: a client's connections live
/// where it is used.
#[derive(Debug, Clone)]
pub(crate) struct ClientSettings {
    remote: String,
    agent: String,
    headers: HeaderMap,
    proxy: Option<String>,
    permissive: bool,
    http1_only: bool,
    roots: Vec<Certificate>,
    identity: Option<Identity>,
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

impl ClientSettings {
    /// Reads a remote's settings; certificates only when connections are encrypted.
    pub(crate) fn new(remote: &Remote, net: &NetOptions, encrypted: bool) -> Result<Self> {
        let mut agent = net.agent.clone();
        if let Some(more) = &net.user_agent {
            agent = format!("{agent} {more}");
        }
        Ok(Self {
            remote: remote.name().to_owned(),
            agent,
            headers: headers(remote, net)?,
            proxy: remote.get("proxy").map(str::to_owned),
            permissive: remote.flag("tls-permissive")?.unwrap_or(false),
            http1_only: remote.flag("http2")? == Some(false),
            roots: match encrypted {
                true => roots(remote)?,
                false => Vec::new(),
            },
            identity: match encrypted {
                true => identity(remote)?,
                false => None,
            },
        })
    }

    /// A client of one thread.
    pub(crate) fn build(&self) -> Result<Client> {
        // Whoever was first has chosen the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let failed = |source: reqwest::Error| Error::Setup {
            remote: self.remote.clone(),
            source: source.into(),
        };
        let mut builder = Client::builder()
            .user_agent(&self.agent)
            .default_headers(self.headers.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(redirect::Policy::custom(redirection))
            .http2_initial_stream_window_size(WINDOWS.0)
            .http2_initial_connection_window_size(WINDOWS.1)
            .http2_max_header_list_size(64 << 10)
            .http1_max_headers(200)
            .tls_certs_only(self.roots.clone())
            .tls_danger_accept_invalid_certs(self.permissive);
        if self.http1_only {
            builder = builder.http1_only();
        }
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(Proxy::all(proxy).map_err(failed)?);
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        builder.build().map_err(failed)
    }
}

/// Goes where it is sent, but not from an encrypted connection to a plain one.
fn redirection(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let was = attempt.previous().last().map(|url| url.scheme());
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("it sends us around in circles");
    }
    if was == Some("https") && attempt.url().scheme() != "https" {
        return attempt.error("it sends us to a connection that is not encrypted");
    }
    attempt.follow()
}

fn headers(remote: &Remote, net: &NetOptions) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &net.headers {
        let bad = |source: Cause| Error::Setup {
            remote: remote.name().to_owned(),
            source,
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.into()))?;
        let value = HeaderValue::from_str(value).map_err(|e| bad(e.into()))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// Reads a file that a setting names.
fn credential(remote: &Remote, path: &Path) -> Result<Vec<u8>> {
    durable::read_bounded(&durable::RealFs, path, MAX_CREDENTIAL)
        .map_err(|e| unusable(remote, path, e.source.into()))
}

fn unusable(remote: &Remote, path: &Path, source: Cause) -> Error {
    Error::Credential {
        remote: remote.name().to_owned(),
        path: path.to_owned(),
        source,
    }
}

/// Who may vouch for the server: `tls-ca-path`, else the system's authorities.
fn roots(remote: &Remote) -> Result<Vec<Certificate>> {
    if let Some(path) = remote.get("tls-ca-path").map(PathBuf::from) {
        let pem = credential(remote, &path)?;
        let found = Certificate::from_pem_bundle(&pem);
        let found = found.map_err(|e| unusable(remote, &path, e.into()))?;
        return match found.is_empty() {
            true => Err(unusable(remote, &path, "it holds no certificate".into())),
            false => Ok(found),
        };
    }
    let system = rustls_native_certs::load_native_certs();
    // One certificate that is broken must not take the others with it.
    let read = |der: &rustls::pki_types::CertificateDer<'_>| Certificate::from_der(der).ok();
    Ok(system.certs.iter().filter_map(read).collect())
}

/// Who we are: `tls-client-cert-path` and `tls-client-key-path`.
fn identity(remote: &Remote) -> Result<Option<Identity>> {
    let path = |key| remote.get(key).map(PathBuf::from);
    match (path("tls-client-cert-path"), path("tls-client-key-path")) {
        (Some(cert), Some(key)) => {
            let mut pem = credential(remote, &key)?;
            pem.push(b'\n');
            pem.extend(credential(remote, &cert)?);
            let found = Identity::from_pem(&pem);
            found
                .map(Some)
                .map_err(|e| unusable(remote, &cert, e.into()))
        }
        (Some(cert), None) => {
            let why = "tls-client-key-path is not set";
            Err(unusable(remote, &cert, why.into()))
        }
        (None, _) => Ok(None),
    }
}
