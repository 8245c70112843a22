//! Decisions, without a disk.

use super::*;

fn debian() -> Survey {
    let one = || BTreeSet::from(["6.1".to_owned()]);
    Survey {
        kernels_in_boot: one(),
        modules: one(),
        merged_usr: true,
        init: true,
        tool: Some(InitramfsTool::InitramfsTools),
        etc: true,
        var: true,
        dpkg: true,
        state_dirs: vec!["home", "root"],
        to_empty: vec!["boot"],
        payload: (0..FILES.len()).collect(),
        links: vec![("ostree".into(), "sysroot/ostree".into())],
        binary: true,
        ..Survey::default()
    }
}

fn options() -> PrepareOptions {
    PrepareOptions {
        tree: "/tree".into(),
        into: None,
        binary: "/backstop".into(),
        kernel: None,
        initramfs: Initramfs::Build,
    }
}

#[test]
fn a_plain_tree_takes_all_steps_in_an_order_that_works() {
    let plan = decide(&debian(), &options()).unwrap();
    let at = |wanted: &Step| plan.steps.iter().position(|s| s == wanted).unwrap();
    let initramfs = plan
        .steps
        .iter()
        .position(|s| matches!(s, Step::Initramfs { .. }))
        .unwrap();
    assert!(at(&Step::Kernel("6.1".into())) < initramfs);
    assert!(at(&Step::Kernel("6.1".into())) < at(&Step::Empty("boot")));
    assert!(initramfs < at(&Step::Etc));
    let home = Step::State {
        path: "home",
        var: "home",
    };
    assert!(at(&home) < at(&Step::Factory));
    assert!(at(&Step::PackageDatabase) < at(&Step::Factory));
    assert!(plan.to_string().contains("move /etc to /usr/etc"));
}

#[test]
fn a_prepared_tree_takes_none() {
    let survey = Survey {
        kernels_in_boot: BTreeSet::new(),
        kernels_in_modules: ["6.1".to_owned()].into(),
        initramfs: ["6.1".to_owned()].into(),
        etc: false,
        usr_etc: true,
        var: false,
        dpkg: false,
        state_dirs: vec![],
        to_empty: vec![],
        payload: vec![],
        links: vec![],
        binary: false,
        ..debian()
    };
    let plan = decide(&survey, &options()).unwrap();
    assert_eq!(plan.steps, []);
    assert_eq!(plan.to_string(), "/tree is prepared already\n");
    let newer_program = Survey {
        binary: true,
        ..survey
    };
    let plan = decide(&newer_program, &options()).unwrap();
    assert_eq!(plan.steps, [Step::Binary]);
}

#[test]
fn says_what_a_tree_lacks() {
    let versions = |v: &[&str]| v.iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
    let two = Survey {
        kernels_in_boot: versions(&["6.1", "6.2"]),
        modules: versions(&["6.1", "6.2"]),
        ..debian()
    };
    let cases: Vec<(Survey, Option<&str>, &str)> = vec![
        (
            Survey {
                etc: false,
                ..debian()
            },
            None,
            "no root filesystem",
        ),
        (
            Survey {
                usr_etc: true,
                ..debian()
            },
            None,
            "both /etc and /usr/etc",
        ),
        (
            Survey {
                merged_usr: false,
                ..debian()
            },
            None,
            "usrmerge",
        ),
        (
            Survey {
                init: false,
                ..debian()
            },
            None,
            "no systemd",
        ),
        (
            Survey {
                tool: None,
                ..debian()
            },
            None,
            "neither initramfs-tools nor dracut",
        ),
        (
            Survey {
                kernels_in_boot: versions(&[]),
                ..debian()
            },
            None,
            "no kernel",
        ),
        (
            Survey {
                modules: versions(&[]),
                ..debian()
            },
            None,
            "no kernel",
        ),
        (two.clone(), None, "several kernels (6.1, 6.2)"),
        (two.clone(), Some("7"), "no kernel 7, but 6.1, 6.2"),
    ];
    for (survey, kernel, words) in cases {
        let options = PrepareOptions {
            kernel: kernel.map(str::to_owned),
            ..options()
        };
        let e = decide(&survey, &options).unwrap_err().to_string();
        assert!(e.contains(words), "{words}: {e}");
    }
    let options = PrepareOptions {
        kernel: Some("6.2".into()),
        ..options()
    };
    let plan = decide(&two, &options).unwrap();
    assert!(plan.steps.contains(&Step::Kernel("6.2".into())));
}
