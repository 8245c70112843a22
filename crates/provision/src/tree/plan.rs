//! What preparing a tree takes, decided from what is there.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use durable::Fs;

use super::payload::FILES;
use super::survey::{InitramfsTool, STATE, Survey};
use crate::{Error, Result};

/// Where the kernel's initramfs comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Initramfs {
    /// Made by the tree's own tool.
    #[default]
    Build,
    /// A file that is there.
    Given(PathBuf),
}

/// What to prepare.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// The root filesystem.
    pub tree: PathBuf,
    /// Where the prepared tree goes; `None`: prepared in place.
    pub into: Option<PathBuf>,
    /// The backstop program to put into it.
    pub binary: PathBuf,
    /// The kernel version to boot; `None`: the only one there is.
    pub kernel: Option<String>,
    /// Where the initramfs comes from.
    pub initramfs: Initramfs,
}

/// One step, in the order in which they are done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy the tree.
    Copy {
        /// To here.
        into: PathBuf,
    },
    /// Put in the program.
    Binary,
    /// Put in files of backstop's own (indexes of the payload).
    Payload(Vec<usize>),
    /// Make a link.
    Link {
        /// Where, relative to the tree.
        path: String,
        /// What it says.
        target: String,
    },
    /// Copy `boot/vmlinuz-VERSION` to where deployments have it.
    Kernel(String),
    /// Make or take the initramfs of a kernel.
    Initramfs {
        /// The kernel's version.
        kernel: String,
        /// Who makes it.
        from: InitramfsSource,
    },
    /// Take the machine's identity out.
    MachineId,
    /// Replace `fstab`.
    Fstab(String),
    /// Make `path` a link into `/var`, with its content moved there.
    State {
        /// Where, relative to the tree.
        path: &'static str,
        /// Below `/var`.
        var: &'static str,
    },
    /// Move the package database to `/usr`.
    PackageDatabase,
    /// Move the content of `/var` to the factory, from which a host's first
    /// boot copies it.
    Factory,
    /// Empty a directory that is filled at run time.
    Empty(&'static str),
    /// Move `/etc` to `/usr/etc`.
    Etc,
    /// Make the mount point of the physical root.
    SysrootDir,
}

/// Who makes an initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitramfsSource {
    /// The tree's own tool.
    Tool(InitramfsTool),
    /// A file.
    File(PathBuf),
}

/// What is to be done to a tree, and what a person should know of it.
#[derive(Debug, Clone)]
pub struct TreePlan {
    /// What was asked for.
    pub options: PrepareOptions,
    /// The steps in order; none when the tree is prepared already.
    pub steps: Vec<Step>,
    /// What is no error but worth a line.
    pub warnings: Vec<String>,
}

/// Looks at the tree and decides what preparing it takes.
///
/// # Errors
/// [`Error::Unsuitable`] says what the tree lacks; [`Error::NeedsRoot`] when
/// its initramfs would have to be made by somebody else.
pub fn plan(fs: &dyn Fs, options: &PrepareOptions) -> Result<TreePlan> {
    let survey = Survey::of(fs, &options.tree, &options.binary)?;
    let plan = decide(&survey, options)?;
    if let Some(into) = &options.into
        && fs.read_dir(into).is_ok_and(|names| !names.is_empty())
    {
        return Err(Error::Unsuitable {
            path: into.clone(),
            why: "it is not empty, so no tree is copied to it; remove it first".into(),
        });
    }
    if !rustix::process::geteuid().is_root() && plan.needs_root() {
        return Err(Error::NeedsRoot("make an initramfs inside a tree"));
    }
    Ok(plan)
}

fn decide(survey: &Survey, options: &PrepareOptions) -> Result<TreePlan> {
    suitable(survey, options)?;
    let kernel = choose_kernel(survey, options)?;
    let mut steps = Vec::new();
    if let Some(into) = &options.into {
        steps.push(Step::Copy { into: into.clone() });
    }
    if survey.binary {
        steps.push(Step::Binary);
    }
    if !survey.payload.is_empty() {
        steps.push(Step::Payload(survey.payload.clone()));
    }
    boot_steps(&mut steps, survey, options, &kernel)?;
    if survey.machine_id {
        steps.push(Step::MachineId);
    }
    steps.extend(survey.fstab.clone().map(Step::Fstab));
    layout_steps(&mut steps, survey);
    let mut warnings = Vec::new();
    if survey.host_keys {
        warnings.push("the tree holds ssh host keys: every host made from it shares them".into());
    }
    Ok(TreePlan {
        options: options.clone(),
        steps,
        warnings,
    })
}

fn suitable(survey: &Survey, options: &PrepareOptions) -> Result<()> {
    let why = if !survey.etc && !survey.usr_etc {
        "it is no root filesystem: it has neither /etc nor /usr/etc"
    } else if survey.etc && survey.usr_etc {
        "it has both /etc and /usr/etc: remove the one that is not wanted"
    } else if !survey.merged_usr {
        "/bin, /sbin and /lib must be links into /usr: install the package usrmerge in it"
    } else if !survey.init {
        "it has no systemd: install the packages systemd and systemd-sysv in it"
    } else {
        return Ok(());
    };
    Err(Error::Unsuitable {
        path: options.tree.clone(),
        why: why.into(),
    })
}

