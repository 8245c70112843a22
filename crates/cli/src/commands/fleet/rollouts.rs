//! `backstop fleet rollouts`.

use durable::RealFs;
use fleet::rollout::{Story, list};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use super::rollouts_dir;
use crate::exit::Ended;
use crate::output::{Output, Table};

/// Runs the command.
pub fn run(out: &mut Output) -> anyhow::Result<Ended> {
    let dir = rollouts_dir()?;
    let mut table = Table::new(&["rollout", "begun", "hosts", "arrived", "state"]);
    let mut any = false;
    for id in list(&RealFs, &dir)? {
        let story = match Story::load(&RealFs, &dir, &id) {
            Ok(story) => story,
            Err(e) => {
                out.warn(&fleet::chain(&e));
                continue;
            }
        };
        any = true;
        let arrived = story.ends.iter().filter(|(_, end)| end.arrived()).count();
        let state = if story.finished {
            "finished"
        } else {
            "can be resumed"
        };
        out.json(&json!({
            "rollout": id, "begun": story.begun, "hosts": story.plan.hosts.len(),
            "arrived": arrived, "finished": story.finished,
        }))?;
        let hosts = story.plan.hosts.len().to_string();
        table.row(vec![
            id,
            when(story.begun),
            hosts,
            arrived.to_string(),
            state.to_owned(),
        ]);
    }
    if any {
        table.print(out)?;
    } else {
        out.line("No rollout yet.")?;
    }
    Ok(Ended::Done)
}

/// A time as local clocks show it.
fn when(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|s| Timestamp::from_second(s).ok());
    time.map_or_else(
        || "-".to_owned(),
        |time| {
            time.to_zoned(TimeZone::system())
                .strftime("%F %H:%M:%S")
                .to_string()
        },
    )
}
