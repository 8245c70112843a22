//! The most memory that a process takes.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(2);

/// What a process took.
#[derive(Debug, Clone, Copy)]
pub struct Watched {
    /// From its start to its end.
    pub seconds: f64,
    /// The most memory at once, in KiB.
    pub peak: u64,
}

/// Runs a command to its end, which must be a good one.
///
/// The peak is read while it runs: what the kernel tells of a process that has ended
/// (`ru_maxrss`) counts the memory of the one that started it.
pub fn watch(command: &mut Command) -> anyhow::Result<Watched> {
    let start = Instant::now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        peak = peak.max(so_far(status.as_ref()).unwrap_or(0));
        std::thread::sleep(EVERY);
    };
    let seconds = start.elapsed().as_secs_f64();
    ensure!(ended.success(), "{command:?} failed");
    Ok(Watched { seconds, peak })
}

/// The most memory that a process has had so far, in KiB.
fn so_far(status: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_seen() {
        let mut dd = Command::new("dd");
        dd.args([
            "if=/dev/zero",
            "of=/dev/null",
            "bs=64M",
            "count=20",
            "status=none",
        ]);
        let watched = watch(&mut dd).unwrap();
        assert!((64 << 10..128 << 10).contains(&watched.peak), "{watched:?}");
        assert!(watch(&mut Command::new("false")).is_err());
    }
}
