//! The Debian root.

use testbed::{debian, packages};

use crate::support;

#[test]
fn a_debian_root_has_a_kernel_an_init_and_a_way_in() {
    if !support::able(&[packages::ROOT]) {
        return;
    }
    let root = debian::root(&support::cache(), &monitor::Silent).unwrap();
    assert!(root.join("usr/lib/systemd/systemd").exists());
    assert!(root.join("etc/ssh/authorized_keys.d/root").exists());
    let boot: Vec<_> = std::fs::read_dir(root.join("boot"))
        .unwrap()
        .flatten()
        .collect();
    let kernels = |e: &&std::fs::DirEntry| e.file_name().to_string_lossy().starts_with("vmlinuz-");
    assert_eq!(boot.iter().filter(kernels).count(), 1);
    let again = debian::root(&support::cache(), &monitor::Silent).unwrap();
    assert_eq!(again, root);
}
