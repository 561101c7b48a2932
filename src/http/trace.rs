//! The id of a trace that a request is part of (W3C Trace Context), for the log.
//!
//! Whoever asks may claim any trace: nothing is decided by it, and the header goes on as it is.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The request's `traceparent`, if there is exactly one.
pub fn parent(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    lines.next().filter(|_| lines.next().is_none())
}

/// The trace's id in a well-formed `traceparent` (section 3.2): 32 lower-case hexadecimal digits,
/// not all of them zero.
pub fn trace_id(parent: &HeaderValue) -> Option<&str> {
    let text = parent.to_str().ok()?;
    let mut fields = text.splitn(5, '-');
    let mut field = |length: usize| {
        let is_hex = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        fields.next().filter(|one| one.len() == length && one.bytes().all(is_hex))
    };
    let (version, trace, span, _flags) = (field(2)?, field(32)?, field(16)?, field(2)?);
    let nothing = |id: &str| id.bytes().all(|byte| byte == b'0');
    // Later versions may say more behind it.
    let ends = fields.next().is_none() || version != "00";
    (version != "ff" && ends && !nothing(trace) && !nothing(span)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_parent_has_an_id() {
        const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let id = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            trace_id(&value).map(str::to_owned)
        };
        assert_eq!(id(&format!("00-{ID}-00f067aa0ba902b7-01")).as_deref(), Some(ID));
        assert_eq!(id(&format!("cc-{ID}-00f067aa0ba902b7-01-later")).as_deref(), Some(ID));
        for bad in [
            format!("00-{ID}-00f067aa0ba902b7-01-x"),
            format!("ff-{ID}-00f067aa0ba902b7-01"),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", ID.to_uppercase()),
            format!("00-{ID}-00f067aa0ba902b7"),
            format!("00-{ID}x-00f067aa0ba902b7-01"),
            ID.to_owned(),
            String::new(),
        ] {
            assert_eq!(id(&bad), None, "{bad}");
        }
    }

    #[test]
    fn two_parents_are_none() {
        let mut headers = HeaderMap::new();
        assert!(parent(&headers).is_none());
        headers.append(TRACEPARENT, HeaderValue::from_static("a"));
        assert!(parent(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static("b"));
        assert!(parent(&headers).is_none());
    }
}
