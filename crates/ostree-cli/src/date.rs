//! Times as people write them, and as `ostree` prints them.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

use crate::fail;

/// A time as `log` and `show` print it.
#[must_use]
pub fn shown(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    match Timestamp::from_second(seconds) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000").to_string(),
        Err(_) => format!("{seconds} seconds after 1970"),
    }
}

/// A time as `date` prints it, with the name of the day.
#[must_use]
pub fn shown_long(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|s| Timestamp::from_second(s).ok());
    match time {
        Some(time) => time.strftime("%a %b %e %H:%M:%S %Y").to_string(),
        None => format!("{seconds} seconds after 1970"),
    }
}

/// A time as summaries are shown with.
#[must_use]
pub fn shown_iso(seconds: u64) -> String {
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|s| Timestamp::from_second(s).ok());
    match time {
        Some(time) => time.strftime("%Y-%m-%dT%H:%M:%S+00").to_string(),
        None => seconds.to_string(),
    }
}

/// Reads a time: `@SECONDS`, a date with or without time and zone, `now`,
/// `yesterday`, or a span before now (`1 hour ago`, `5 days`).
///
/// # Errors
/// That it is none of these.
pub fn parse(text: &str) -> anyhow::Result<i64> {
    let now = Zoned::now();
    match absolute(text, &now).or_else(|| relative(text, &now)) {
        Some(seconds) => Ok(seconds),
        None => fail(format!("Could not parse '{text}'")),
    }
}

fn absolute(text: &str, now: &Zoned) -> Option<i64> {
    let text = text.trim();
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time.as_second());
    }
    for format in [
        "%Y-%m-%d %H:%M:%S %z",
        "%Y-%m-%d %H:%M %z",
        "%a, %d %b %Y %H:%M:%S %z",
    ] {
        if let Ok(time) = jiff::fmt::strtime::parse(format, text).and_then(|t| t.to_timestamp()) {
            return Some(time.as_second());
        }
    }
    let (local, zone) = match text.strip_suffix(" UTC").or(text.strip_suffix(" GMT")) {
        Some(local) => (local, TimeZone::UTC),
        None => (text, now.time_zone().clone()),
    };
    let civil = local.parse::<DateTime>().or_else(|_| {
        let parts: Vec<&str> = local.split_whitespace().collect();
        parts.join("T").parse::<DateTime>()
    });
    if let Ok(time) = civil.and_then(|c| c.to_zoned(zone.clone())) {
        return Some(time.timestamp().as_second());
    }
    // A day, by the name of its month.
    let day = jiff::fmt::strtime::parse("%B %d %Y", text).and_then(|t| t.to_date());
    if let Ok(time) = day.and_then(|d| d.to_zoned(now.time_zone().clone())) {
        return Some(time.timestamp().as_second());
    }
    // As `date` prints it.
    for format in [
        "%a %b %d %H:%M:%S UTC %Y",
        "%a %d %b %Y %I:%M:%S %p UTC",
        "%a %b %d %I:%M:%S %p UTC %Y",
    ] {
        let spaced: Vec<&str> = text.split_whitespace().collect();
        let parsed = jiff::fmt::strtime::parse(format, spaced.join(" "));
        if let Ok(time) = parsed
            .and_then(|t| t.to_datetime())
            .and_then(|c| c.to_zoned(TimeZone::UTC))
        {
            return Some(time.timestamp().as_second());
        }
    }
    None
}

fn relative(text: &str, now: &Zoned) -> Option<i64> {
    let mut span = Span::new();
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["now" | "today"] => {}
        ["yesterday"] => span = span.days(-1),
        ["tomorrow"] => span = span.days(1),
        _ => {
            let (ago, words) = match words.split_last() {
                Some((&"ago", rest)) => (true, rest),
                _ => (false, words.as_slice()),
            };
            let [count, unit] = words else { return None };
            let count: i64 = count.parse().ok()?;
            let count = if ago { count.checked_neg()? } else { count };
            span = match unit.trim_end_matches('s') {
                "second" | "sec" => span.try_seconds(count),
                "minute" | "min" => span.try_minutes(count),
                "hour" => span.try_hours(count),
                "day" => span.try_days(count),
                "week" => span.try_weeks(count),
                "month" => span.try_months(count),
                "year" => span.try_years(count),
                _ => return None,
            }
            .ok()?;
        }
    }
    Some(now.checked_add(span).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_times() {
        for text in [
            "@1130589809",
            "2005-10-29 12:43:29 +0000",
            "2005-10-29T12:43:29Z",
            "2005-10-29 14:43:29 +0200",
            "2005-10-29 12:43:29 UTC",
            "Sat Oct 29 12:43:29 UTC 2005",
        ] {
            assert_eq!(parse(text).unwrap(), 1_130_589_809, "{text}");
        }
        assert!(parse("October 25 1985").is_ok());
        assert!(parse("no time").is_err());
        assert_eq!(shown(1_130_589_809), "2005-10-29 12:43:29 +0000");
    }

    #[test]
    fn relative_times() {
        let now = Timestamp::now().as_second();
        for (text, offset) in [
            ("now", 0),
            ("1 hour ago", -3600),
            ("2 minutes", 120),
            ("5 secs ago", -5),
        ] {
            let found = parse(text).unwrap();
            assert!((found - now - offset).abs() <= 2, "{text}: {found}");
        }
    }
}
