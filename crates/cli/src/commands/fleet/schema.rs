//! `backstop fleet schema`.

use crate::exit::Ended;
use crate::output::Output;

/// Runs the command.
pub fn run(out: &mut Output) -> anyhow::Result<Ended> {
    let mut text = serde_json::to_string_pretty(&fleet::config::schema())?;
    text.push('\n');
    out.bytes(text.as_bytes())?;
    Ok(Ended::Done)
}
