//! From bytes to values.

use super::{Layout, Malformed, Result, align_up, offset_size, offset_size_of};

/// Checks that the bytes from `from` to `to` are there and zero.
fn check_padding(bytes: &[u8], from: usize, to: usize) -> Result<()> {
    let gap = bytes.get(from..to).ok_or(Malformed::Cut)?;
    if gap.iter().any(|b| *b != 0) {
        return Err(Malformed::Padding);
    }
    Ok(())
}

/// The framing offset at `at`, `size` bytes wide.
fn offset_at(bytes: &[u8], at: usize, size: usize) -> Result<usize> {
    let raw = bytes.get(at..at + size).ok_or(Malformed::Offset)?;
    let mut wide = [0u8; 8];
    wide[..size].copy_from_slice(raw);
    usize::try_from(u64::from_le_bytes(wide)).map_err(|_| Malformed::Offset)
}

/// Splits a tuple (or a dictionary entry) into its members.
///
/// # Errors
/// Where the bytes are not in normal form.
pub fn tuple<const N: usize>(bytes: &[u8], members: [Layout; N]) -> Result<[&[u8]; N]> {
    let mut found = [bytes; N];
    tuple_into(bytes, &members, |i, member| found[i] = member)?;
    Ok(found)
}

/// Splits a tuple, calling `found` with each member's index and bytes.
pub(super) fn tuple_into<'a>(
    bytes: &'a [u8],
    members: &[Layout],
    mut found: impl FnMut(usize, &'a [u8]),
) -> Result<()> {
    let last = members.len().saturating_sub(1);
    let count = members[..last].iter().filter(|m| m.fixed.is_none()).count();
    let size = offset_size_of(bytes.len());
    let table = count
        .checked_mul(size)
        .and_then(|len| bytes.len().checked_sub(len))
        .ok_or(Malformed::Offset)?;
    let (mut pos, mut next_offset) = (0, bytes.len());
    for (i, member) in members.iter().enumerate() {
        let start = align_up(pos, member.align);
        check_padding(bytes, pos, start)?;
        let end = match member.fixed {
            Some(len) => start.checked_add(len).ok_or(Malformed::Length)?,
            None if i == last => table,
            None => {
                next_offset -= size;
                offset_at(bytes, next_offset, size)?
            }
        };
        if end < start || end > table {
            return Err(Malformed::Offset);
        }
        found(i, &bytes[start..end]);
        pos = end;
    }
    check_tuple_end(bytes, members, pos, table, count)
}

/// Checks what follows the last member, and the width of the offsets.
fn check_tuple_end(
    bytes: &[u8],
    members: &[Layout],
    end: usize,
    table: usize,
    count: usize,
) -> Result<()> {
    if members.iter().all(|m| m.fixed.is_some()) {
        let align = members.iter().map(|m| m.align).max().unwrap_or(1);
        // A tuple without members is one zero byte.
        let padded = align_up(end, align).max(1);
        check_padding(bytes, end, padded)?;
        return if padded == bytes.len() {
            Ok(())
        } else {
            Err(Malformed::Length)
        };
    }
    if end != table {
        return Err(Malformed::Offset);
    }
    if count > 0 && offset_size(table, count) != offset_size_of(bytes.len()) {
        return Err(Malformed::OffsetSize);
    }
    Ok(())
}

/// Splits an array into its elements.
///
/// # Errors
/// Where the bytes are not in normal form.
pub fn array(bytes: &[u8], element: Layout) -> Result<Vec<&[u8]>> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(len) = element.fixed {
        let chunks = bytes.chunks_exact(len);
        if !chunks.remainder().is_empty() {
            return Err(Malformed::Length);
        }
        return Ok(chunks.collect());
    }
    let size = offset_size_of(bytes.len());
    let at = bytes.len().checked_sub(size).ok_or(Malformed::Offset)?;
    let table = offset_at(bytes, at, size)?;
    let table_len = bytes.len().checked_sub(table).ok_or(Malformed::Offset)?;
    let count = table_len / size;
    if count == 0 || count * size != table_len {
        return Err(Malformed::Offset);
    }
    if offset_size(table, count) != size {
        return Err(Malformed::OffsetSize);
    }
    elements(bytes, element.align, table, size, count)
}

/// The elements before `table`, each ending where its offset says.
fn elements(
    bytes: &[u8],
    align: usize,
    table: usize,
    size: usize,
    count: usize,
) -> Result<Vec<&[u8]>> {
    let mut found = Vec::with_capacity(count);
    let mut pos = 0;
    for i in 0..count {
        let start = align_up(pos, align);
        let end = offset_at(bytes, table + i * size, size)?;
        if end < start || end > table {
            return Err(Malformed::Offset);
        }
        check_padding(bytes, pos, start)?;
        found.push(&bytes[start..end]);
        pos = end;
    }
    Ok(found)
}

/// Text without its NUL.
///
/// # Errors
/// Unless it is UTF-8 with one NUL, at its end.
pub fn text(bytes: &[u8]) -> Result<&str> {
    match bytes.split_last() {
        Some((0, text)) if !text.contains(&0) => {
            std::str::from_utf8(text).map_err(|_| Malformed::Text)
        }
        _ => Err(Malformed::Text),
    }
}

/// A byte string of the `ay` kind that ends with its only NUL, without it.
///
/// # Errors
/// Unless it has one NUL, at its end.
pub fn bytes(bytes: &[u8]) -> Result<&[u8]> {
    match bytes.split_last() {
        Some((0, text)) if !text.contains(&0) => Ok(text),
        _ => Err(Malformed::Text),
    }
}

/// A boolean.
///
/// # Errors
/// Unless it is one byte, 0 or 1.
pub fn boolean(bytes: &[u8]) -> Result<bool> {
    match bytes {
        [0] => Ok(false),
        [1] => Ok(true),
        [_] => Err(Malformed::Boolean),
        _ => Err(Malformed::Length),
    }
}

/// A `u` holding a big-endian number, as OSTree stores them.
///
/// # Errors
/// Unless it is four bytes.
pub fn u32_be(bytes: &[u8]) -> Result<u32> {
    let raw = bytes.try_into().map_err(|_| Malformed::Length)?;
    Ok(u32::from_be_bytes(raw))
}

/// A `t` holding a big-endian number, as OSTree stores them.
///
/// # Errors
/// Unless it is eight bytes.
pub fn u64_be(bytes: &[u8]) -> Result<u64> {
    let raw = bytes.try_into().map_err(|_| Malformed::Length)?;
    Ok(u64::from_be_bytes(raw))
}
