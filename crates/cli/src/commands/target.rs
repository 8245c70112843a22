//! `backstop target`: the host's end of a deployer's connection.

use std::sync::Arc;

use durable::{Fs, RealFs};

use crate::exit::Ended;

/// Runs the command.
pub fn run() -> anyhow::Result<Ended> {
    let fs: Arc<dyn Fs> = Arc::new(RealFs);
    fleet::target::serve(&fs, std::io::stdin(), Box::new(std::io::stdout()))?;
    Ok(Ended::Done)
}
