//! All well: kept, the default changed, one new generation.

use proof::installed;

#[test]
fn all_well_is_kept() {
    let Some(stage) = crate::stage() else {
        return;
    };
    let host = stage.actor("well").unwrap();
    let second = stage.bring_version(&installed("2"), &host).unwrap();
    let (code, said) = host.tries(&format!("backstop switch {second} --live --wait"));
    assert_eq!(code, Some(0), "{said}\n{}", host.testimony());
    host.assert_kept(&second);
    let first = host.first_version().to_owned();
    assert_eq!(host.generations(), [(1, first), (2, second.clone())]);
    assert_eq!(host.profile(), Some(second));
    assert_eq!(stage.page(&host, "/version").unwrap().as_deref(), Some("2"));
    assert_eq!(host.wait_for_ending(1).end, "kept");
    let timers = host.run("systemctl list-units --plain --no-legend 'backstop-*.timer'");
    assert_eq!(timers.unwrap(), "", "no timer is left");
}
