//! The `Range` header: one range of bytes.

/// What of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// From the first of these to the second, which is not part of it.
    Of(u64, u64),
    /// Something that is not there.
    Outside,
}

/// Reads a `Range` header for a file of `len` bytes. What cannot be understood, and
/// several ranges at once, mean the whole file, as the standard allows.
pub(crate) fn part(header: &str, len: u64) -> Part {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|spec| spec.split_once('-'))
    else {
        return Part::Whole;
    };
    let number = |text: &str| match text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u64>().ok(),
        false => None,
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(first), _) if last.trim().is_empty() => between(first, len, len),
        (Some(first), Some(last)) if first <= last => {
            between(first, last.saturating_add(1).min(len), len)
        }
        (_, Some(count)) if first.trim().is_empty() => between(len.saturating_sub(count), len, len),
        _ => Part::Whole,
    }
}

fn between(first: u64, end: u64, len: u64) -> Part {
    match first < end && end <= len {
        true => Part::Of(first, end),
        false => Part::Outside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let cases = [
            ("bytes=0-", Part::Of(0, 10)),
            ("bytes=3-", Part::Of(3, 10)),
            ("bytes=3-3", Part::Of(3, 4)),
            ("bytes=3-99999999999999", Part::Of(3, 10)),
            ("bytes=-4", Part::Of(6, 10)),
            ("bytes=-40", Part::Of(0, 10)),
            ("bytes=10-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=18446744073709551615-", Part::Outside),
            ("bytes=5-2", Part::Whole),
            ("bytes=1-2,4-5", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("items=0-1", Part::Whole),
            ("bytes=99999999999999999999999-", Part::Whole),
        ];
        for (header, want) in cases {
            assert_eq!(part(header, 10), want, "{header}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Outside);
    }
}
