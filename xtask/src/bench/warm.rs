//! What a machine gave up while other work was done: programs would pay for it in turn,
//! whoever comes first the most.

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

/// Writes to as much free memory as work on so many bytes may need. A virtual machine
/// hands free memory back to its host, and each page costs time when it is used again.
pub fn memory(bytes: u64) -> anyhow::Result<()> {
    let free = available()?;
    // A file's pages, those of the image it lies in, as much again, and a gigabyte.
    let wanted = bytes * 4 + (1 << 30);
    let mut memory = vec![0_u8; usize::try_from(wanted.min(free / 2))?];
    for page in memory.chunks_mut(4096) {
        page[0] = 1;
    }
    std::hint::black_box(memory);
    Ok(())
}

/// Bytes of memory that may be used without taking any from what runs.
fn available() -> anyhow::Result<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    let line = info.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|l| l.trim().strip_suffix(" kB"));
    let kib: u64 = kib
        .context("/proc/meminfo tells of no MemAvailable")?
        .parse()?;
    Ok(kib << 10)
}
