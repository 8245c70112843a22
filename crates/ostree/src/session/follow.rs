//! From a metadata object to what it names.

use super::PullSession;
use super::request::{Request, Scope, What};
use crate::format::{Commit, DirMeta, DirTree};
use crate::store::decode_dirtree;
use crate::{Error, ObjectKind, ObjectName, Result};

impl PullSession<'_> {
    /// A metadata object with the right digest arrived, or was here.
    pub(super) fn take_metadata(
        &self,
        request: &Request,
        object: ObjectName,
        bytes: &[u8],
    ) -> Result<()> {
        let damaged = |source| Error::Damaged { object, source };
        match object.kind {
            ObjectKind::Commit => return self.take_commit(request, bytes),
            ObjectKind::DirTree => {
                let tree = decode_dirtree(object, bytes)?;
                self.staging.metadata(object.kind, bytes)?;
                self.follow_tree(&request.scope, &tree)?;
            }
            ObjectKind::DirMeta => {
                DirMeta::decode(bytes).map_err(damaged)?;
                self.staging.metadata(object.kind, bytes)?;
            }
            ObjectKind::File => {}
        }
        Ok(())
    }

    /// The tree of a commit, unless it is here, and the commits before it.
    pub(super) fn follow_commit(
        &self,
        request: &Request,
        commit: &Commit,
        complete: bool,
    ) -> Result<()> {
        if !complete && !self.options.commit_metadata_only {
            self.push(Request::object(commit.root_meta, ObjectKind::DirMeta))?;
            self.push(Request {
                scope: Scope::of(&self.options.subpaths),
                ..Request::object(commit.root_tree, ObjectKind::DirTree)
            })?;
        }
        let depth = match request.depth {
            None => None,
            Some(0) => return Ok(()),
            Some(n) => Some(n - 1),
        };
        match commit.parent {
            None => Ok(()),
            Some(parent) => self.push(Request {
                depth,
                optional: true,
                ..Request::object(parent, ObjectKind::Commit)
            }),
        }
    }

    fn follow_tree(&self, scope: &Scope, tree: &DirTree) -> Result<()> {
        for file in &tree.files {
            if scope.has_file(&file.name) {
                self.push(Request::object(file.checksum, ObjectKind::File))?;
            }
        }
        for dir in &tree.dirs {
            let Some(scope) = scope.enter(&dir.name) else {
                continue;
            };
            self.push(Request::object(dir.meta, ObjectKind::DirMeta))?;
            self.push(Request {
                scope,
                ..Request::object(dir.tree, ObjectKind::DirTree)
            })?;
        }
        Ok(())
    }
}

impl Scope {
    /// The scope of a root directory, of which these paths are wanted.
    pub(super) fn of(subpaths: &[String]) -> Self {
        let parts = |path: &String| {
            let parts = path.split('/').filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect::<Vec<_>>()
        };
        let paths: Vec<_> = subpaths.iter().map(parts).collect();
        match paths.is_empty() || paths.iter().any(Vec::is_empty) {
            true => Self::All,
            false => Self::Below(paths),
        }
    }

    /// Whether a file of this name is wanted.
    fn has_file(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Below(paths) => paths.iter().any(|path| path.as_slice() == [name]),
        }
    }

    /// The scope of the directory of this name, if anything of it is wanted.
    fn enter(&self, name: &str) -> Option<Self> {
        let Self::Below(paths) = self else {
            return Some(Self::All);
        };
        let mut below = Vec::new();
        for path in paths {
            match path.split_first() {
                Some((first, [])) if first == name => return Some(Self::All),
                Some((first, rest)) if first == name => below.push(rest.to_vec()),
                _ => {}
            }
        }
        (!below.is_empty()).then_some(Self::Below(below))
    }
}

impl Request {
    /// The object that it is for, if it is one.
    #[must_use]
    pub fn object_name(&self) -> Option<ObjectName> {
        match self.what {
            What::Object(object) => Some(object),
            What::Detached(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let all = Scope::of(&[]);
        assert_eq!(all, Scope::All);
        assert_eq!(Scope::of(&["/".into(), "/usr".into()]), Scope::All);
        let some = Scope::of(&["/usr/lib".into(), "/etc".into(), "/usr/file".into()]);
        assert_eq!(some.enter("etc"), Some(Scope::All));
        assert_eq!(some.enter("var"), None);
        let usr = some.enter("usr").unwrap();
        assert_eq!(usr.enter("lib"), Some(Scope::All));
        assert_eq!(usr.enter("bin"), None);
        assert!(usr.has_file("file") && !usr.has_file("other") && !some.has_file("usr"));
    }
}
