//! Cookies for a remote: `REMOTE.cookies.txt` in the repository, in the form that
//! browsers once kept theirs in. Each line has seven fields with tabs between.

use std::io;
use std::path::PathBuf;

use crate::{Error, Repo, Result};

/// The longest file of cookies that is read.
const LIMIT: u64 = 1 << 20;
/// For so many seconds a new cookie holds: 25 years.
const LIFE: u64 = 25 * 365 * 24 * 3600;

/// What a server wants to hear with each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// The host that hears it.
    pub domain: String,
    /// Whether hosts below that one hear it too.
    pub subdomains: bool,
    /// The path that it is for, with all below it.
    pub path: String,
    /// Whether only encrypted connections carry it.
    pub secure: bool,
    /// Until when it holds, in seconds since 1970; 0 for ever.
    pub expires: u64,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Cookie {
    /// A cookie for one host, to hold for many years from `now` on.
    ///
    /// # Errors
    /// [`Error::BadCookie`]: a field that is empty, or has a blank or control character
    /// in it.
    pub fn new(domain: &str, path: &str, name: &str, value: &str, now: u64) -> Result<Self> {
        let plain = |text: &str, extra: &str| {
            let bad = |c: char| c.is_control() || c.is_whitespace() || extra.contains(c);
            !text.is_empty() && !text.contains(bad)
        };
        let fine = plain(domain, "#;/") && plain(path, ";") && plain(name, "=;");
        if !fine || !path.starts_with('/') || !(value.is_empty() || plain(value, ";")) {
            return Err(Error::BadCookie(name.to_owned()));
        }
        Ok(Self {
            domain: domain.to_owned(),
            subdomains: false,
            path: path.to_owned(),
            secure: false,
            expires: now.saturating_add(LIFE),
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }

    /// Whether a request carries it.
    #[must_use]
    pub fn is_for(&self, host: &str, path: &str, encrypted: bool, now: u64) -> bool {
        let domain = self.domain.trim_start_matches('.');
        let below = host.strip_suffix(domain).is_some_and(|h| h.ends_with('.'));
        let own = self.path.trim_end_matches('/');
        let rest = path.strip_prefix(own);
        (host.eq_ignore_ascii_case(domain) || (self.subdomains && below))
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            && (encrypted || !self.secure)
            && (self.expires == 0 || self.expires > now)
    }

    fn parse(line: &str) -> Option<Self> {
        let line = line.strip_prefix("#HttpOnly_").unwrap_or(line);
        let fields: Vec<_> = line.split('\t').collect();
        let [domain, subdomains, path, secure, expires, name, value] = fields.as_slice() else {
            return None;
        };
        let mut cookie = Self::new(domain, path, name, value, 0).ok()?;
        cookie.subdomains = *subdomains == "TRUE";
        cookie.secure = *secure == "TRUE";
        cookie.expires = expires.parse().ok()?;
        Some(cookie)
    }

    fn line(&self) -> String {
        let word = |is| if is { "TRUE" } else { "FALSE" };
        let (subdomains, secure) = (word(self.subdomains), word(self.secure));
        format!(
            "{}\t{subdomains}\t{}\t{secure}\t{}\t{}\t{}\n",
            self.domain, self.path, self.expires, self.name, self.value
        )
    }

    fn is_same(&self, other: &Self) -> bool {
        (&self.domain, &self.path, &self.name) == (&other.domain, &other.path, &other.name)
    }
}

impl Repo {
    fn cookie_path(&self, remote: &str) -> Result<PathBuf> {
        if remote.contains('/') {
            return Err(Error::RemoteName(remote.to_owned()));
        }
        Ok(self.path().join(format!("{remote}.cookies.txt")))
    }

    /// The cookies for a remote. Lines that are none are passed over.
    ///
    /// # Errors
    /// The disk's.
    pub fn cookies(&self, remote: &str) -> Result<Vec<Cookie>> {
        let path = self.cookie_path(remote)?;
        let bytes = match durable::read_bounded(self.fs(), &path, LIMIT) {
            Err(e) if e.source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let text = String::from_utf8_lossy(&bytes);
        Ok(text.lines().filter_map(Cookie::parse).collect())
    }

    fn set_cookies(&self, remote: &str, all: &[Cookie]) -> Result<()> {
        let text: String = all.iter().map(Cookie::line).collect();
        let path = self.cookie_path(remote)?;
        Ok(durable::publish_file(
            self.fs(),
            &path,
            text.as_bytes(),
            0o600,
        )?)
    }

    /// Adds a cookie for a remote, in the place of one for the same host, path and
    /// name.
    ///
    /// # Errors
    /// The disk's.
    pub fn add_cookie(&self, remote: &str, cookie: Cookie) -> Result<()> {
        let mut all = self.cookies(remote)?;
        all.retain(|known| !known.is_same(&cookie));
        all.push(cookie);
        self.set_cookies(remote, &all)
    }

    /// Removes a cookie; answers whether it was there.
    ///
    /// # Errors
    /// The disk's.
    pub fn delete_cookie(&self, remote: &str, cookie: &Cookie) -> Result<bool> {
        let mut all = self.cookies(remote)?;
        let before = all.len();
        all.retain(|known| !known.is_same(cookie));
        self.set_cookies(remote, &all)?;
        Ok(all.len() < before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie(line: &str) -> Cookie {
        Cookie::parse(line).unwrap()
    }

    #[test]
    fn lines() {
        let line = "h\tFALSE\t/r\tTRUE\t0\tn\tv\n";
        assert_eq!(cookie(line.trim_end()).line(), line);
        for bad in [
            "",
            "# a comment",
            "h\tFALSE\t/\tFALSE\t0\tn",
            "h\tF\tr\tF\t0\tn\tv",
        ] {
            assert_eq!(Cookie::parse(bad), None, "{bad}");
        }
        for (domain, path, name, value) in [
            ("h", "/", "a b", "v"),
            ("h", "/", "n", "v\r\nx: y"),
            ("h", "r", "n", "v"),
            ("", "/", "n", "v"),
            ("h", "/", "n", "v;w"),
        ] {
            assert!(Cookie::new(domain, path, name, value, 0).is_err(), "{name}");
        }
    }

    #[test]
    fn who_hears_it() {
        let one = cookie("h.org\tFALSE\t/r\tFALSE\t100\tn\tv");
        let below = cookie(".h.org\tTRUE\t/\tTRUE\t0\tn\tv");
        let cases = [
            (&one, "h.org", "/r", false, 99, true),
            (&one, "h.org", "/r/x", false, 99, true),
            (&one, "h.org", "/rx", false, 99, false),
            (&one, "h.org", "/", false, 99, false),
            (&one, "h.org", "/r", false, 100, false),
            (&one, "a.h.org", "/r", false, 99, false),
            (&one, "xh.org", "/r", false, 99, false),
            (&below, "a.h.org", "/x", true, 1000, true),
            (&below, "xh.org", "/x", true, 1000, false),
            (&below, "h.org", "/", true, 1000, true),
            (&below, "h.org", "/", false, 1000, false),
        ];
        for (i, (cookie, host, path, encrypted, now, wanted)) in cases.into_iter().enumerate() {
            assert_eq!(
                cookie.is_for(host, path, encrypted, now),
                wanted,
                "case {i}"
            );
        }
    }
}
