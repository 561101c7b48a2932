//! Every way to say where a body ends, and the one that counts.

use hyper::header::HeaderName;
use proptest::prelude::*;

use super::*;

fn of(lines: &[(&'static str, &'static str)]) -> Result<Framing, Malformed> {
    let map = lines
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    Framing::of_response(Version::HTTP_11, StatusCode::OK, false, &map)
}

#[test]
fn framing_has_one_reading() {
    let chunked = Framing::Chunked(Chunked::new());
    assert_eq!(of(&[]), Ok(Framing::UntilClose));
    assert_eq!(of(&[("content-length", "0")]), Ok(Framing::Length(0)));
    assert_eq!(of(&[("content-length", "18446744073709551615")]), Ok(Framing::Length(u64::MAX)));
    assert_eq!(of(&[("transfer-encoding", "chunked")]), Ok(chunked));
    assert_eq!(of(&[("transfer-encoding", "Chunked")]), Ok(chunked));
    for refused in [
        &[("content-length", "5"), ("transfer-encoding", "chunked")][..],
        &[("content-length", "5"), ("content-length", "5")],
        &[("content-length", "5, 5")],
        &[("content-length", "+5")],
        &[("content-length", "")],
        &[("content-length", "18446744073709551616")],
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "gzip, chunked")],
        &[("transfer-encoding", "chunked, identity")],
        &[("transfer-encoding", "identity")],
        &[("transfer-encoding", "")],
    ] {
        assert_eq!(of(refused), Err(Malformed), "{refused:?}");
    }
}

#[test]
fn what_has_no_body_has_none_whatever_it_says() {
    let length: HeaderMap =
        [(header::CONTENT_LENGTH, HeaderValue::from_static("5"))].into_iter().collect();
    let none = Ok(Framing::Length(0));
    let framing = |status, to_head, headers: &HeaderMap| {
        Framing::of_response(Version::HTTP_11, status, to_head, headers)
    };
    assert_eq!(framing(StatusCode::OK, true, &length), none);
    assert_eq!(framing(StatusCode::NO_CONTENT, false, &length), none);
    assert_eq!(framing(StatusCode::NOT_MODIFIED, false, &length), none);
    assert_eq!(framing(StatusCode::OK, true, &HeaderMap::new()), none);
    let bad: HeaderMap =
        [(header::CONTENT_LENGTH, HeaderValue::from_static("abc"))].into_iter().collect();
    assert_eq!(framing(StatusCode::NOT_MODIFIED, false, &bad), Err(Malformed));
}

#[test]
fn http_10_has_no_transfer_codings() {
    let chunked: HeaderMap =
        [(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))].into_iter().collect();
    let framing = Framing::of_response(Version::HTTP_10, StatusCode::OK, false, &chunked);
    assert_eq!(framing, Err(Malformed));
}

/// Decodes what arrives in pieces of `step` bytes; the data, the trailers and what is left over.
fn decode(input: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize, usize)>, Malformed> {
    let (mut chunked, mut data) = (Chunked::new(), Vec::new());
    let (mut at, mut end) = (0, 0);
    loop {
        let (used, piece) = chunked.read(&input[at..end])?;
        at += used;
        match piece {
            Piece::Data(size) => {
                data.extend_from_slice(&input[at..at + size]);
                at += size;
            }
            Piece::End(trailers) => {
                assert!(chunked.is_at_end());
                let trailers = trailers.map_or(0, |trailers| trailers.len());
                return Ok(Some((data, trailers, input.len() - at)));
            }
            Piece::More if end == input.len() => return Ok(None),
            Piece::More => end = (end + step).min(input.len()),
        }
    }
}

#[test]
fn chunks_are_read_however_they_arrive() {
    let input =
        b"5\r\nhello\r\n1;a=b\r\n \r\n00A\r\n0123456789\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\nrest";
    for step in 1..=input.len() {
        let decoded = decode(input, step).unwrap().unwrap();
        // What has not arrived yet when the body ends counts as left over too.
        assert_eq!(decoded, (b"hello 0123456789".to_vec(), 2, 4), "{step}");
    }
    assert_eq!(decode(b"0\r\n\r\n", 1), Ok(Some((Vec::new(), 0, 0))));
}

#[test]
fn what_is_not_quite_chunked_is_malformed() {
    for input in [
        &b"\r\n\r\n"[..],
        b" 5\r\nhello\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"5\nhello\r\n",
        b"5;a\n\r\nhello\r\n",
        b"5\r\nhelloX\r\n",
        b"5\r\nhello\n",
        b"5\r\nhello\r\r\n",
        b"11111111111111111\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"0\r\nX : a\r\n\r\n",
        b"0\r\n\x00: a\r\n\r\n",
    ] {
        assert_eq!(decode(input, 1), Err(Malformed), "{}", input.escape_ascii());
    }
    let extension = [b"5;", &[b'a'; 300][..], b"\r\nhello\r\n"].concat();
    assert_eq!(decode(&extension, 1), Err(Malformed));
    let trailers = [b"0\r\nX: ", &vec![b'a'; 10_000][..], b"\r\n\r\n"].concat();
    assert_eq!(decode(&trailers, 1), Err(Malformed));
    let trailers = format!("0\r\n{}\r\n", "X: a\r\n".repeat(MOST_TRAILERS + 1));
    assert_eq!(decode(trailers.as_bytes(), 1), Err(Malformed));
}

#[test]
fn what_breaks_off_is_never_whole() {
    let whole = b"5\r\nhello\r\n0\r\n\r\n";
    for end in 0..whole.len() {
        assert_eq!(decode(&whole[..end], 3), Ok(None), "{end}");
    }
}

proptest! {
    #[test]
    fn any_pieces_come_out_as_they_went_in(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8),
        step in 1_usize..64,
    ) {
        let mut wire = Vec::new();
        for piece in &pieces {
            wire.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            wire.extend_from_slice(piece);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(decode(&wire, step), Ok(Some((pieces.concat(), 0, 0))));
    }

    #[test]
    fn no_bytes_panic(input in prop::collection::vec(any::<u8>(), 0..200), step in 1_usize..64) {
        let _any = decode(&input, step).is_ok();
    }
}
