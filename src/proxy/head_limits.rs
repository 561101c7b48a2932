//! What a kind of application server takes of a head (docs/upstream-kinds.md).
//!
//! A head that its server would refuse is refused here, with the reason: that server would answer
//! 400 or 431 in words of its own, or cut what it does not count. Ours are those of the servers'
//! defaults; the listener's own limits came before.

use super::Failure;
use crate::upstream::Kind;

/// Largest parts of a head, in bytes without its framing.
struct Limits {
    request_line: usize,
    line: usize,
    lines: usize,
    all: usize,
    /// Counted for each line beside its bytes.
    each: usize,
}

/// What the framing may add, and the line that it adds.
const FRAMING: usize = 64;

impl Limits {
    const fn of(kind: Kind) -> Option<Self> {
        match kind {
            // uvicorn takes 64 KiB, twice what a listener takes by default.
            Kind::Asgi | Kind::Http => None,
            // C-core refuses some of what is beyond 8 KiB, counted as HPACK does (RFC 7541 section
            // 4.1: 32 for each, of which a line of HTTP/1.1 has four).
            Kind::Grpc => Some(Self {
                request_line: usize::MAX,
                line: usize::MAX,
                lines: usize::MAX,
                all: 8 * 1024 - FRAMING,
                each: 28,
            }),
            // Node's --max-http-header-size.
            Kind::Node => Some(Self {
                request_line: usize::MAX,
                line: usize::MAX,
                lines: usize::MAX,
                all: 16 * 1024 - FRAMING,
                each: 0,
            }),
            // Gunicorn's --limit-request-line, --limit-request-field_size, --limit-request-fields.
            Kind::Wsgi => {
                Some(Self { request_line: 4094, line: 8190, lines: 99, all: usize::MAX, each: 0 })
            }
        }
    }
}

/// Refuses a head that is too much for the kind; `head` has neither its framing nor its end.
pub(super) fn check(kind: Kind, head: &[u8]) -> Result<(), Failure> {
    let Some(limits) = Limits::of(kind) else { return Ok(()) };
    let mut ends = memchr::memchr_iter(b'\n', head);
    let mut begin = ends.next().map_or(head.len(), |end| end + 1);
    if begin > limits.request_line {
        return Err(Failure::TargetTooLong);
    }
    let mut lines = 0;
    for end in ends {
        lines += 1;
        if end + 1 - begin > limits.line {
            return Err(Failure::HeadTooLarge);
        }
        begin = end + 1;
    }
    let all = head.len() + lines * limits.each;
    if lines > limits.lines || all > limits.all { Err(Failure::HeadTooLarge) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: usize, lines: usize, value: usize) -> Vec<u8> {
        let mut head = format!("GET /{} HTTP/1.1\r\n", "a".repeat(target)).into_bytes();
        for _ in 0..lines {
            head.extend_from_slice(format!("x: {}\r\n", "v".repeat(value)).as_bytes());
        }
        head
    }

    #[test]
    fn each_kind_has_its_servers_limits() {
        let large = Err(Failure::HeadTooLarge);
        for (kind, head, expected) in [
            (Kind::Wsgi, head(4000, 99, 10), Ok(())),
            (Kind::Wsgi, head(4090, 1, 10), Err(Failure::TargetTooLong)),
            (Kind::Wsgi, head(1, 100, 10), large),
            (Kind::Wsgi, head(1, 1, 8185), Ok(())),
            (Kind::Wsgi, head(1, 1, 8186), large),
            (Kind::Node, head(1, 2, 8000), Ok(())),
            (Kind::Node, head(1, 2, 8200), large),
            (Kind::Grpc, head(1, 1, 8000), Ok(())),
            (Kind::Grpc, head(1, 2, 4100), large),
            (Kind::Grpc, head(1, 200, 10), large),
            (Kind::Asgi, head(8000, 200, 100), Ok(())),
            (Kind::Http, head(8000, 200, 100), Ok(())),
        ] {
            assert_eq!(check(kind, &head), expected, "{kind:?} {}", head.len());
        }
    }
}
