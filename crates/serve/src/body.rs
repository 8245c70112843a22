//! What is sent: a piece at a time, read when there is room for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::many::Many;
use crate::server::Activity;

/// How much is read at once.
pub(crate) const PIECE: usize = 64 << 10;

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct Content {
    source: Source,
    activity: Activity,
}

/// Where it comes from.
#[derive(Debug)]
enum Source {
    Nothing,
    /// A file, from `at` up to `end`.
    Part {
        file: File,
        at: u64,
        end: u64,
    },
    Many(Many),
}

impl Content {
    /// Nothing.
    pub(crate) fn empty(activity: Activity) -> Self {
        Self {
            source: Source::Nothing,
            activity,
        }
    }

    /// The bytes from `at` up to `end`.
    pub(crate) fn of(file: File, at: u64, end: u64, activity: Activity) -> Self {
        Self {
            source: Source::Part { file, at, end },
            activity,
        }
    }

    /// Several objects.
    pub(crate) fn many(many: Many, activity: Activity) -> Self {
        Self {
            source: Source::Many(many),
            activity,
        }
    }
}

/// The next bytes of a file.
fn part(file: &File, at: &mut u64, end: u64) -> io::Result<Option<Bytes>> {
    let len = usize::try_from(end - *at).unwrap_or(PIECE).min(PIECE);
    if len == 0 {
        return Ok(None);
    }
    let mut piece = vec![0; len];
    // It became shorter: the client must notice that this is not all.
    file.read_exact_at(&mut piece, *at)?;
    *at += len as u64;
    Ok(Some(piece.into()))
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
        let piece = match &mut self.source {
            Source::Nothing => Ok(None),
            Source::Part { file, at, end } => part(file, at, *end),
            Source::Many(many) => many.piece(),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Part { at, end, .. } => at == end,
            Source::Many(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Part { at, end, .. } => SizeHint::with_exact(end - at),
            Source::Many(_) => SizeHint::default(),
        }
    }
}
