//! Which kernel a tree boots.

use crate::store::Staging;
use crate::{Checksum, Error, Result};

/// Where kernels are.
const MODULES: &str = "/usr/lib/modules";

/// The version of the kernel in a tree: the name of the one directory in
/// `usr/lib/modules` that has a `vmlinuz` in it.
pub(crate) fn kernel_version(staging: &Staging<'_>, root: &Checksum) -> Result<String> {
    let missing = |path: &str| Error::NoSuchPath { path: path.into() };
    let mut tree = staging.dirtree(root)?;
    for name in ["usr", "lib", "modules"] {
        let dir = tree.dir(name).ok_or_else(|| missing(MODULES))?;
        tree = staging.dirtree(&dir.tree)?;
    }
    let mut found = None;
    for dir in &tree.dirs {
        if staging.dirtree(&dir.tree)?.file("vmlinuz").is_none() {
            continue;
        }
        if found.replace(dir.name.clone()).is_some() {
            let path = MODULES.into();
            let why = "there are several kernels in it";
            return Err(Error::Uncommittable { path, why });
        }
    }
    found.ok_or_else(|| missing("/usr/lib/modules/*/vmlinuz"))
}
