//! Times of the week in which a reboot is welcome.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Time, Weekday};
use jiff::{ToSpan, Zoned};

/// A time of the week by the local clock: `Sat,Sun 02:00-04:00`,
/// `Mon-Fri 22:00-02:00`, or `03:00-04:00` for every day. One that ends before
/// it begins goes on into the next day, and belongs to the day it begins on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    days: [bool; 7],
    start: Time,
    /// `None` is midnight at the end of the day.
    end: Option<Time>,
}

/// What is wrong with a window, for the person who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no window, such as \"Sat,Sun 02:00-04:00\" or \"Mon-Fri 22:00-02:00\": {what}"
)]
pub struct BadWindow {
    text: String,
    what: &'static str,
}

impl Window {
    /// Whether it is open at a time.
    #[must_use]
    pub fn contains(&self, now: &Zoned) -> bool {
        let day = self.on(now.weekday());
        let day_before = self.on(now.weekday().previous());
        let time = now.time();
        match self.end {
            None => day && time >= self.start,
            Some(end) if end > self.start => day && (self.start..end).contains(&time),
            Some(end) => (day && time >= self.start) || (day_before && time < end),
        }
    }

    /// When it next opens, after a time at which it is closed. `None` when that
    /// is not within the next weeks, or beyond the calendar's end.
    #[must_use]
    pub fn opens_after(&self, now: &Zoned) -> Option<Zoned> {
        let opening = |days: i64| {
            let date = now.date().checked_add(days.days()).ok()?;
            let opens = first_instant(now, date.to_datetime(self.start))?;
            // A night in which the clock jumps over the whole window has none.
            (opens > *now && self.contains(&opens)).then_some(opens)
        };
        (0..=21).find_map(opening)
    }

    fn on(&self, day: Weekday) -> bool {
        usize::try_from(day.to_monday_zero_offset()).is_ok_and(|day| self.days[day])
    }
}

/// The first instant at which local clocks show a time, or, in a night in which
/// they jump over it, the instant of the jump.
fn first_instant(near: &Zoned, wall: jiff::civil::DateTime) -> Option<Zoned> {
    let zone = near.time_zone();
    let ambiguous = zone.to_ambiguous_zoned(wall);
    if !matches!(ambiguous.offset(), jiff::tz::AmbiguousOffset::Gap { .. }) {
        return ambiguous.compatible().ok();
    }
    let before = ambiguous.earlier().ok()?.timestamp();
    let jump = zone.following(before).next()?;
    Some(jump.timestamp().to_zoned(zone.clone()))
}

impl FromStr for Window {
    type Err = BadWindow;

    fn from_str(text: &str) -> Result<Self, BadWindow> {
        let bad = |what| BadWindow {
            text: text.to_owned(),
            what,
        };
        let words: Vec<_> = text.split_ascii_whitespace().collect();
        let (days, times) = match words[..] {
            [times] => ([true; 7], times),
            [days, times] => (parse_days(days).map_err(bad)?, times),
            _ => return Err(bad("days and times are wanted, with one space between")),
        };
        let (start, end) = times
            .split_once('-')
            .ok_or_else(|| bad("a `-` is missing"))?;
        let start = parse_time(start).ok_or_else(|| bad("the start is no time"))?;
        let end = match end {
            "24:00" => None,
            end => Some(parse_time(end).ok_or_else(|| bad("the end is no time"))?),
        };
        if end == Some(start) {
            return Err(bad("it is empty; a whole day is 00:00-24:00"));
        }
        Ok(Self { days, start, end })
    }
}

/// `HH:MM`.
fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let digits = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(hour) || !digits(minute) {
        return None;
    }
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

/// `Sat,Sun` or `Mon-Fri`, also mixed.
fn parse_days(text: &str) -> Result<[bool; 7], &'static str> {
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let unknown = "days are Mon, Tue, Wed, Thu, Fri, Sat and Sun";
        let mut day = parse_day(first).ok_or(unknown)?;
        let last = parse_day(last).ok_or(unknown)?;
        days[day] = true;
        while day != last {
            day = (day + 1) % 7;
            days[day] = true;
        }
    }
    Ok(days)
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

