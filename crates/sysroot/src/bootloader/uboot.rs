//! U-Boot: `boot/uEnv.txt`, which leads to `loader/uEnv.txt` and sets variables for the
//! board's script: the default's, then those of each other entry with its number.

use std::fmt::Write as _;

use crate::planned::Planned;

/// The text for these entries. `own` is what the default's tree wants to be in it.
pub(super) fn config(planned: &[Planned], own: &str) -> String {
    let mut text = String::new();
    for (index, entry) in planned.iter().enumerate() {
        let suffix = match index {
            0 => String::new(),
            n => (n + 1).to_string(),
        };
        let _ = writeln!(text, "kernel_image{suffix}={}", entry.linux);
        let dir = entry.linux.rsplit_once('/').map_or("", |(dir, _)| dir);
        let _ = writeln!(text, "bootdir{suffix}={dir}/");
        if let Some(initrd) = entry.initrds.first() {
            let _ = writeln!(text, "ramdisk_image{suffix}={initrd}");
        }
        match &entry.devicetree {
            Some((key, path)) if *key == "fdtdir" => {
                let _ = writeln!(text, "fdtdir{suffix}={path}");
            }
            Some((_, path)) => {
                let _ = writeln!(text, "fdt_file{suffix}={path}");
            }
            None => {}
        }
        let _ = writeln!(text, "bootargs{suffix}={}", entry.options);
        if index == 0 {
            text += own;
            if !own.is_empty() && !own.ends_with('\n') {
                text.push('\n');
            }
        }
    }
    text
}
