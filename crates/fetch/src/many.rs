//! Several objects in one answer, from servers that can do that.
//!
//! `backstop repo serve` says in the header of what it sends how many it can be asked
//! for (`docs/formats/many-objects.md`). Nothing rests on such an answer: what it lacks,
//! or has wrong, is asked for alone, with all tries and mirrors.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Response, StatusCode, Url};

use crate::NetOptions;
use crate::answer::{ManyAnswer, ManyPart};
use crate::attempt::{Failure, Outcome, Pace, Sink, broken, prepared};
use crate::error::Trouble;

/// The header that says how many names a request may have.
const HEADER: &str = "backstop-many";
/// As many are asked for at most: so no thread is left without work for long.
const MOST: usize = 32;

/// How many objects may be asked for at once; 1 where the server says nothing of it.
pub(crate) fn offered(headers: &HeaderMap) -> usize {
    let offer = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let offer = offer.and_then(|text| text.parse().ok());
    offer.unwrap_or(1).clamp(1, MOST)
}

/// An answer that is being read.
pub(crate) struct Many {
    response: Response,
    pace: Pace,
    answer: ManyAnswer,
}

impl Many {
    /// Asks.
    pub(crate) async fn ask(client: &Client, url: &Url, net: &NetOptions) -> Result<Self, Failure> {
        let pace = Pace::new(net);
        let request = prepared(client, url, net);
        let response = pace.wait(request.send()).await?.map_err(broken)?;
        match response.status() {
            StatusCode::OK => Ok(Self {
                response,
                pace,
                answer: ManyAnswer::default(),
            }),
            other => Err(Failure::Never(Trouble::Status(other.as_u16()))),
        }
    }

    /// Reads the next object into its sink.
    pub(crate) async fn next(&mut self, sink: &mut dyn Sink) -> Result<Outcome, Failure> {
        loop {
            match self.part().await? {
                ManyPart::Absent => return Ok(Outcome::Absent),
                ManyPart::Begins(length) => sink.expect(length),
                ManyPart::Bytes(bytes) => sink.write(&bytes)?,
                ManyPart::Ends => {
                    sink.finish()?;
                    return Ok(Outcome::Complete);
                }
            }
        }
    }

    async fn part(&mut self) -> Result<ManyPart, Failure> {
        loop {
            if let Some(part) = self.answer.part() {
                return Ok(part);
            }
            let next = self.pace.wait(self.response.chunk()).await?;
            let cut =
                || Failure::Again(Trouble::Connection("it ended early".into()), Duration::ZERO);
            let piece = next.map_err(broken)?.ok_or_else(cut)?;
            self.pace.count(piece.len())?;
            self.answer.feed(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn offers() {
        let cases = [
            ("64", MOST),
            ("2", 2),
            ("1", 1),
            ("0", 1),
            ("-3", 1),
            ("many", 1),
            ("", 1),
            ("99999999999999999999999", 1),
        ];
        for (text, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_static(text));
            assert_eq!(offered(&headers), expected, "{text}");
        }
        assert_eq!(offered(&HeaderMap::new()), 1);
    }
}
