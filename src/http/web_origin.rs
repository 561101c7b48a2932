//! Which page of a browser a request comes from: `Origin` (RFC 6454) and `Sec-Fetch-Site`.
//!
//! Both are the browser's own words, which no page can choose. Whoever is no browser can write what
//! it likes, but has no other's cookies to send along: against that, and only that, these help.

use hyper::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};

use super::authority::{Authority, Scheme};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a page of the very origin that is asked sent this.
///
/// `Sec-Fetch-Site` decides where it is sent: the browser compared the addresses itself, and
/// a form under `Referrer-Policy: no-referrer` has `Origin: null`. Else `Origin` has to be scheme,
/// host and port of the request. Neither of the two: no. `same-site` is no: any forgotten host
/// below the same domain is that; so is `none` (an address typed in), which never posts.
pub fn is_same_origin(headers: &HeaderMap, scheme: Scheme, host: &HeaderValue) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    match (sites.next(), sites.next()) {
        (Some(site), None) => site == "same-origin",
        (Some(_), Some(_)) => false,
        (None, _) => only_origin(headers).is_some_and(|origin| is_own(origin, scheme, host)),
    }
}

/// The request's `Origin`, if it has exactly one.
pub fn only_origin(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut origins = headers.get_all(ORIGIN).iter();
    origins.next().filter(|_| origins.next().is_none())
}

fn is_own(origin: &HeaderValue, scheme: Scheme, host: &HeaderValue) -> bool {
    let parse = |text: &str| Authority::parse(text, scheme);
    let own = host.to_str().ok().and_then(parse);
    let text = origin.to_str().ok().and_then(|text| text.strip_prefix(scheme.as_str()));
    let theirs = text.and_then(|rest| rest.strip_prefix("://")).and_then(parse);
    own.is_some() && own == theirs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(lines: &[(&'static str, &'static str)], scheme: Scheme, host: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        is_same_origin(&headers, scheme, &HeaderValue::from_static(host))
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let origin = |origin, scheme, host| same(&[("origin", origin)], scheme, host);
        assert!(origin("https://a.test", Scheme::Https, "a.test"));
        assert!(origin("https://a.test", Scheme::Https, "A.test:443"));
        assert!(origin("https://a.test:8443", Scheme::Https, "a.test:8443"));
        assert!(origin("http://[::1]:81", Scheme::Http, "[::1]:81"));
        for (other, scheme, host) in [
            ("http://a.test", Scheme::Https, "a.test"),
            ("https://a.test", Scheme::Http, "a.test"),
            ("https://a.test:8443", Scheme::Https, "a.test"),
            ("https://a.test", Scheme::Https, "a.test:8443"),
            ("https://b.a.test", Scheme::Https, "a.test"),
            ("https://a.test.evil", Scheme::Https, "a.test"),
            ("https://a.test@evil", Scheme::Https, "a.test"),
            ("https://a.test/", Scheme::Https, "a.test"),
            ("a.test", Scheme::Https, "a.test"),
            ("null", Scheme::Https, "null"),
            ("https://null", Scheme::Https, "a.test"),
            ("", Scheme::Https, "a.test"),
            ("https://", Scheme::Https, "a.test"),
        ] {
            assert!(!origin(other, scheme, host), "{other} {host}");
        }
    }

    #[test]
    fn the_browser_s_own_comparison_comes_first() {
        let (own, other) = (("origin", "https://a.test"), ("origin", "https://evil.test"));
        let site = |site| ("sec-fetch-site", site);
        let https = |lines: &[_]| same(lines, Scheme::Https, "a.test");
        assert!(https(&[site("same-origin")]));
        assert!(https(&[site("same-origin"), ("origin", "null")]));
        for word in ["same-site", "cross-site", "none", "", "Same-Origin", "same-origin, none"] {
            assert!(!https(&[site(word)]), "{word}");
            assert!(!https(&[site(word), own]), "{word}");
        }
        assert!(!https(&[]) && !https(&[other]) && !https(&[own, other]) && !https(&[own, own]));
        assert!(!https(&[site("same-origin"), site("cross-site")]));
    }
}
