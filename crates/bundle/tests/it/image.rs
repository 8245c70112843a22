//! An image version travels in a bundle.

use std::path::Path;
use std::sync::Arc;

use bundle::{Bundle, image};
use durable::{Fs, RealFs};
use monitor::Silent;
use ostree::sign::{KeySet, SecretKey};
use ostree::{CommitOptions, Repo, RepoMode};

fn commit(dir: &Path, mode: RepoMode) -> (Repo, ostree::Checksum) {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    let repo = Repo::create(fs, &dir.join("from"), mode).unwrap();
    let tree = dir.join("tree");
    std::fs::create_dir_all(tree.join("usr/bin")).unwrap();
    std::fs::write(tree.join("usr/bin/app"), vec![7; 300_000]).unwrap();
    std::fs::write(tree.join("usr/empty"), b"").unwrap();
    std::os::unix::fs::symlink("app", tree.join("usr/bin/link")).unwrap();
    let options = CommitOptions {
        branch: Some("main".to_owned()),
        ..CommitOptions::default()
    };
    let made = repo.commit_dir(&tree, &options, &Silent).unwrap();
    (repo, made.checksum)
}

#[test]
fn a_commit_arrives_whole() {
    for mode in [RepoMode::BareUser, RepoMode::Archive] {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let (repo, checksum) = commit(dir.path(), mode);
        let (file, scratch) = (dir.path().join("b"), dir.path().join("scratch"));
        let key = SecretKey::generate().unwrap();
        let mut trusted = KeySet::default();
        trusted.trust(key.public());
        {
            let export = image::Export::start(&repo, &checksum, fs.clone(), &scratch, &Silent);
            let what = image::describe(&checksum, "main");
            bundle::write(&*fs, &file, what, &mut export.unwrap(), &[key], &Silent).unwrap();
        }
        assert!(!scratch.exists());
        let into = Repo::create(fs.clone(), &dir.path().join("to"), mode).unwrap();
        let mut bundle = Bundle::open(&*fs, &file, &trusted).unwrap();
        let got = image::unpack(&mut bundle, &into, &fs, &scratch, &Silent).unwrap();
        assert_eq!(got, checksum);
        assert!(!scratch.exists());
        let app = into.read_file(&checksum, Path::new("/usr/bin/app"), 1 << 20);
        assert_eq!(app.unwrap().unwrap().len(), 300_000);
        let clean = into.fsck(&ostree::FsckOptions::default(), &Silent).unwrap();
        assert!(clean.is_clean());
        assert_eq!(into.resolve("backstop/bundle").unwrap(), checksum);
    }
}
