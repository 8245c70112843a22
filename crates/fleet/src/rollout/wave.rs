//! The sizes of waves.

use std::str::FromStr;

use serde::{Deserialize, Deserializer};

/// How many hosts a wave has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaveSize {
    /// So many.
    Hosts(usize),
    /// So many of a hundred of all, rounded up.
    Percent(u8),
    /// All that are left.
    Rest,
}

impl FromStr for WaveSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no wave: give a number, \"10%\" or \"rest\"");
        if text == "rest" {
            return Ok(Self::Rest);
        }
        let size = match text.strip_suffix('%') {
            Some(percent) => percent.parse().map(Self::Percent).ok(),
            None => text.parse().map(Self::Hosts).ok(),
        };
        match size {
            Some(Self::Hosts(1..) | Self::Percent(1..=100)) => size.ok_or_else(bad),
            _ => Err(bad()),
        }
    }
}

impl<'de> Deserialize<'de> for WaveSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Size;
        impl serde::de::Visitor<'_> for Size {
            type Value = WaveSize;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of hosts, \"10%\" or \"rest\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<WaveSize, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_i64<E: serde::de::Error>(self, hosts: i64) -> Result<WaveSize, E> {
                hosts.to_string().parse().map_err(E::custom)
            }
        }
        d.deserialize_any(Size)
    }
}

/// The wave of each of `hosts` hosts, in order. The last size is repeated.
#[must_use]
pub fn waves(sizes: &[WaveSize], hosts: usize) -> Vec<usize> {
    let mut all = Vec::with_capacity(hosts);
    let mut wave = 0;
    while all.len() < hosts {
        let size = sizes.get(wave).or(sizes.last()).unwrap_or(&WaveSize::Rest);
        let left = hosts - all.len();
        let size = match *size {
            WaveSize::Hosts(n) => n,
            WaveSize::Percent(p) => (hosts * usize::from(p)).div_ceil(100),
            WaveSize::Rest => left,
        };
        all.extend(std::iter::repeat_n(wave, size.clamp(1, left)));
        wave += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let table: &[(&[&str], usize, &[usize])] = &[
            (&["1", "10", "rest"], 100, &[1, 10, 89]),
            (&["1", "30%"], 10, &[1, 3, 3, 3]),
            (&["25%"], 10, &[3, 3, 3, 1]),
            (&["5"], 3, &[3]),
            (&["rest"], 4, &[4]),
            (&[], 2, &[2]),
            (&["1"], 0, &[]),
            (&["1%"], 3, &[1, 1, 1]),
        ];
        for (sizes, hosts, expected) in table {
            let parsed: Vec<WaveSize> = sizes.iter().map(|s| s.parse().unwrap()).collect();
            let all = waves(&parsed, *hosts);
            let count = |wave| all.iter().filter(|w| **w == wave).count();
            let counted: Vec<usize> = (0..expected.len()).map(count).collect();
            assert_eq!(counted, *expected, "{sizes:?} of {hosts}");
            assert_eq!(all.len(), *hosts);
        }
    }

    #[test]
    fn what_is_no_size() {
        for text in ["0", "0%", "101%", "-1", "half", "", "%"] {
            assert!(text.parse::<WaveSize>().is_err(), "{text}");
        }
    }
}
