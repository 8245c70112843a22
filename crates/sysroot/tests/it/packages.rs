//! What a test needs from the machine.

use std::path::Path;

/// Whether all these programs or files are there; says what is missing, and
/// fails instead of skipping where everything is required.
pub fn have(programs: &[&str], files: &[&str]) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let on_path = |name: &str| {
        path.split(':')
            .any(|dir| Path::new(dir).join(name).exists())
    };
    let program = programs.iter().find(|name| !on_path(name));
    let file = files.iter().find(|name| !Path::new(name).exists());
    let Some(missing) = program.or(file) else {
        return true;
    };
    assert!(
        std::env::var_os("BACKSTOP_REQUIRE_ALL").is_none(),
        "needs {missing}"
    );
    println!("skipped: needs {missing}");
    false
}
