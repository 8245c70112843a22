//! What a machine gave up while other work was done: programs would pay for it in turn,
//! whoever comes first the most.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Reads a whole tree, so that it is found in memory; its files and bytes.
pub fn tree(tree: &Path) -> anyhow::Result<(u64, u64)> {
    let (mut files, mut bytes) = (0, 0);
    let mut stack = vec![tree.to_owned()];
    while let Some(dir) = stack.pop() {
        for entry in
            std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?
        {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                stack.push(entry.path());
                continue;
            }
            files += 1;
            if entry.file_type()?.is_file() {
                bytes += std::io::copy(
                    &mut std::fs::File::open(entry.path())?,
                    &mut std::io::sink(),
                )?;
            }
        }
    }
    Ok((files, bytes))
}

/// Writes to as much free memory as files of so many bytes may need, in a directory of
/// their filesystem. A virtual machine hands free memory back to its host, and each page
/// costs time when it is used again.
#[expect(clippy::disallowed_methods, reason = "a file that nobody needs")]
pub fn memory(dir: &Path, bytes: u64) -> anyhow::Result<()> {
    let path = dir.join("warm");
    let said = || format!("cannot write {}", path.display());
    let mut file = std::fs::File::create(&path).with_context(said)?;
    let block = vec![1; 1 << 20];
    // The pages of the file and those of the image it lies in, and some.
    for _ in 0..(bytes >> 20) * 3 {
        file.write_all(&block).with_context(said)?;
    }
    // Its pages are free before they go to the disk.
    std::fs::remove_file(&path).with_context(said)
}
