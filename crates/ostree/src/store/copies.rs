//! Copies of other repositories' files.

use std::io::{self, Write};

use super::{FileObject, Staging};
use crate::{Checksum, Result};

impl Staging<'_> {
    /// Adds a copy of another repository's file object; `verify`: checking its digest.
    pub(crate) fn copy_file(
        &self,
        checksum: Checksum,
        file: FileObject,
        verify: bool,
        buffer: &mut Vec<u8>,
    ) -> Result<()> {
        let (header, size) = (file.header.clone(), file.size);
        let mut file = Some(file);
        let mut fill = |sink: &mut dyn Write| match file.take() {
            Some(file) if verify => file.copy_verified(checksum, buffer, sink),
            Some(file) => file.copy_trusted(checksum, buffer, sink),
            None => Ok(Ok(())),
        };
        if verify && header.is_symlink() {
            // A symlink has no content, so its digest is checked here.
            let _ = fill(&mut io::sink())?;
        }
        self.write_file(checksum, &header, size, &mut fill)
    }
}
