//! A version that is on the host already, tried with other kernel arguments.
//!
//! To the engine it is a version of its own, named after the commit and the arguments, so
//! that all rules of a trial hold for it: attempts, checks, somebody's word, the way back,
//! and that what failed is not tried again by itself. To the disk it is the same
//! deployment, which boots first as before, and with the other arguments while on trial.

use boot::KernelArgs;
use engine::{KargsChange, Request, Transaction, VersionId};
use monitor::Monitor;
use ostree::Checksum;
use sysroot::{BootOrder, DeploymentId};

use crate::source::version;
use crate::{Error, ImageHost, Result};

/// Between the commit and the name of the arguments.
const INFIX: &str = "/kargs-";
/// The kernel argument by which the booted system knows which arguments are on trial.
const MARK: &str = "backstop.kargs";
/// Digits of the arguments' name.
const DIGITS: usize = 16;

/// The commit in the name of a version, if it is the name of one with other arguments.
pub(crate) fn commit_of(version: &str) -> &str {
    version.split_once(INFIX).map_or(version, |(of, _)| of)
}

/// The name of these arguments.
fn name_of(kargs: &KernelArgs) -> String {
    let digest = Checksum::of(kargs.to_string().as_bytes());
    digest.to_string().chars().take(DIGITS).collect()
}

/// The name of a version with the arguments that have this name.
fn named(commit: &Checksum, name: &str) -> VersionId {
    VersionId::new(format!("{commit}{INFIX}{name}"))
}

/// The name in a kernel command line of the arguments that are on trial.
fn mark_in(cmdline: &str) -> Option<String> {
    let args: KernelArgs = cmdline.trim().parse().ok()?;
    let mark = args.get(MARK)?.to_string();
    let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (mark.len() == DIGITS && mark.bytes().all(hex)).then_some(mark)
}

/// The arguments as a transaction has them.
fn parse(of: &Transaction, text: &str) -> Result<KernelArgs> {
    let parsed = text.parse();
    Ok(parsed.map_err(|source| sysroot::Error::Kargs {
        of: of.target().to_string(),
        source,
    })?)
}

/// The arguments of the boot entry on trial: what is tried, and its name.
pub(crate) fn of_trial(transaction: &Transaction) -> Result<KernelArgs> {
    let Some(change) = &transaction.request.kargs else {
        return Ok(KernelArgs::new());
    };
    let wanted = parse(transaction, &change.to)?;
    let marked = format!("{wanted} {MARK}={}", name_of(&wanted));
    parse(transaction, &marked)
}

impl ImageHost {
    /// Lets a request for the version that runs try it with other kernel arguments: these.
    ///
    /// # Errors
    /// It has no deployment, or its arguments are these already.
    pub fn ask_for_kargs(&self, request: &mut Request, wanted: &KernelArgs) -> Result<()> {
        let runs = self.deployment_of(&request.target)?;
        let own = self.sysroot().deployment(&runs)?.kargs;
        if own == *wanted {
            return Err(Error::SameKargs(version(&runs.checksum)));
        }
        request.target = named(&runs.checksum, &name_of(wanted));
        request.source = describe(&own, wanted);
        request.kargs = Some(KargsChange {
            from: own.to_string(),
            to: wanted.to_string(),
        });
        Ok(())
    }

    /// The deployment of the version that runs: the one that was booted, or another one
    /// that was kept live since.
    ///
    /// # Errors
    /// It is gone.
    pub fn deployment_of(&self, running: &VersionId) -> Result<DeploymentId> {
        self.previous(running)
    }

    /// The version that was booted: one with other arguments where the kernel was started
    /// with such that are not the deployment's own.
    pub(crate) fn running_version(&self) -> Result<VersionId> {
        let booted = self.booted()?;
        let plain = version(&booted.checksum);
        if self.is_offline() {
            return Ok(plain);
        }
        let Some(mark) = mark_in(&self.cmdline()?) else {
            return Ok(plain);
        };
        let deployment = self.sysroot().deployment(&booted);
        let kept = deployment.is_ok_and(|d| name_of(&d.kargs) == mark);
        Ok(match kept {
            true => plain,
            false => named(&booted.checksum, &mark),
        })
    }

    /// Publishes the order in which what was tried comes first; its arguments are those of
    /// its trial then.
    pub(crate) fn publish_kept(
        &self,
        order: &BootOrder,
        (transaction, target): (&Transaction, &DeploymentId),
        monitor: &dyn Monitor,
    ) -> Result<()> {
        match &transaction.request.kargs {
            None => self.sysroot().publish(order, monitor)?,
            Some(change) => {
                let wanted = parse(transaction, &change.to)?;
                let sysroot = self.sysroot();
                sysroot.publish_kargs(order, (target, &wanted), monitor)?
            }
        };
        Ok(())
    }

    /// Publishes the order in which the version before comes first, with the arguments
    /// that it had, should those on trial have become its own.
    pub(crate) fn publish_put_back(
        &self,
        order: &BootOrder,
        (transaction, previous): (&Transaction, &DeploymentId),
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let sysroot = self.sysroot();
        if let Some(change) = &transaction.request.kargs {
            let wanted = parse(transaction, &change.to)?;
            if sysroot.deployment(previous)?.kargs == wanted {
                let before = parse(transaction, &change.from)?;
                sysroot.publish_kargs(order, (previous, &before), monitor)?;
                return Ok(());
            }
        }
        sysroot.publish(order, monitor)?;
        Ok(())
    }
}

/// What changes, for people: `kernel arguments: +quiet -debug`.
fn describe(before: &KernelArgs, wanted: &KernelArgs) -> String {
    let mut text = "kernel arguments:".to_owned();
    for (sign, args) in [('-', before.without(wanted)), ('+', wanted.without(before))] {
        for arg in args.iter() {
            text += &format!(" {sign}{arg}");
        }
    }
    if text.ends_with(':') {
        text += " in another order";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> KernelArgs {
        line.parse().unwrap()
    }

    #[test]
    fn a_version_with_other_arguments_has_a_name_of_its_own() {
        let commit = Checksum::of(b"x");
        let (one, two) = (name_of(&args("ro quiet")), name_of(&args("quiet ro")));
        assert_ne!(one, two);
        let version = named(&commit, &one);
        assert_eq!(commit_of(version.as_str()), commit.to_string());
        assert_eq!(commit_of(&commit.to_string()), commit.to_string());
        // What people see and type.
        assert_eq!(version.short(), format!("kargs-{}", &one[..4]));
    }

    #[test]
    fn the_mark_is_read_back_and_nothing_else_is_taken_for_one() {
        let name = name_of(&args("ro"));
        let table = [
            (format!("ro backstop.kargs={name} ostree=/x\n"), Some(name)),
            ("ro quiet".to_owned(), None),
            ("backstop.kargs=../../etc/passwd".to_owned(), None),
            ("backstop.kargs=".to_owned(), None),
            ("a=\"b backstop.kargs=0123456789abcdef".to_owned(), None),
        ];
        for (cmdline, mark) in table {
            assert_eq!(mark_in(&cmdline), mark, "{cmdline}");
        }
    }

    #[test]
    fn what_changes_is_said() {
        let table = [
            ("a=1 b", "a=1 b c", "kernel arguments: +c"),
            ("a=1 b", "b a=2", "kernel arguments: -a=1 +a=2"),
            ("a b", "b a", "kernel arguments: in another order"),
        ];
        for (before, wanted, said) in table {
            assert_eq!(describe(&args(before), &args(wanted)), said);
        }
    }
}
