//! Errors in the words that scripts look for.

use std::io::ErrorKind;

use fetch::{BadMetalink, NotTheFile};
use ostree::delta::DeltaError;
use ostree::gvariant::Malformed;
use ostree::sign::SignError;
use ostree::{Error, ObjectKind, ObjectName};

/// The kernel's words for an error, without the number.
pub fn io_words(e: &std::io::Error) -> String {
    let text = e.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// The text of an error of the repository.
pub fn of_ostree(error: &Error) -> String {
    ostree_words(error).unwrap_or_else(|| error.to_string())
}

/// The text of an error, causes and all.
pub fn of(error: &anyhow::Error) -> String {
    if let Some(text) = error.downcast_ref::<fetch::Error>().and_then(fetch_words) {
        return text;
    }
    for cause in error.chain() {
        if let Some(text) = signed(cause) {
            return text;
        }
        if let Some(DeltaError::Name(name)) = cause.downcast_ref() {
            return format!("Invalid rev {name}");
        }
        if let Some(e) = cause.downcast_ref::<Error>()
            && let Some(text) = ostree_words(e)
        {
            return text;
        }
    }
    let parts: Vec<String> = error
        .chain()
        .map(|cause| match cause.downcast_ref::<std::io::Error>() {
            Some(e) => io_words(e),
            None => cause.to_string(),
        })
        .collect();
    parts.join(": ")
}

/// What is wrong with signatures, wherever that was noticed.
fn signed(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    let own = cause.downcast_ref::<SignError>();
    let boxed = || cause.downcast_ref::<Box<SignError>>().map(|e| &**e);
    let text = crate::signature::words(own.or_else(boxed)?)?;
    Some(text)
}

/// What went wrong with a remote.
fn fetch_words(error: &fetch::Error) -> Option<String> {
    use fetch::Error as E;
    Some(match error {
        E::NoSuchRef { name, .. } => {
            format!("Refspec '{name}' not found: the remote answers with 404, or lists none")
        }
        E::NotARef { name, found } => {
            format!("Fetching checksum for ref ((empty), {name}): Invalid rev {found}")
        }
        E::Denied { url, source } => format!("While fetching {url}: {source}"),
        E::Network { url, source, .. } => format!("While fetching {url}: {source}"),
        E::Metalink { source, .. } => metalink(source)?,
        E::NotOfMetalink { source, .. } => match source {
            NotTheFile::Size { wanted, found } => {
                format!("Expected size is {wanted} bytes but content is {found} bytes")
            }
            NotTheFile::Digest { wanted, found } => {
                format!("Expected checksum is {wanted} but actual is {found}")
            }
            _ => return None,
        },
        E::Wrong { source, .. } => of_ostree(source),
        E::NotAnArchive { .. } => "Can't pull from archives with mode \"bare\"".to_owned(),
        E::Address { url, .. } => format!("Invalid URI scheme in {url}"),
        E::NoDelta { commit, .. } => {
            format!("Static deltas required, but none found for {commit}: {error}")
        }
        E::DeltasUseless => format!("Can't use static deltas in an archive repo: {error}"),
        E::Repo(e) => return ostree_words(e),
        _ => return None,
    })
}

/// Why a metalink cannot be used.
fn metalink(why: &BadMetalink) -> Option<String> {
    Some(match why {
        BadMetalink::Digest(kind) => format!("Invalid hash digest for {kind}"),
        BadMetalink::NoDigest => {
            "No <verification> element with known <hash type='sha256'> or 'sha512'".to_owned()
        }
        BadMetalink::NoUrl => "No <url method='http'> elements found".to_owned(),
        BadMetalink::NoFile(name) => format!("No <file name='{name}'> found"),
        BadMetalink::Xml(e) => match e.why.strip_prefix("it ") {
            Some(why) => format!("Error on line {}: Document {why}", e.line),
            None => format!("Error on line {}: {}", e.line, e.why),
        },
        _ => return None,
    })
}

fn missing(object: &ObjectName) -> String {
    match object.kind {
        ObjectKind::File => format!("Couldn't find file object '{}'", object.checksum),
        _ => format!("No such metadata object {object}"),
    }
}

fn ostree_words(error: &Error) -> Option<String> {
    Some(match error {
        Error::Sign(e) => return crate::signature::words(e),
        Error::UntrustedCommit { source, .. } | Error::UntrustedSummary { source, .. } => {
            format!("{error}: {}", crate::signature::words(source)?)
        }
        Error::Refused { source, .. } => {
            let e = source.downcast_ref::<SignError>()?;
            format!("{error}: {}", crate::signature::words(e)?)
        }
        Error::Delta(DeltaError::Untrusted(e)) => {
            format!("{error}: {}", crate::signature::words(e)?)
        }
        Error::Delta(DeltaError::Unsigned) => format!("no signatures in static-delta: {error}"),
        Error::Delta(DeltaError::Name(name)) => format!("Invalid rev {name}"),
        Error::Missing(object) => missing(object),
        Error::NoSuchRev(rev) => format!("Refspec '{rev}' not found"),
        Error::NoParent(commit) => format!("Commit {commit} has no parent"),
        Error::RefName(name) => format!("Invalid ref name {name}"),
        Error::Ambiguous { rev, .. } => format!("Refspec '{rev}' not unique"),
        Error::WrongDigest { object, found } => format!(
            "Corrupted {} object; checksum expected='{}' actual='{found}'",
            object.kind, object.checksum
        ),
        Error::NoSuchPath { path } => format!("No such file or directory: {}", path.display()),
        Error::Exists { path } => format!("{}: File exists", path.display()),
        Error::NotARepo { path } => {
            format!(
                "opening repo: opendir({}): No such file or directory",
                path.join("objects").display()
            )
        }
        Error::BadRemote { name, key, .. } if key == "url" => {
            format!("No \"url\" option in remote \"{name}\"")
        }
        Error::NotServed(object) => {
            format!("Fetching object {object}: Server returned HTTP 404 ({error})")
        }
        Error::BackInTime {
            commit,
            time,
            current,
            current_time,
        } => format!(
            "Upgrade target revision '{commit}' with timestamp '{}' is chronologically older than \
             current revision '{current}' with timestamp '{}'; use --allow-downgrade to permit",
            crate::date::shown(*time),
            crate::date::shown(*current_time)
        ),
        Error::NoSpace { needed, .. } => {
            format!(
                "min-free-space limit would be exceeded, at least {needed} bytes requested: {error}"
            )
        }
        Error::Disk(e) if e.source.kind() == ErrorKind::NotFound => {
            format!("{e}: No such file or directory")
        }
        Error::Damaged {
            object,
            source: Malformed::TooLarge,
        } => {
            format!("{object}: exceeded maximum size of its kind")
        }
        Error::HarmfulMode { object, mode, bits } => format!(
            "Content object {}: invalid mode 0{mode:04o} with bits 0{bits:04o}",
            object.checksum
        ),
        Error::UnsafeMode { object, mode } => format!(
            "Content object {}: invalid mode 0{mode:04o} with bits 0{:04o}",
            object.checksum,
            mode & 0o7777 & !0o775
        ),
        Error::BadName { object, name } => match name.contains('/') {
            true => format!("{object}: Invalid / in filename {name}"),
            false => format!("{object}: Invalid filename {name}"),
        },
        Error::Unmatched { path, list } => {
            format!("Unmatched {list} paths: {}", path.display())
        }
        Error::Uncommittable { path, why } if why.contains("UTF-8") => {
            format!("Invalid UTF-8 in filename: {}", path.display())
        }
        Error::OtherBinding {
            commit,
            name,
            bound,
        } => format!("Commit {commit}: {}", unbound(name, bound)),
        Error::OtherCollection {
            commit,
            wanted,
            bound,
        } => match bound {
            Some(bound) => format!(
                "Commit {commit}: Commit has collection ID ‘{bound}’ in collection binding \
                 metadata, while the remote it came from has collection ID ‘{wanted}’"
            ),
            None => format!(
                "Commit {commit}: Expected commit metadata to have collection ID binding \
                 information, found none"
            ),
        },
        Error::CollectionId(id) => format!("Invalid collection ID {id}"),
        _ => return None,
    })
}

/// That a commit names other refs than the one that led to it.
fn unbound(name: &str, bound: &str) -> String {
    if bound.is_empty() {
        return "Expected commit metadata to have ref binding information, found none".to_owned();
    }
    let bound = bound.replace(", ", "’, ‘");
    format!("Commit has no requested ref ‘{name}’ in ref binding metadata (‘{bound}’)")
}
