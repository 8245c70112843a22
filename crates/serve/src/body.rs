//! What is sent: a piece at a time, read when there is room for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::server::Activity;

/// How much is read at once.
const PIECE: u64 = 64 << 10;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Content {
    source: Option<File>,
    at: u64,
    end: u64,
    activity: Activity,
}

impl Content {
    /// Nothing.
    pub(crate) fn empty(activity: Activity) -> Self {
        Self {
            source: None,
            at: 0,
            end: 0,
            activity,
        }
    }

    /// The bytes from `at` up to `end`.
    pub(crate) fn of(file: File, at: u64, end: u64, activity: Activity) -> Self {
        Self {
            source: Some(file),
            at,
            end,
            activity,
        }
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = io::Error;

    // The files are small or in memory mostly, so a read here is cheaper than a
    // thread that does it.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.activity.note();
        let len = (self.end - self.at).min(PIECE);
        let Some(file) = self.source.as_ref().filter(|_| len > 0) else {
            return Poll::Ready(None);
        };
        let mut piece = vec![0; usize::try_from(len).unwrap_or(0)];
        if let Err(e) = file.read_exact_at(&mut piece, self.at) {
            // It became shorter: the client must notice that this is not all.
            return Poll::Ready(Some(Err(e)));
        }
        self.at += len;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none() || self.at == self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}
