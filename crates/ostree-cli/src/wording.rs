//! Errors in the words that scripts look for.

use std::io::ErrorKind;

use ostree::gvariant::Malformed;
use ostree::{Error, ObjectKind, ObjectName};

/// The kernel's words for an error, without the number.
fn io_words(e: &std::io::Error) -> String {
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

/// What went wrong with a remote.
fn fetch_words(error: &fetch::Error) -> Option<String> {
    use fetch::Error as E;
    Some(match error {
        E::NoSuchRef { name, .. } => format!("Refspec '{name}' not found"),
        E::Denied { url, source } => format!("While fetching {url}: {source}"),
        E::Network { url, source, .. } => format!("While fetching {url}: {source}"),
        E::Wrong { source, .. } => of_ostree(source),
        E::NotAnArchive { .. } => "Can't pull from archives with mode \"bare\"".to_owned(),
        E::Address { url, .. } => format!("Invalid URI scheme in {url}"),
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
        Error::Unbound { commit, name } => {
            format!("Commit {commit}: Ref '{name}' not found in bound refs for commit")
        }
        _ => return None,
    })
}
