//! Reads a transaction's journal aloud while somebody else writes it.

use std::time::{Duration, Instant};

use engine::{Journal, Phase, Record, State, TxId};

use crate::exit::Ended;
use crate::output::{Output, Tone};
use crate::timeline;

/// How often is looked whether the journal has grown.
const EVERY: Duration = Duration::from_millis(10);
/// So many looks later it is read anyway.
const ANYWAY: u32 = 20;

/// What to do when the transaction waits for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Go on reading until it ends.
    ToTheEnd,
    /// Stop where a reboot of this machine, or a person, is waited for.
    ForNobody,
}

/// Prints the records of transaction `tx` as they come, until it ends.
pub fn follow(journal: &Journal, tx: TxId, wait: Wait, out: &mut Output) -> anyhow::Result<Ended> {
    let started = Instant::now();
    let mut seen = tx.0.saturating_sub(1);
    loop {
        let size = journal.size();
        let records = journal.records()?;
        for record in records.iter().filter(|record| record.seq > seen) {
            print(record, started.elapsed(), out)?;
            if let Some(outcome) = &record.outcome {
                return Ok(outcome.into());
            }
        }
        seen = records.last().map_or(seen, |record| record.seq);
        let state = records.last().map(|record| &record.state);
        if wait == Wait::ForNobody
            && let Some((hint, ended)) = state.and_then(waits)
        {
            out.line(&hint)?;
            return Ok(ended);
        }
        wait_for_more(journal, size);
    }
}

/// Waits until the journal has another size than when it was read, and not for long if it keeps it.
fn wait_for_more(journal: &Journal, size: Option<u64>) {
    for _ in 0..ANYWAY {
        std::thread::sleep(EVERY);
        if journal.size() != size {
            return;
        }
    }
}

/// Prints one record with the time since the command began.
fn print(record: &Record, since: Duration, out: &mut Output) -> anyhow::Result<()> {
    let time = format!("{:6.1}s", since.as_secs_f64());
    let text = timeline::line(record);
    let text = match &record.outcome {
        Some(outcome) if timeline::is_kept(outcome) => out.tone(Tone::Good, &text),
        Some(_) => out.tone(Tone::Bad, &text),
        None => text,
    };
    out.line(&format!("{}  {text}", out.tone(Tone::Dim, &time)))?;
    out.json(record)?;
    Ok(())
}

/// Says what a transaction waits for, if that isn't a process of this boot, and how
/// a command ends that waits no longer.
fn waits(state: &State) -> Option<(String, Ended)> {
    let open = state.open()?;
    let hint = match &open.phase {
        Phase::AwaitingBoot { reboot: true } => {
            "The host reboots into the trial now. Connect again and see `backstop status`."
                .to_owned()
        }
        Phase::AwaitingBoot { reboot: false } => {
            let hint = "The next reboot tries it. Until then nothing changes.".to_owned();
            let refused = open.transaction.live_refused.is_some();
            return Some((hint, if refused { Ended::Staged } else { Ended::Done }));
        }
        Phase::Ready {
            postponed: Some(why),
        } => format!("It is staged and waits: {why}."),
        Phase::Trial(trial) if trial.healthy => {
            let within = open.transaction.request.confirm.within()?;
            format!(
                "It is healthy and waits for `backstop confirm`, at most {} s, over a new connection.",
                within.as_secs()
            )
        }
        _ => return None,
    };
    Some((hint, Ended::Done))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_record_is_not_waited_for_longer_than_it_takes() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(Arc::new(durable::RealFs), dir.path());
        assert_eq!(journal.size(), None);
        std::fs::write(journal.path(), "news").unwrap();
        assert_eq!(journal.size(), Some(4));
        let started = Instant::now();
        wait_for_more(&journal, None);
        let (looks, shortest) = (started.elapsed(), EVERY * ANYWAY);
        assert!(looks >= EVERY);
        wait_for_more(&journal, Some(4));
        assert!(started.elapsed() >= shortest, "no news, but read anyway");
    }
}