fn choose_kernel(survey: &Survey, options: &PrepareOptions) -> Result<String> {
    let all: BTreeSet<&String> = survey
        .kernels_in_boot
        .union(&survey.kernels_in_modules)
        .filter(|v| survey.modules.contains(*v))
        .collect();
    let unsuitable = |why: String| Error::Unsuitable {
        path: options.tree.clone(),
        why,
    };
    let names = || {
        all.iter()
            .map(|v| v.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    match &options.kernel {
        Some(wanted) if all.contains(wanted) => Ok(wanted.clone()),
        Some(wanted) if all.is_empty() => Err(unsuitable(format!(
            "it has no kernel {wanted}, nor any other"
        ))),
        Some(wanted) => Err(unsuitable(format!(
            "it has no kernel {wanted}, but {}",
            names()
        ))),
        None => match all.first() {
            None => Err(unsuitable(
                "it has no kernel: install a package like linux-image-amd64 in it".into(),
            )),
            Some(only) if all.len() == 1 => Ok((*only).clone()),
            Some(_) => Err(unsuitable(format!(
                "it has several kernels ({}): name the one to boot",
                names()
            ))),
        },
    }
}

fn boot_steps(
    steps: &mut Vec<Step>,
    survey: &Survey,
    options: &PrepareOptions,
    kernel: &str,
) -> Result<()> {
    let new_kernel = !survey.kernels_in_modules.contains(kernel);
    if new_kernel {
        steps.push(Step::Kernel(kernel.into()));
    }
    let hooks_changed = survey.payload.iter().any(|n| FILES[*n].in_initramfs);
    let from = match (&options.initramfs, survey.tool) {
        (Initramfs::Given(file), _) => InitramfsSource::File(file.clone()),
        (Initramfs::Build, Some(tool)) => InitramfsSource::Tool(tool),
        (Initramfs::Build, None) => {
            return Err(Error::Unsuitable {
                path: options.tree.clone(),
                why: "it has neither initramfs-tools nor dracut: install one of them in it".into(),
            });
        }
    };
    let given = matches!(from, InitramfsSource::File(_));
    if given || new_kernel || hooks_changed || !survey.initramfs.contains(kernel) {
        steps.push(Step::Initramfs {
            kernel: kernel.into(),
            from,
        });
    }
    Ok(())
}

fn layout_steps(steps: &mut Vec<Step>, survey: &Survey) {
    for (path, var) in STATE {
        if survey.state_dirs.contains(path) {
            steps.push(Step::State { path, var });
        }
    }
    if survey.dpkg {
        steps.push(Step::PackageDatabase);
    }
    if survey.var || !survey.state_dirs.is_empty() {
        steps.push(Step::Factory);
    }
    steps.extend(survey.to_empty.iter().map(|d| Step::Empty(d)));
    if !survey.links.is_empty() {
        steps.push(Step::SysrootDir);
    }
    for (path, target) in &survey.links {
        steps.push(Step::Link {
            path: path.clone(),
            target: target.clone(),
        });
    }
    if survey.etc {
        steps.push(Step::Etc);
    }
}

impl TreePlan {
    /// Where the prepared tree is in the end.
    #[must_use]
    pub fn target(&self) -> &Path {
        self.options.into.as_deref().unwrap_or(&self.options.tree)
    }

    fn needs_root(&self) -> bool {
        let tool = |s: &Step| {
            matches!(
                s,
                Step::Initramfs {
                    from: InitramfsSource::Tool(_),
                    ..
                }
            )
        };
        self.steps.iter().any(tool)
    }
}

impl fmt::Display for TreePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return writeln!(f, "{} is prepared already", self.target().display());
        }
        writeln!(f, "to prepare {}:", self.target().display())?;
        let links = self.steps.iter().filter(|s| matches!(s, Step::Link { .. }));
        let links = links.count();
        for step in &self.steps {
            if !matches!(step, Step::Link { .. }) {
                writeln!(f, "  {step}")?;
            }
        }
        if links > 0 {
            writeln!(
                f,
                "  make {links} links: /ostree, /media, and those that enable the units"
            )?;
        }
        self.warnings
            .iter()
            .try_for_each(|w| writeln!(f, "warning: {w}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { into } => write!(f, "copy the tree to {}", into.display()),
            Self::Binary => f.write_str("put in /usr/bin/backstop"),
            Self::Payload(files) => {
                write!(f, "put in {} units and initramfs scripts", files.len())
            }
            Self::Link { path, target } => write!(f, "make the link /{path} to {target}"),
            Self::Kernel(v) => write!(f, "copy the kernel to /usr/lib/modules/{v}/vmlinuz"),
            Self::Initramfs { kernel, from } => {
                let at = format!("/usr/lib/modules/{kernel}/initramfs.img");
                match from {
                    InitramfsSource::File(p) => write!(f, "copy {} to {at}", p.display()),
                    InitramfsSource::Tool(InitramfsTool::Dracut) => {
                        write!(f, "make {at} with dracut")
                    }
                    InitramfsSource::Tool(InitramfsTool::InitramfsTools) => {
                        write!(f, "make {at} with mkinitramfs")
                    }
                }
            }
            Self::MachineId => f.write_str("empty /etc/machine-id: each host gets its own"),
            Self::Fstab(_) => f.write_str("leave /, /usr, /var and /boot out of /etc/fstab"),
            Self::State { path, var } => {
                write!(f, "move /{path} to /var/{var}, and link it")
            }
            Self::PackageDatabase => write!(f, "move /var/lib/dpkg to /{}", super::var::DPKG),
            Self::Factory => write!(
                f,
                "move the content of /var to /{}, to be copied at a host's first boot",
                super::var::FACTORY
            ),
            Self::Empty(dir) => write!(f, "empty /{dir}"),
            Self::Etc => f.write_str("move /etc to /usr/etc"),
            Self::SysrootDir => f.write_str("make /sysroot"),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
