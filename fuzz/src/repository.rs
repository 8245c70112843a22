//! What a repository takes in, on a simulated disk.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use durable::Fs;
use durable::sim::SimFs;
use monitor::Silent;
use ostree::session::{Next, PullSession, Scratch, SessionOptions, Wanted};
use ostree::{
    Archive, Checksum, CommitOptions, Distrust, FetchedCommit, FetchedSummary, FsckOptions, Repo,
    RepoMode, Source, Trust, Verifier,
};

/// Demands no signature.
#[derive(Debug)]
struct Trusting;

impl Verifier for Trusting {
    fn verify_commit(&self, _: &FetchedCommit<'_>) -> Result<Trust, Distrust> {
        Ok(Trust::Undemanded)
    }

    fn verify_summary(&self, _: &FetchedSummary<'_>) -> Result<Trust, Distrust> {
        Ok(Trust::Undemanded)
    }
}

/// A repository that a server may have, with one small commit.
struct Served {
    fs: SimFs,
    commit: Checksum,
}

fn create(fs: &SimFs, path: &str, mode: RepoMode) -> Repo {
    let path = Path::new(path);
    Repo::create(Arc::new(fs.clone()), path, mode).expect("a repository");
    let config = durable::read_to_string(fs, &path.join("config")).expect("its settings");
    let config = format!("{config}min-free-space-size=0MB\n");
    durable::publish_file(fs, &path.join("config"), config.as_bytes(), 0o644).expect("settings");
    Repo::open(Arc::new(fs.clone()), path).expect("a repository")
}

fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(|| {
        let fs = SimFs::new();
        durable::create_dir_all(&fs, Path::new("/src"), 0o755).expect("a directory");
        let mut file = fs.create(Path::new("/src/file"), 0o644).expect("a file");
        file.write_all(b"content").expect("content");
        let repo = create(&fs, "/served", RepoMode::Archive);
        let options = CommitOptions::default();
        let made = repo.commit_dir(Path::new("/src"), &options, &Silent);
        let commit = made.expect("a commit").checksum;
        Served { fs, commit }
    })
}

/// A server sends these bytes for a file's content, and the truth for all else.
pub fn arriving(bytes: &[u8]) {
    let served = served();
    let fs = SimFs::new();
    let repo = create(&fs, "/repo", RepoMode::BareUser);
    let options = SessionOptions {
        wanted: vec![Wanted {
            name: None,
            commit: served.commit,
        }],
        ..SessionOptions::default()
    };
    let session = PullSession::begin(&repo, options, &Trusting, &Silent).expect("a session");
    let mut scratch = Scratch::new();
    loop {
        let request = match session.next(&mut scratch) {
            Ok(Next::Fetch(request)) => request,
            Ok(Next::Again | Next::Wait) => continue,
            Ok(Next::Done) | Err(_) => break,
        };
        let path = Path::new("/served").join(request.path());
        let is_file = request.path().ends_with(".filez");
        let answer = match durable::read(&served.fs, &path) {
            Ok(_) if is_file => bytes.to_vec(),
            Ok(truth) => truth,
            Err(_) => {
                let _ = session.absent(&request);
                continue;
            }
        };
        let mut receiver = session.receive(request);
        receiver.expect(answer.len() as u64, &mut scratch);
        let pieces = answer.chunks(7).try_for_each(|piece| receiver.write(piece));
        if pieces.and_then(|()| receiver.finish(&mut scratch)).is_err() {
            return;
        }
    }
    if session.publish().is_ok() {
        let report = repo.fsck(&FsckOptions::default(), &Silent).expect("fsck");
        assert!(report.is_clean());
    }
}

/// Commits an archive: tar or cpio, packed or not. What was taken in is whole.
pub fn tar(bytes: &[u8]) {
    let fs = SimFs::new();
    let repo = create(&fs, "/repo", RepoMode::BareUser);
    let path = Path::new("/archive");
    let mut file = fs.create(path, 0o644).expect("a file");
    file.write_all(bytes).expect("content");
    let archive = Archive {
        path: path.to_owned(),
        make_parents: true,
        whiteouts: true,
        ..Archive::default()
    };
    let sources = [Source::Tar(archive)];
    if repo
        .commit(&sources, &CommitOptions::default(), &Silent)
        .is_ok()
    {
        let report = repo.fsck(&FsckOptions::default(), &Silent).expect("fsck");
        assert!(report.is_clean());
    }
}

/// A repository's settings, and those of its remotes.
pub fn config(bytes: &[u8]) {
    let fs = SimFs::new();
    drop(create(&fs, "/repo", RepoMode::BareUser));
    let path = Path::new("/repo/config");
    durable::publish_file(&fs, path, bytes, 0o644).expect("settings");
    let Ok(repo) = Repo::open(Arc::new(fs), Path::new("/repo")) else {
        return;
    };
    for remote in repo.remotes().unwrap_or_default() {
        let _ = (remote.url().is_ok(), remote.gpg_verify_summary().is_ok());
    }
}
