//! Inflating what is in memory as a whole, by libdeflate: faster than what can go on where
//! it stopped.

use std::alloc::{Layout, handle_alloc_error};
use std::ptr::NonNull;

use libdeflate_sys::{
    libdeflate_alloc_decompressor, libdeflate_decompressor, libdeflate_deflate_decompress_ex,
    libdeflate_free_decompressor, libdeflate_result_LIBDEFLATE_SUCCESS as SUCCESS,
};

/// What its tables take, about, in bytes.
const ROOM: usize = 12 << 10;

/// Inflates one content after the other.
#[derive(Debug)]
pub struct Inflate {
    state: NonNull<libdeflate_decompressor>,
}

/// How much was read, and how much was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inflated {
    /// Bytes of the input up to the end of the deflated stream.
    pub read: usize,
    /// Bytes of the output.
    pub made: usize,
}

impl Inflate {
    /// Makes room for its tables, a few KiB.
    #[must_use]
    #[expect(unsafe_code, reason = "libdeflater does not tell where a stream ended")]
    pub fn new() -> Self {
        // SAFETY: it takes nothing, and answers with null or with what is ours to free.
        let state = unsafe { libdeflate_alloc_decompressor() };
        match NonNull::new(state) {
            Some(state) => Self { state },
            None => handle_alloc_error(Layout::new::<[u8; ROOM]>()),
        }
    }

    /// Inflates a whole raw deflate stream into `out`; `None` when the input is none, is
    /// cut, or makes more than `out` has room for. What `out` holds then is anything.
    #[expect(unsafe_code, reason = "libdeflater does not tell where a stream ended")]
    pub fn whole(&mut self, deflated: &[u8], out: &mut [u8]) -> Option<Inflated> {
        let (mut read, mut made) = (0, 0);
        // SAFETY: the state is alive until we are dropped, and used by nobody else (`&mut`).
        // Both lengths are those of their slices, and it reads and writes nothing else.
        let result = unsafe {
            libdeflate_deflate_decompress_ex(
                self.state.as_ptr(),
                deflated.as_ptr().cast(),
                deflated.len(),
                out.as_mut_ptr().cast(),
                out.len(),
                &raw mut read,
                &raw mut made,
            )
        };
        (result == SUCCESS).then_some(Inflated { read, made })
    }
}

impl Default for Inflate {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Inflate {
    #[expect(unsafe_code, reason = "libdeflater does not tell where a stream ended")]
    fn drop(&mut self) {
        // SAFETY: it came from libdeflate, and is freed once.
        unsafe { libdeflate_free_decompressor(self.state.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `hello hello hello`, by zlib at level 6.
    const WHOLE: [u8; 10] = *b"\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x90\x00";

    #[test]
    fn streams_end_where_they_end() {
        let mut inflate = Inflate::new();
        let longer = [&WHOLE[..], b"more"].concat();
        let mut out = [0; 64];
        for input in [&WHOLE[..], &longer] {
            let inflated = inflate.whole(input, &mut out).unwrap();
            assert_eq!((inflated.read, inflated.made), (WHOLE.len(), 17));
            assert_eq!(&out[..17], b"hello hello hello");
        }
    }

    #[test]
    fn nothing_comes_of_what_is_cut_too_long_or_no_stream() {
        let mut inflate = Inflate::new();
        for len in 0..WHOLE.len() {
            assert_eq!(inflate.whole(&WHOLE[..len], &mut [0; 64]), None, "{len}");
        }
        assert_eq!(inflate.whole(&WHOLE, &mut [0; 16]), None);
        assert_eq!(inflate.whole(&WHOLE, &mut []), None);
        assert_eq!(inflate.whole(&[0xff; 32], &mut [0; 64]), None);
    }
}