fn parse_day(text: &str) -> Option<usize> {
    DAYS.iter().position(|day| day.eq_ignore_ascii_case(text))
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != [true; 7] {
            let on = DAYS.iter().zip(self.days).filter(|(_, on)| *on);
            let days: Vec<_> = on.map(|(day, _)| *day).collect();
            write!(f, "{} ", days.join(","))?;
        }
        write!(f, "{:02}:{:02}-", self.start.hour(), self.start.minute())?;
        match self.end {
            Some(end) => write!(f, "{:02}:{:02}", end.hour(), end.minute()),
            None => f.write_str("24:00"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(text: &str) -> Window {
        text.parse().unwrap()
    }

    fn zoned(text: &str) -> Zoned {
        text.parse().unwrap()
    }

    #[test]
    fn windows_are_read_and_written() {
        let table = [
            ("Sat,Sun 02:00-04:00", "Sat,Sun 02:00-04:00"),
            ("mon-wed 22:00-02:00", "Mon,Tue,Wed 22:00-02:00"),
            ("Sat-Mon 00:00-24:00", "Mon,Sat,Sun 00:00-24:00"),
            ("03:00-04:30", "03:00-04:30"),
            (
                "Mon-Sun 03:00-04:30",
                "Mon,Tue,Wed,Thu,Fri,Sat,Sun 03:00-04:30",
            ),
        ];
        for (text, wanted) in table {
            let wanted = wanted
                .strip_prefix("Mon,Tue,Wed,Thu,Fri,Sat,Sun ")
                .unwrap_or(wanted);
            assert_eq!(window(text).to_string(), wanted);
        }
    }

    #[test]
    fn bad_windows_are_answered_with_what_is_wrong() {
        let table = [
            ("", "days and times"),
            ("Sat 02:00", "`-` is missing"),
            ("Sat 2:00-4:00", "start is no time"),
            ("Sat 02:00-25:00", "end is no time"),
            ("Samstag 02:00-04:00", "days are"),
            ("Sat 02:00-02:00", "empty"),
            ("Sat  Sun 02:00-04:00", "days and times"),
        ];
        for (text, wanted) in table {
            let message = text.parse::<Window>().unwrap_err().to_string();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn windows_open_and_close_by_the_local_clock() {
        // 2026-11-21 is a Saturday.
        let table = [
            (
                "Sat,Sun 02:00-04:00",
                "2026-11-21T02:00[Europe/Berlin]",
                true,
            ),
            (
                "Sat,Sun 02:00-04:00",
                "2026-11-21T03:59:59[Europe/Berlin]",
                true,
            ),
            (
                "Sat,Sun 02:00-04:00",
                "2026-11-21T04:00[Europe/Berlin]",
                false,
            ),
            (
                "Sat,Sun 02:00-04:00",
                "2026-11-20T03:00[Europe/Berlin]",
                false,
            ),
            ("Fri 22:00-02:00", "2026-11-21T01:59[Europe/Berlin]", true),
            ("Fri 22:00-02:00", "2026-11-20T01:59[Europe/Berlin]", false),
            ("Sat 22:00-24:00", "2026-11-21T23:59[Europe/Berlin]", true),
            ("Sat 22:00-24:00", "2026-11-22T00:00[Europe/Berlin]", false),
        ];
        for (text, now, open) in table {
            assert_eq!(window(text).contains(&zoned(now)), open, "{text} at {now}");
        }
    }

    #[test]
    fn the_next_opening_is_found_across_weeks_and_clock_changes() {
        let table = [
            (
                "Sat 02:00-04:00",
                "2026-11-21T04:00+01[Europe/Berlin]",
                "2026-11-28T02:00+01",
            ),
            (
                "02:00-04:00",
                "2026-11-21T04:00+01[Europe/Berlin]",
                "2026-11-22T02:00+01",
            ),
            // The clock jumps from 02:00 to 03:00: open from the jump on.
            (
                "02:30-04:00",
                "2026-03-29T01:00+01[Europe/Berlin]",
                "2026-03-29T03:00+02",
            ),
            // It jumps over the whole window: the next night.
            (
                "02:00-03:00",
                "2026-03-29T01:00+01[Europe/Berlin]",
                "2026-03-30T02:00+02",
            ),
            // 02:30 comes twice: at the first.
            (
                "02:30-02:45",
                "2026-10-25T01:00+02[Europe/Berlin]",
                "2026-10-25T02:30+02",
            ),
        ];
        for (text, now, opens) in table {
            let found = window(text).opens_after(&zoned(now)).unwrap();
            let opens: jiff::Timestamp = opens.parse().unwrap();
            assert_eq!(found.timestamp(), opens, "{text} after {now}");
        }
    }

    proptest! {
        #[test]
        fn an_opening_is_the_first_open_instant(
            days in prop::sample::subsequence(DAYS.to_vec(), 1..7),
            start in 0u32..1440,
            len in 1u32..1440,
            hours in 0i64..(24 * 366),
        ) {
            let end = (start + len) % 1440;
            let hm = |m: u32| format!("{:02}:{:02}", m / 60, m % 60);
            let window = window(&format!("{} {}-{}", days.join(","), hm(start), hm(end)));
            let base = zoned("2026-01-01T00:00[America/New_York]");
            let now = base.checked_add(hours.hours()).unwrap();
            prop_assume!(!window.contains(&now));
            let opens = window.opens_after(&now).unwrap();
            prop_assert!(opens > now && window.contains(&opens));
            // Closed all the way until then, looked at every minute.
            let mut at = now.clone();
            while at < opens {
                prop_assert!(!window.contains(&at), "open at {at}, said {opens}");
                at = at.checked_add(1.minutes()).unwrap();
            }
        }
    }
}
