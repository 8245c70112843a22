//! Durations as people write them.

use std::time::Duration;

/// Reads `90s`, `5m`, `2h`, or a plain number of seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((i, 's')) => (&text[..i], 1),
        Some((i, 'm')) => (&text[..i], 60),
        Some((i, 'h')) => (&text[..i], 3600),
        _ => (text, 1),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| format!("`{text}` is no duration: write 90s, 5m or 2h"))?;
    number
        .checked_mul(factor)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("`{text}` is too long"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let seconds = |text| parse(text).map(|d| d.as_secs()).ok();
        for (text, expected) in [
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("2h", Some(7200)),
            ("45", Some(45)),
            ("", None),
            ("m", None),
            ("5d", None),
            ("-1s", None),
            ("99999999999999999h", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
