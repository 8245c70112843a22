//! Numbers in operations: seven bits a byte, the lowest first; the top bit says
//! that more follow.

/// Appends a number.
pub(super) fn write(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Takes a number off the front; `None` where there is none that fits 64 bits.
pub(super) fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7f);
        if shift == 63 && part > 1 {
            return None;
        }
        n |= part << shift;
        if byte & 0x80 == 0 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways() {
        for n in [0, 1, 127, 128, 300, 1 << 32, u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            write(&mut bytes, n);
            bytes.push(9);
            let mut rest = bytes.as_slice();
            assert_eq!(read(&mut rest), Some(n));
            assert_eq!(rest, [9]);
        }
        let mut bytes = Vec::new();
        write(&mut bytes, 300);
        assert_eq!(bytes, [0xac, 0x02]);
    }

    #[test]
    fn refused() {
        let too_large = [0xff; 9].iter().chain(&[0x02]).copied().collect::<Vec<_>>();
        for bad in [&[][..], &[0x80], &[0xff; 11], &too_large] {
            assert_eq!(read(&mut &*bad), None, "{bad:?}");
        }
    }
}
