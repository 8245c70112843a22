//! The stories of `backstop demo --vm`.

use std::sync::Mutex;

use demo::{Narrator, VmDemo, vm};
use testbed::{Firmware, fixture};

use crate::able;

/// Keeps all that is told, for a failing test to print.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn add(&self, line: &str) {
        println!("{line}");
        self.0.lock().unwrap().push(line.to_owned());
    }
}

impl Narrator for Log {
    fn chapter(&self, title: &str) {
        self.add(&format!("== {title}"));
    }
    fn say(&self, text: &str) {
        self.add(text);
    }
    fn command(&self, line: &str) {
        self.add(&format!("$ {line}"));
    }
    fn output(&self, line: &str) {
        self.add(&format!("  {line}"));
    }
}

#[test]
fn the_stories_on_a_machine_with_bios() {
    if !able(vm::NEEDS) {
        return;
    }
    let log = Log::default();
    let dir = fixture::work_dir().unwrap();
    let dir = dir.path().join("vm");
    let program = fixture::binary().unwrap();
    let mut demo = VmDemo::create(
        &dir,
        &program,
        Firmware::Bios,
        &vm::STORIES,
        &log,
        &monitor::Silent,
    )
    .unwrap();
    let told = demo.tell(&log).unwrap();
    let boots: Vec<usize> = told.iter().map(|told| told.boots).collect();
    // Kept at the first boot; back after one; two attempts and back; back after one.
    assert_eq!(boots, [1, 2, 3, 2]);
}

/// Told on a machine with UEFI.
static UEFI_STORIES: [vm::Story; 2] = [vm::PANIC, vm::HANG];

#[test]
fn a_panic_and_a_hang_on_a_machine_with_uefi() {
    if !able(vm::NEEDS) {
        return;
    }
    let log = Log::default();
    let dir = fixture::work_dir().unwrap();
    let dir = dir.path().join("vm");
    let program = fixture::binary().unwrap();
    let (firmware, stories) = (Firmware::Efi, &UEFI_STORIES);
    let mut demo =
        VmDemo::create(&dir, &program, firmware, stories, &log, &monitor::Silent).unwrap();
    let told = demo.tell(&log).unwrap();
    let boots: Vec<usize> = told.iter().map(|told| told.boots).collect();
    assert_eq!(boots, [3, 2]);
}
