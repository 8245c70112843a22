//! systemd-boot, as Debian has it.

use std::path::Path;

use durable::Fs;

use crate::{Error, Result};

/// Its program.
const PROGRAM: &str = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi";

/// Refuses when it is not installed here.
pub(super) fn require() -> Result<()> {
    match Path::new(PROGRAM).exists() {
        true => Ok(()),
        false => Err(Error::MissingProgram {
            program: "systemd-boot",
            package: "systemd-boot-efi",
        }),
    }
}

/// Puts it at `to`.
pub(super) fn program_to(fs: &dyn Fs, to: &Path) -> Result<()> {
    let bytes = durable::read(fs, Path::new(PROGRAM))?;
    Ok(durable::publish_file(fs, to, &bytes, 0o644)?)
}
