//! Which GRUB the tests run.

use std::sync::OnceLock;

use testbed::{Release, Toolbox, cache::Cache};

/// The GRUB of this machine, or with `BACKSTOP_GRUB=13` that of Debian 13.
pub fn toolbox() -> &'static Toolbox {
    static TOOLBOX: OnceLock<Toolbox> = OnceLock::new();
    TOOLBOX.get_or_init(|| {
        let release = match std::env::var("BACKSTOP_GRUB").as_deref() {
            Ok("13") => Release::Trixie,
            Ok(other) => panic!("BACKSTOP_GRUB: no release {other} is known here"),
            Err(_) => return Toolbox::of_this_machine(),
        };
        Toolbox::of(release, &Cache::from_env(), &monitor::Silent).unwrap()
    })
}
