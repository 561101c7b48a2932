//! A credential in a query (RFC 6750 section 2.3), for what can set no header: `EventSource`,
//! `<img>`, a link.

use hyper::header::{HeaderMap, HeaderValue, REFERER};
use hyper::http::request::Parts;
use hyper::http::uri::{PathAndQuery, Uri};

use super::spelling::{Occurrence, reads_as};

/// What `query`, without its `?`, holds under `name`.
///
/// The value is not decoded: no character of a token is ever written as an escape, so that a value
/// with one is another spelling of a token, and no token.
pub fn find<'q>(query: &'q str, name: &str) -> Occurrence<'q> {
    query.split('&').map(|whole| read(whole, name)).fold(Occurrence::Absent, Occurrence::and)
}

/// Takes whatever could be read as `name` out of the target and out of the `Referer`: a page that
/// was opened with a token in its address sends it along with all it loads.
pub fn take_out(parts: &mut Parts, name: &str) {
    let kept = parts.uri.query().and_then(|query| without(query, name));
    if let Some(query) = kept
        && let Some(uri) = with_query(&parts.uri, &query)
    {
        parts.uri = uri;
    }
    clean_referer(&mut parts.headers, name);
}

/// The query without `name`; `None` if it does not hold it.
pub fn without(query: &str, name: &str) -> Option<String> {
    let mut kept = Vec::new();
    let mut found = false;
    for whole in query.split('&') {
        match read(whole, name) {
            Occurrence::Absent => kept.push(whole),
            Occurrence::Empty
            | Occurrence::One(_)
            | Occurrence::Respelled
            | Occurrence::Several => found = true,
        }
    }
    found.then(|| kept.join("&"))
}

/// One piece between two `&`. Older servers separate at `;` as well.
fn read<'q>(whole: &'q str, name: &str) -> Occurrence<'q> {
    let reads = |piece: &str| {
        let written = piece.split_once('=').map_or(piece, |(written, _)| written);
        reads_as(written.as_bytes(), name.as_bytes())
    };
    let readings = whole.split(';').filter(|piece| reads(piece)).count();
    let exact = whole.split_once('=').filter(|(written, _)| *written == name);
    match (readings, exact) {
        (0, _) => Occurrence::Absent,
        (1, Some((_, value))) if !whole.contains(';') => Occurrence::once(value.as_bytes()),
        (1, _) => Occurrence::Respelled,
        (_, _) => Occurrence::Several,
    }
}

fn with_query(uri: &Uri, query: &str) -> Option<Uri> {
    let target = match query {
        "" => uri.path().to_owned(),
        query => format!("{}?{query}", uri.path()),
    };
    let mut parts = uri.clone().into_parts();
    // A part of a valid query is one.
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

fn clean_referer(headers: &mut HeaderMap, name: &str) {
    let mut lines = headers.get_all(REFERER).iter();
    let Some(referer) = lines.next() else { return };
    if lines.next().is_some() {
        // There is one page, and no saying which of them the application writes down.
        headers.remove(REFERER);
        return;
    }
    let Ok(text) = referer.to_str() else { return };
    let Some((page, query)) = text.split_once('?') else { return };
    let Some(kept) = without(query, name) else { return };
    let clean = if kept.is_empty() { page.to_owned() } else { format!("{page}?{kept}") };
    match HeaderValue::try_from(clean) {
        Ok(value) => drop(headers.insert(REFERER, value)),
        Err(_) => drop(headers.remove(REFERER)),
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_parameter_counts_once_and_under_its_own_name() {
        use Occurrence::{Absent, Empty, One, Respelled, Several};
        for (query, expected) in [
            ("", Absent),
            ("a=1&b=2", Absent),
            ("tt=1&t2=1&at=1", Absent),
            ("a=t&b=t=1", Absent),
            ("t=abc", One(b"abc")),
            ("a=1&t=abc&b=2", One(b"abc")),
            ("t=a.b.c", One(b"a.b.c")),
            ("t=a=b", One(b"a=b")),
            ("t=%61", One(b"%61")),
            ("t", Respelled),
            ("t=", Empty),
            ("a&t=&b", Empty),
            ("T=abc", Respelled),
            ("%74=abc", Respelled),
            ("t[]=abc", Respelled),
            ("+t=abc", Respelled),
            ("t=abc;a=1", Respelled),
            ("a=1;t=abc", Respelled),
            ("t=a&t=b", Several),
            ("t=&t=b", Several),
            ("t=a&T=b", Several),
            ("t=a&x=1;t=b", Several),
            ("t=a;t=b", Several),
            ("t=a&%74[]=b", Several),
        ] {
            assert_eq!(find(query, "t"), expected, "{query}");
        }
    }

    #[test]
    fn what_is_taken_out_leaves_the_rest_as_it_was() {
        for (target, expected) in [
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("/a?b=1", "/a?b=1"),
            ("/a?t=x", "/a"),
            ("/a?t=x&b=%20&c", "/a?b=%20&c"),
            ("/a?b=1&t=x&b=2", "/a?b=1&b=2"),
            ("/a?b=1&T=x&%74=y", "/a?b=1"),
            ("http://h:1/a?t=x&b", "http://h:1/a?b"),
        ] {
            let mut parts = Request::get(target).body(()).unwrap().into_parts().0;
            take_out(&mut parts, "t");
            assert_eq!(parts.uri.to_string(), expected, "{target}");
        }
    }

    #[test]
    fn the_page_s_address_is_cleaned_too() {
        for (referer, expected) in [
            ("https://a/p?t=x", "https://a/p"),
            ("https://a/p?b=1&t=x", "https://a/p?b=1"),
            ("https://a/t=x?b=1", "https://a/t=x?b=1"),
            ("https://a/", "https://a/"),
        ] {
            let request = Request::get("/").header(REFERER, referer).body(()).unwrap();
            let mut parts = request.into_parts().0;
            take_out(&mut parts, "t");
            assert_eq!(parts.headers[REFERER], expected);
        }
        let two = Request::get("/").header(REFERER, "/p").header(REFERER, "/p?t=x");
        let mut parts = two.body(()).unwrap().into_parts().0;
        take_out(&mut parts, "t");
        assert!(!parts.headers.contains_key(REFERER));
    }

    proptest! {
        #[test]
        fn nothing_is_left_that_anybody_would_find(
            query in "([tTa&;=%+. \\[\\]]|%7[34]|%54){0,24}",
        ) {
            let left = without(&query, "t").unwrap_or_else(|| query.clone());
            prop_assert_eq!(find(&left, "t"), Occurrence::Absent);
            for piece in left.split(['&', ';']) {
                let name = piece.split('=').next().unwrap_or_default();
                prop_assert!(!reads_as(name.as_bytes(), b"t"), "{}", piece);
            }
        }

        #[test]
        fn what_is_found_is_what_every_strict_reader_finds(
            query in "([ta&;=x]|%74){0,16}",
        ) {
            if let Occurrence::One(value) = find(&query, "t") {
                let pieces: Vec<_> = query.split('&').filter(|p| p.starts_with("t=")).collect();
                prop_assert_eq!(pieces.len(), 1);
                prop_assert_eq!(pieces[0].as_bytes(), [b"t=", value].concat());
            }
        }

        #[test]
        fn no_query_panics(query in ".{0,60}", name in "[a-z]{1,3}") {
            find(&query, &name);
            without(&query, &name);
        }
    }
}
