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
    Part(Part),
    Many(Many),
}

/// Bytes of a file that are still to be sent.
#[derive(Debug)]
pub(crate) struct Part {
    file: File,
    at: u64,
    end: u64,
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
            source: Source::Part(Part::new(file, at, end)),
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

impl Part {
    /// From `at` up to `end`.
    pub(crate) fn new(file: File, at: u64, end: u64) -> Self {
        Self { file, at, end }
    }

    /// Whether all of it was read.
    pub(crate) fn is_over(&self) -> bool {
        self.at == self.end
    }

    /// Reads on, as far as there is room in the piece.
    ///
    /// # Errors
    /// The disk's; it became shorter. The client must notice that this is not all.
    pub(crate) fn fill(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        let room = PIECE.saturating_sub(piece.len());
        let len = usize::try_from(self.end - self.at).map_or(room, |left| left.min(room));
        let from = piece.len();
        piece.resize(from + len, 0);
        self.file.read_exact_at(&mut piece[from..], self.at)?;
        self.at += len as u64;
        Ok(())
    }

    /// The next bytes; `None` at the end.
    fn piece(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::new();
        self.fill(&mut piece)?;
        Ok((!piece.is_empty()).then(|| piece.into()))
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
        let piece = match &mut self.source {
            Source::Nothing => Ok(None),
            Source::Part(part) => part.piece(),
            Source::Many(many) => many.piece(),
        };
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)).transpose())
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Part(part) => part.is_over(),
            Source::Many(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Part(part) => SizeHint::with_exact(part.end - part.at),
            Source::Many(_) => SizeHint::default(),
        }
    }
}
