//! Where a deployment came from, and whether it must stay.

use boot::KernelArgs;

use crate::keyfile::Keyfile;

/// The `.origin` file beside a deployment's directory. Groups that mean nothing
/// here are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin(Keyfile);

impl Origin {
    /// An origin that follows a ref, `REF` or `REMOTE:REF`.
    #[must_use]
    pub fn following(refspec: &str) -> Self {
        let mut origin = Self::default();
        origin.0.set("origin", "refspec", Some(refspec));
        origin
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The disk's, or that it is no such file.
    pub fn read(path: &std::path::Path) -> crate::Result<Self> {
        let text = durable::read_to_string(&durable::RealFs, path)?;
        Self::parse(&text).map_err(|why| crate::Error::Invalid {
            path: path.to_owned(),
            why,
        })
    }

    /// Reads the file's text; the error says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Keyfile::parse(text).map(Self)
    }

    /// The ref that an upgrade follows.
    #[must_use]
    pub fn refspec(&self) -> Option<&str> {
        self.0.get("origin", "refspec")
    }

    /// Why there is nothing to upgrade from yet, where somebody said so.
    #[must_use]
    pub fn unconfigured_state(&self) -> Option<&str> {
        self.0.get("origin", "unconfigured-state")
    }

    /// Whether cleaning up must leave the deployment alone.
    #[must_use]
    pub fn is_pinned(&self) -> bool {
        self.0.get("libostree-transient", "pinned") == Some("true")
    }

    /// Pins or unpins.
    pub(crate) fn set_pinned(&mut self, pinned: bool) {
        let value = pinned.then_some("true");
        self.0.set("libostree-transient", "pinned", value);
    }

    /// A copy for another deployment: what holds for this one alone is left out.
    #[must_use]
    pub fn for_another(&self) -> Self {
        let mut origin = self.clone();
        origin.set_pinned(false);
        origin.0.set("backstop", "kargs", None);
        origin
    }

    /// The kernel arguments of a deployment that has no boot entry yet.
    pub(crate) fn kargs(&self) -> Option<&str> {
        self.0.get("backstop", "kargs")
    }

    /// Remembers them.
    pub(crate) fn set_kargs(&mut self, kargs: &KernelArgs) {
        self.0.set("backstop", "kargs", Some(&kargs.to_string()));
    }

    /// The same, following another ref.
    #[must_use]
    pub fn with_refspec(&self, refspec: &str) -> Self {
        let mut origin = self.clone();
        origin.0.set("origin", "refspec", Some(refspec));
        origin
    }

    /// What upgrades of this stateroot follow, whatever the policy says: `REPOSITORY:REF`
    /// or `REMOTE:REF`. There where a version was put into a stateroot by its name.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        self.0.get("backstop", "source")
    }

    /// The same, with upgrades that follow this.
    #[must_use]
    pub fn with_source(&self, source: &str) -> Self {
        let mut origin = self.clone();
        origin.0.set("backstop", "source", Some(source));
        origin
    }

    /// The text of the file. What `ostree` knows comes last, since people add lines
    /// to that by `>>`.
    pub(crate) fn text(&self) -> String {
        let mut file = self.0.clone();
        file.move_last("origin");
        file.to_string()
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_not_pinned() {
        let text = "[origin]\nrefspec=o:b\n\n[libostree-transient]\npinned=true\n\n[x]\ny=1\n";
        let origin = Origin::parse(text).unwrap();
        assert!(origin.is_pinned());
        let copy = origin.for_another();
        assert!(!copy.is_pinned());
        assert_eq!(copy.refspec(), Some("o:b"));
        assert_eq!(copy.to_string(), "[origin]\nrefspec=o:b\n\n[x]\ny=1\n");
    }

    #[test]
    fn what_a_stateroot_follows_goes_on_to_its_next_deployment() {
        let mut origin = Origin::following("trixie").with_source("/srv/repo:trixie");
        origin.set_kargs(&"quiet".parse().unwrap());
        let next = Origin::parse(&origin.text()).unwrap().for_another();
        assert_eq!(next.source(), Some("/srv/repo:trixie"));
        assert_eq!(next.kargs(), None);
        let moved = next.with_source("o:forky").with_refspec("o:forky");
        assert_eq!(
            (moved.source(), moved.refspec()),
            (Some("o:forky"), Some("o:forky"))
        );
    }
}
