//! Encrypted connections: who vouches for the server, who we are, HTTP/2.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ostree::{Remote, RepoMode};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::life::Ours;
use crate::sandbox::{Sandbox, assert_has, assert_untouched, options, pull, remote, text};

/// Certificates made for this test.
struct Keys {
    dir: PathBuf,
}

impl Keys {
    /// An authority, and a server's and a client's certificate of it; and another
    /// authority that is nobody's.
    fn make(sandbox: &Sandbox) -> Option<Self> {
        if !testing::have(&["openssl"], &[]) {
            return None;
        }
        let dir = sandbox.path("keys");
        std::fs::create_dir(&dir).unwrap();
        let keys = Self { dir };
        for ca in ["ca", "other"] {
            let (key, cert) = (format!("{ca}.key"), format!("{ca}.pem"));
            keys.openssl(&[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &cert,
                "-days",
                "2",
                "-subj",
                &format!("/CN={ca}"),
            ]);
        }
        for name in ["server", "client"] {
            let key = format!("{name}.key");
            let (request, cert) = (format!("{name}.csr"), format!("{name}.pem"));
            keys.openssl(&[
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &key,
                "-out",
                &request,
                "-subj",
                "/CN=x",
            ]);
            let names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
            std::fs::write(keys.dir.join("ext"), names).unwrap();
            keys.openssl(&[
                "x509", "-req", "-in", &request, "-CA", "ca.pem", "-CAkey", "ca.key", "-out",
                &cert, "-days", "2", "-extfile", "ext",
            ]);
        }
        Some(keys)
    }

    fn openssl(&self, args: &[&str]) {
        let out = Command::new("openssl")
            .args(args)
            .current_dir(&self.dir)
            .output();
        let out = out.unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn cert(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(name)).unwrap()
    }

    /// How the server encrypts; with `clients`, only for those who show who they are.
    fn server(&self, protocol: &[u8], clients: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match clients {
            false => builder.with_no_client_auth(),
            true => {
                let mut roots = RootCertStore::empty();
                roots.add(self.cert("ca.pem")).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let mut config = builder
            .with_single_cert(vec![self.cert("server.pem")], key)
            .unwrap();
        config.alpn_protocols = vec![protocol.to_vec()];
        config
    }
}

/// Takes the encryption off, and passes the rest on to a plain server.
struct Front {
    url: String,
    connections: Arc<AtomicUsize>,
    _runtime: tokio::runtime::Runtime,
}

impl Front {
    fn start(config: ServerConfig, plain: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let plain = plain.trim_start_matches("http://").to_owned();
        let connections = Arc::new(AtomicUsize::new(0));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let counted = Arc::clone(&connections);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, plain) = (acceptor.clone(), plain.clone());
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    counted.fetch_add(1, Ordering::SeqCst);
                    let mut to = tokio::net::TcpStream::connect(&plain).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
                });
            }
        });
        Self {
            url,
            connections,
            _runtime: runtime,
        }
    }
}

fn with(url: &str, settings: &[(&str, &str)]) -> Remote {
    let mut remote = remote(url);
    for (key, value) in settings {
        remote.set(key, Some(value));
    }
    remote
}

#[test]
fn who_vouches_for_the_server() {
    let sandbox = Sandbox::new();
    let Some(keys) = Keys::make(&sandbox) else {
        return;
    };
    let origin = sandbox.origin("origin");
    let plain = Ours::start(&origin.path);
    let front = Front::start(keys.server(b"http/1.1", false), &plain.url);
    let (ca, other) = (keys.path("ca.pem"), keys.path("other.pem"));
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let refused: [&[(&str, &str)]; 2] = [&[], &[("tls-ca-path", &other)]];
    for settings in refused {
        let error = pull(&repo, &with(&front.url, settings), &options(&["main"])).unwrap_err();
        assert!(text(&error).contains("certificate"), "{}", text(&error));
        assert_untouched(&repo);
    }
    for missing in ["missing.pem", "server.key"] {
        let settings = [("tls-ca-path", keys.path(missing))];
        let settings = settings.each_ref().map(|(k, v)| (*k, v.as_str()));
        let error = pull(&repo, &with(&front.url, &settings), &options(&["main"])).unwrap_err();
        assert!(error.to_string().contains("cannot use"), "{error}");
    }
    let good: [&[(&str, &str)]; 2] = [&[("tls-ca-path", &ca)], &[("tls-permissive", "true")]];
    for (n, settings) in good.iter().enumerate() {
        let repo = sandbox.repo(&format!("to-{n}"), RepoMode::BareUser);
        pull(&repo, &with(&front.url, settings), &options(&["main"])).unwrap();
        assert_has(&repo, "origin:main", origin.second);
    }
}

#[test]
fn http_2_shares_a_connection() {
    let sandbox = Sandbox::new();
    let Some(keys) = Keys::make(&sandbox) else {
        return;
    };
    let origin = sandbox.origin("origin");
    let plain = Ours::start(&origin.path);
    let front = Front::start(keys.server(b"h2", false), &plain.url);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let remote = with(&front.url, &[("tls-ca-path", &keys.path("ca.pem"))]);
    pull(&repo, &remote, &options(&["main"])).unwrap();
    assert_has(&repo, "origin:main", origin.second);
    // One for refs, and one of each thread.
    let connections = front.connections.load(Ordering::SeqCst);
    assert!((2..=5).contains(&connections), "{connections}");
}

#[test]
fn who_we_are() {
    let sandbox = Sandbox::new();
    let Some(keys) = Keys::make(&sandbox) else {
        return;
    };
    let origin = sandbox.origin("origin");
    let plain = Ours::start(&origin.path);
    let front = Front::start(keys.server(b"http/1.1", true), &plain.url);
    let repo = sandbox.repo("to", RepoMode::BareUser);
    let (ca, cert, key) = (
        keys.path("ca.pem"),
        keys.path("client.pem"),
        keys.path("client.key"),
    );
    let anonymous = [("tls-ca-path", ca.as_str())];
    let mut impatient = options(&["main"]);
    impatient.net.retries = 1;
    let error = pull(&repo, &with(&front.url, &anonymous), &impatient).unwrap_err();
    assert!(error.is_network(), "{}", text(&error));
    assert_untouched(&repo);
    let mut known = vec![anonymous[0], ("tls-client-cert-path", cert.as_str())];
    let error = pull(&repo, &with(&front.url, &known), &impatient).unwrap_err();
    assert!(
        text(&error).contains("tls-client-key-path is not set"),
        "{error}"
    );
    known.push(("tls-client-key-path", key.as_str()));
    pull(&repo, &with(&front.url, &known), &impatient).unwrap();
    assert_has(&repo, "origin:main", origin.second);
}
