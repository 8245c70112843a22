//! Who tells the story.

/// Told the story as it happens; the caller decides where it goes.
pub trait Narrator {
    /// A new part begins.
    fn chapter(&self, title: &str);
    /// A sentence about what comes or came.
    fn say(&self, text: &str);
    /// A command, as a person would type it, that runs now.
    fn command(&self, line: &str);
    /// A line that the command printed.
    fn output(&self, line: &str);
}
