//! HTTPS against a real server, made by `openssl` where there is one.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use health::{Baseline, BuiltIns, Checks, Runner, Stage, Status};
use monitor::Silent;

/// A server that is stopped with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(dir: &Path, line: &str) {
    let words = line.split(' ');
    let ran = Command::new("openssl")
        .args(words)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(ran.status.success(), "openssl {line}: {ran:?}");
}

/// A certificate authority, and a certificate for `localhost` signed by it.
fn certificates(dir: &Path) {
    let new = "req -newkey rsa:2048 -nodes -days 2";
    openssl(
        dir,
        &format!("{new} -x509 -keyout ca.key -out ca.pem -subj /CN=authority"),
    );
    openssl(
        dir,
        &format!("{new} -keyout key.pem -out request.pem -subj /CN=localhost"),
    );
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost").unwrap();
    let sign = "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2";
    openssl(dir, &format!("{sign} -extfile names -out cert.pem"));
}

fn serve(dir: &Path) -> (Server, u16) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let server = Command::new("openssl")
        .args([
            "s_server", "-www", "-quiet", "-key", "key.pem", "-cert", "cert.pem",
        ])
        .args(["-accept", &port.to_string()])
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (Server(server), port)
}

fn ask(root: &Path, text: &str) -> Status {
    let checks = root.join("etc/backstop/checks.d");
    std::fs::create_dir_all(&checks).unwrap();
    std::fs::write(checks.join("web.toml"), text).unwrap();
    let checks = Checks::load(root, BuiltIns::Without);
    let report = Runner::new(root).run(&checks, Stage::Live, &Baseline::default(), &Silent);
    report.results[0].status.clone()
}

#[test]
fn a_certificate_is_verified_by_the_systems_own_authorities() {
    if !testing::have(&["openssl"], &[]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let (_server, port) = serve(dir.path());
    let url = format!("https://localhost:{port}/");
    let patient = "retries = 50\ninterval = '100ms'\ntimeout = '5s'";
    let trusting = tempfile::tempdir().unwrap();
    let store = trusting.path().join("etc/ssl/certs");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::copy(dir.path().join("ca.pem"), store.join("ca-certificates.crt")).unwrap();
    let status = ask(trusting.path(), &format!("http = '{url}'\n{patient}"));
    assert_eq!(status, Status::Passed);
    let doubting = tempfile::tempdir().unwrap();
    let status = ask(doubting.path(), &format!("http = '{url}'"));
    assert!(status.to_string().contains("certificate"), "{status}");
    let careless = format!("http = {{ url = '{url}', insecure = true }}");
    assert_eq!(ask(doubting.path(), &careless), Status::Passed);
}
