//! A remote that is a directory of this machine: `file://`.

use std::io;
use std::path::Path;
use std::sync::Arc;

use durable::RealFs;
use ostree::Repo;
use ostree::session::{Next, PullSession, Scratch};

use crate::Result;

/// Reads a small file of it.
pub(crate) fn read(root: &Path, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    match durable::read_bounded(&RealFs, &root.join(path), limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ostree::Error::from(e).into()),
    }
}

/// The repository that is there.
pub(crate) fn open(root: &Path) -> Result<Repo> {
    Ok(Repo::open(Arc::new(RealFs), root)?)
}

/// Brings all that a session wants: it looks into the repository by itself, so only
/// what is no object is left to be read here.
pub(crate) fn download(session: &PullSession<'_>, root: &Path) -> Result<()> {
    let mut scratch = Scratch::new();
    loop {
        let request = match session.next(&mut scratch)? {
            Next::Fetch(request) => request,
            Next::Again => continue,
            Next::Wait | Next::Done => return Ok(()),
        };
        let limit = request.limit().unwrap_or(0);
        let bytes = match request.object_name() {
            // An object that is not there already is nowhere.
            Some(_) => None,
            None => read(root, &request.path(), limit)?,
        };
        match bytes {
            Some(bytes) => {
                let mut receiver = session.receive(request);
                receiver.write(&bytes)?;
                receiver.finish(&mut scratch)?;
            }
            None => session.absent(&request)?,
        }
    }
}
