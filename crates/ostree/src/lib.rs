//! OSTree repositories: objects named by their digest, refs, commits, checkouts.
//!
//! The formats are those of `ostree`, so that each may read what the other wrote;
//! `docs/formats/repository.md` describes them. A [`Repo`] is opened over a
//! [`durable::Fs`]:
//!
//! | to | call |
//! | --- | --- |
//! | make or open a repository | [`Repo::create`], [`Repo::open`] |
//! | store a directory | [`Repo::commit_dir`] |
//! | get it back | [`Repo::checkout`], [`Repo::read_file`] |
//! | name commits | [`Repo::set_ref`], [`Repo::refs`], [`Repo::resolve`] |
//! | look into them | [`Repo::load_commit`], [`Repo::history`], [`Repo::list`], [`Repo::diff`] |
//! | copy them to another repository | [`Repo::pull_local`] |
//! | pull them from far away | [`session::PullSession`], driven by the crate `fetch` |
//! | name them wherever they are mirrored | [`Repo::collection_refs`], [`Repo::set_collection_ref`] |
//! | say where others are | [`Repo::add_remote`], [`Repo::remotes`] |
//! | tell others what there is | [`Repo::summarize`], [`Repo::write_summary`] |
//! | sign and check signatures | [`Repo::sign_commit`], [`sign::RemoteVerifier`] |
//! | make and apply static deltas | [`Repo::generate_delta`], [`Repo::apply_delta`] |
//! | check and clean | [`Repo::fsck`], [`Repo::prune`] |
//!
//! Objects are verified whenever they are read, save for files that are checked
//! out or pulled as hard links.

mod bootable;
mod checkout;
mod checksum;
mod collection;
mod commit_dir;
mod commit_options;
mod config;
mod cookie;
mod cpio;
pub mod delta;
mod detached;
mod diff;
mod digests;
mod error;
mod format;
mod fsck;
pub mod gvariant;
mod history;
mod inventory;
mod keyfile;
mod layers;
mod listing;
mod look;
mod mend;
mod modify;
mod object;
mod prune;
mod pull;
mod refs;
mod remote;
mod repo;
mod rev;
mod rewrite;
mod selinux;
pub mod session;
pub mod sign;
mod sizes;
mod store;
mod summary;
mod tar_export;
mod tar_import;
mod tombstone;
mod verifier;
mod workers;

pub use checkout::{CheckoutOptions, CheckoutSummary, Links, Overwrite};
pub use checksum::{Checksum, NotAChecksum};
pub use collection::{CollectionRef, METADATA_REF, check_collection_id};
pub use commit_options::{CommitOptions, CommitSummary, Parent, Source};
pub use config::{BadConfig, RepoMode};
pub use cookie::Cookie;
pub use diff::{Change, ChangeKind, DiffSide};
pub use error::{Error, Result};
pub use format::{
    Commit, DirMeta, DirRef, DirTree, FileHeader, FileRef, MAX_HEADER, Metadata, Xattrs, check_name,
};
pub use fsck::{FsckOptions, FsckReport, Problem};
pub use gvariant::Value;
pub use history::History;
pub use listing::{Entry, Item};
pub use look::checksum_of;
pub use mend::Repair;
pub use modify::{LinkedFiles, ModeChange, Modify};
pub use object::{ObjectKind, ObjectName};
pub use prune::{PruneOptions, PruneSummary};
pub use pull::{PullFiles, PullOptions, PullSummary};
pub use refs::check_ref_name;
pub use remote::{IfExists, Remote};
pub use repo::Repo;
pub use selinux::SePolicy;
pub use sizes::{Sizes, Weight};
pub use summary::{MAX_SUMMARY, Summary, SummaryRef};
pub use tar_export::ExportOptions;
pub use tar_import::{Archive, PathFilter};
pub use verifier::{
    Distrust, FetchedCommit, FetchedSummary, NoVerifier, Trust, Unsigned, Verifier,
};
