//! Where a message's body ends: decided once from a response's head, then followed byte by byte.
//!
//! Owns RFC 9112 sections 6 and 7 for what endpoints send. Refuses every head that can be framed in
//! two ways, and every byte of the chunked coding that is not exactly where it belongs: the bytes in
//! between would be a response that nobody asked for (H13). A bare LF ends a line of trailers, as
//! RFC 9112 section 2.2 allows; nothing of them reaches the next hop as it came.

use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{StatusCode, Version};

/// The end of a response's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Chunks and trailers.
    Chunked(Chunked),
    /// This many bytes more.
    Length(u64),
    /// Whatever comes before the connection ends.
    UntilClose,
}

/// What cannot be read in exactly one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl Framing {
    /// The one framing of a response (RFC 9112 section 6.3), which must be unmistakable even where
    /// the answer has no body: another hop may read it.
    pub(super) fn of_response(
        version: Version,
        status: StatusCode,
        to_head: bool,
        headers: &HeaderMap,
    ) -> Result<Self, Malformed> {
        let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
        let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
        let framing = match (encodings.next(), lengths.next()) {
            (None, None) => Self::UntilClose,
            // RFC 9112 section 6.1: HTTP/1.0 has no transfer codings.
            (Some(encoding), None)
                if version != Version::HTTP_10
                    && encoding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
            {
                Self::Chunked(Chunked::new())
            }
            (None, Some(length)) => Self::Length(number(length).ok_or(Malformed)?),
            (Some(_), _) => return Err(Malformed),
        };
        if encodings.next().is_some() || lengths.next().is_some() {
            return Err(Malformed);
        }
        let none = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        Ok(if none { Self::Length(0) } else { framing })
    }
}

/// Digits alone: a sign, a list or white space is another reading.
fn number(value: &HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// How far a chunked body has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunked(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At a chunk's size.
    Size,
    /// Within a chunk, this many bytes before its end.
    Data(u64),
    /// At the line end behind a chunk.
    DataEnd,
    /// Behind the last chunk.
    Trailers,
    /// Behind it all.
    End,
}

/// What stands next in a chunked body.
#[derive(Debug)]
pub(super) enum Piece {
    /// This many bytes of the input are data.
    Data(usize),
    /// The body has ended; so many bytes of the input belonged to it.
    End(Option<HeaderMap>),
    /// More input is needed.
    More,
}

/// A size of 16 hexadecimal digits, and what extensions are worth: none is known to be in use.
const LONGEST_SIZE_LINE: usize = 256;

/// Trailers: a checksum, a status, a signature.
const LONGEST_TRAILERS: usize = 8 * 1024;

const MOST_TRAILERS: usize = 32;

impl Chunked {
    const fn new() -> Self {
        Self(Place::Size)
    }

    /// Whether the body has ended.
    pub(super) fn is_at_end(self) -> bool {
        self.0 == Place::End
    }

    /// Reads framing from the start of `input` up to the next data; says how much it has read, and
    /// what comes then.
    pub(super) fn read(&mut self, input: &[u8]) -> Result<(usize, Piece), Malformed> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            match self.0 {
                Place::Size => {
                    let Some((line, size)) = size_line(rest)? else {
                        return Ok((used, Piece::More));
                    };
                    used += line;
                    self.0 = if size == 0 { Place::Trailers } else { Place::Data(size) };
                }
                Place::Data(left) => {
                    let here = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    if here == 0 {
                        return Ok((used, Piece::More));
                    }
                    let left = left - here as u64;
                    self.0 = if left == 0 { Place::DataEnd } else { Place::Data(left) };
                    return Ok((used, Piece::Data(here)));
                }
                Place::DataEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.0 = Place::Size;
                    }
                    [] | [b'\r'] => return Ok((used, Piece::More)),
                    [_, ..] => return Err(Malformed),
                },
                Place::Trailers => {
                    let Some((size, trailers)) = trailers(rest)? else {
                        return Ok((used, Piece::More));
                    };
                    self.0 = Place::End;
                    return Ok((used + size, Piece::End(trailers)));
                }
                Place::End => return Ok((used, Piece::End(None))),
            }
        }
    }
}

/// A chunk's size with its line (RFC 9112 section 7.1).
fn size_line(input: &[u8]) -> Result<Option<(usize, u64)>, Malformed> {
    // httparse takes a line without any digit for a zero, and a bare LF for part of an extension:
    // a reader that ends the line there sees other chunks.
    if input.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return Err(Malformed);
    }
    match httparse::parse_chunk_size(input) {
        Ok(httparse::Status::Complete((line, size)))
            if line <= LONGEST_SIZE_LINE
                && input.iter().take(line).filter(|byte| **byte == b'\n').count() == 1 =>
        {
            Ok(Some((line, size)))
        }
        Ok(httparse::Status::Partial) if input.len() < LONGEST_SIZE_LINE => Ok(None),
        Ok(_) | Err(_) => Err(Malformed),
    }
}

/// The trailer section with the empty line that ends it; none where it is empty.
fn trailers(input: &[u8]) -> Result<Option<(usize, Option<HeaderMap>)>, Malformed> {
    let mut lines = [httparse::EMPTY_HEADER; MOST_TRAILERS];
    match httparse::parse_headers(input, &mut lines) {
        Ok(httparse::Status::Complete((size, _))) if size > LONGEST_TRAILERS => Err(Malformed),
        Ok(httparse::Status::Complete((size, []))) => Ok(Some((size, None))),
        Ok(httparse::Status::Complete((size, lines))) => {
            let mut map = HeaderMap::with_capacity(lines.len());
            for line in lines {
                let name = header::HeaderName::from_bytes(line.name.as_bytes());
                let value = HeaderValue::from_bytes(line.value);
                map.append(name.map_err(|_| Malformed)?, value.map_err(|_| Malformed)?);
            }
            Ok(Some((size, Some(map))))
        }
        Ok(httparse::Status::Partial) if input.len() < LONGEST_TRAILERS => Ok(None),
        Ok(httparse::Status::Partial) | Err(_) => Err(Malformed),
    }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
