//! Asking by HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::check::HttpProbe;
use crate::process::Ran;
use crate::report::Status;

/// No more of a body is read.
const LONGEST: u64 = 1024 * 1024;
/// The system's own list of certificate authorities, in the places where
/// distributions put it.
const AUTHORITIES: [&str; 3] = [
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/ca-bundle.pem",
];

/// Asks, and judges the answer. No proxy is used: the host itself is asked.
pub(crate) fn ask(probe: &HttpProbe, root: &Path, timeout: Duration) -> Ran {
    let ran = Ran::new;
    let failed = |why: String| Status::Failed { why };
    let mut answer = match agent(probe, root, timeout).get(&probe.url).call() {
        Ok(answer) => answer,
        Err(e) => return ran(failed(e.to_string()), String::new()),
    };
    let status = answer.status();
    let body = answer
        .body_mut()
        .with_config()
        .limit(LONGEST)
        .lossy_utf8(true);
    let body = match body.read_to_string() {
        Ok(body) => body,
        Err(e) => return ran(failed(format!("the answer broke off: {e}")), String::new()),
    };
    let right = match probe.status {
        Some(wanted) => status.as_u16() == wanted,
        None => status.is_success(),
    };
    if !right {
        return ran(failed(format!("answered {status}")), beginning(&body));
    }
    match &probe.contains {
        Some(wanted) if !body.contains(wanted.as_str()) => {
            let why = format!("the answer does not contain `{wanted}`");
            ran(failed(why), beginning(&body))
        }
        _ => ran(Status::Passed, String::new()),
    }
}

fn agent(probe: &HttpProbe, root: &Path, timeout: Duration) -> Agent {
    let mut config = Agent::config_builder()
        .timeout_global(Some(timeout))
        .http_status_as_error(false)
        .proxy(None)
        .user_agent("backstop");
    // Who asks for a certain status wants to see it, be it a redirect.
    let redirects = if probe.status.is_some() { 0 } else { 5 };
    config = config
        .max_redirects(redirects)
        .max_redirects_will_error(redirects > 0);
    if probe.url.starts_with("https:") {
        config = config.tls_config(tls(probe, root));
    }
    config.build().into()
}

fn tls(probe: &HttpProbe, root: &Path) -> TlsConfig {
    let config = TlsConfig::builder().disable_verification(probe.insecure);
    let read = |path| std::fs::read(root.join(path)).ok();
    let Some(pem) = AUTHORITIES.into_iter().find_map(read) else {
        return config.build();
    };
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let roots = RootCerts::Specific(Arc::new(certificates.collect()));
    config.root_certs(roots).build()
}

/// The beginning of a body, for the report.
fn beginning(body: &str) -> String {
    let mut text: String = body.chars().take(400).collect();
    text.retain(|c| c == '\n' || c == '\t' || !c.is_control());
    text
}
