//! The same closure deployed twice, the second time unconfirmed: still on it, no
//! generation lost.

use proof::installed;

#[test]
fn the_same_version_twice() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("twice").unwrap();
    let second = stage.bring_version(&installed("2"), &host).unwrap();
    let (code, said) = host.tries(&format!("backstop switch {second} --live --wait"));
    assert_eq!(code, Some(0), "{said}\n{}", host.testimony());
    let before = host.generations();
    let again = format!("backstop switch {second} --live --confirm-within 2s --wait");
    let (code, said) = host.tries(&again);
    assert_eq!(code, Some(0), "{said}");
    // Longer than the window would have been.
    std::thread::sleep(std::time::Duration::from_secs(3));
    host.assert_kept(&second);
    assert_eq!(host.generations(), before);
}
