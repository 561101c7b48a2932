//! Cross-origin resource sharing (Fetch standard, section 3.2): which pages may read answers.
//!
//! Owns the compiled answer to a preflight and the headers of every other answer. Trusts `Origin`
//! for what it is: a browser's word about one of its pages, and nothing about anybody else. An
//! origin is allowed if it is listed, byte by byte; it is never taken apart, and never echoed but
//! for that.

use std::time::Duration;

use hyper::Method;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName,
    HeaderValue, VARY,
};
use hyper::http::request::Parts;

use super::web_origin::only_origin;

/// What a route's operator says, as text.
#[derive(Clone, Debug)]
pub struct CorsSettings {
    /// The origins allowed; `None` for any.
    pub origins: Option<Vec<String>>,
    /// Whether cookies may come along.
    pub credentials: bool,
    /// The methods that a preflight allows; `None`: the one that is asked for.
    pub methods: Option<Vec<String>>,
    /// The request headers that a preflight allows; `None`: those that are asked for.
    pub headers: Option<Vec<String>>,
    /// The response headers that pages may read.
    pub expose: Vec<String>,
    /// How long an answer to a preflight may be kept.
    pub max_age: Duration,
}

/// Compiled.
#[derive(Debug)]
pub struct Cors {
    /// Sorted; `None` for any.
    origins: Option<Box<[HeaderValue]>>,
    credentials: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: HeaderValue,
    max_age: HeaderValue,
}

impl Cors {
    /// `None` if something in the settings can stand in no header, or any origin may send cookies.
    pub fn new(settings: CorsSettings) -> Option<Self> {
        let CorsSettings { origins, credentials, methods, headers, expose, max_age } = settings;
        if origins.is_none() && credentials {
            return None;
        }
        let list = |names: Vec<String>| HeaderValue::try_from(names.join(", ")).ok();
        let origins = match origins {
            Some(origins) => {
                let values = origins.into_iter().map(|one| HeaderValue::try_from(one).ok());
                let mut values = values.collect::<Option<Vec<_>>>()?;
                values.sort();
                Some(values.into_boxed_slice())
            }
            None => None,
        };
        Some(Self {
            origins,
            credentials,
            methods: methods.map(list).map_or(Some(None), |value| value.map(Some))?,
            headers: headers.map(list).map_or(Some(None), |value| value.map(Some))?,
            expose: list(expose)?,
            max_age: HeaderValue::from(max_age.as_secs()),
        })
    }

    /// What to answer as `Access-Control-Allow-Origin`, if the request's page may read the answer.
    pub fn admit(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = only_origin(request)?;
        match &self.origins {
            Some(_) => self.lists(origin).then(|| origin.clone()),
            None => Some(HeaderValue::from_static("*")),
        }
    }

    /// Whether the request comes from a page that may act with the cookies of whoever looks at it.
    pub fn vouches_for(&self, request: &HeaderMap) -> bool {
        self.credentials && only_origin(request).is_some_and(|origin| self.lists(origin))
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        self.origins.as_ref().is_some_and(|listed| listed.binary_search(origin).is_ok())
    }

    /// Makes an answer readable to the page that was admitted, and tells caches that it depends on
    /// who asks.
    pub fn write(&self, admitted: Option<&HeaderValue>, response: &mut HeaderMap) {
        if self.origins.is_some() {
            vary(response, "Origin");
        }
        let Some(origin) = admitted else { return };
        response.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        response.insert(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose.clone());
        if self.credentials {
            response.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// What the answer to a preflight for `asked` says beside [`Cors::write`].
    pub fn write_preflight(&self, asked: &Method, request: &HeaderMap, response: &mut HeaderMap) {
        vary(response, "Access-Control-Request-Method, Access-Control-Request-Headers");
        if self.admit(request).is_none() {
            return;
        }
        let method = || HeaderValue::from_str(asked.as_str()).ok();
        if let Some(methods) = self.methods.clone().or_else(method) {
            response.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        }
        let headers = || names(request.get(ACCESS_CONTROL_REQUEST_HEADERS)?);
        if let Some(headers) = self.headers.clone().or_else(headers) {
            response.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
        }
        response.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
    }
}

/// The method that a preflight asks about. Any other OPTIONS request, one with two origins or with
/// none, is an ordinary request.
pub fn preflight(parts: &Parts) -> Option<Method> {
    if parts.method != Method::OPTIONS {
        return None;
    }
    only_origin(&parts.headers)?;
    let mut asked = parts.headers.get_all(ACCESS_CONTROL_REQUEST_METHOD).iter();
    let method = Method::from_bytes(asked.next()?.as_bytes()).ok()?;
    asked.next().is_none().then_some(method)
}

/// Drops what an application says about it: two answers to one question are none to a browser, and
/// a lenient application would open what the route does not.
pub fn strip(response: &mut HeaderMap) {
    for name in ANSWERS {
        response.remove(name);
    }
}

const ANSWERS: [HeaderName; 7] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    HeaderName::from_static("access-control-allow-private-network"),
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// The names asked for, if they are names: what is echoed must not be anything else.
fn names(asked: &HeaderValue) -> Option<HeaderValue> {
    let is_name = |name: &[u8]| HeaderName::from_bytes(name.trim_ascii()).is_ok();
    let good = asked.as_bytes().split(|&byte| byte == b',').all(is_name);
    good.then(|| asked.clone())
}

fn vary(response: &mut HeaderMap, names: &'static str) {
    let wanted = names.as_bytes();
    let mut told = response
        .get_all(VARY)
        .iter()
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii));
    if !told.any(|name| name == b"*" || name.eq_ignore_ascii_case(wanted)) {
        response.append(VARY, HeaderValue::from_static(names));
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn settings() -> CorsSettings {
        CorsSettings {
            origins: Some(vec!["https://b.test".to_owned(), "https://a.test:8443".to_owned()]),
            credentials: true,
            methods: None,
            headers: Some(vec!["Authorization".to_owned(), "X-A".to_owned()]),
            expose: vec!["WWW-Authenticate".to_owned()],
            max_age: Duration::from_secs(600),
        }
    }

    fn request(lines: &[(&'static str, &'static str)]) -> Parts {
        let mut request = Request::options("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn from(origin: &'static str) -> HeaderMap {
        request(&[("origin", origin)]).headers
    }

    #[test]
    fn an_origin_is_allowed_byte_by_byte() {
        let cors = Cors::new(settings()).unwrap();
        for origin in ["https://a.test:8443", "https://b.test"] {
            assert_eq!(cors.admit(&from(origin)).unwrap(), origin);
            assert!(cors.vouches_for(&from(origin)));
        }
        for origin in [
            "https://a.test",
            "https://a.test:8443/",
            "http://b.test",
            "https://B.test",
            "https://b.test.evil",
            "https://evil-b.test",
            "https://b.test, https://evil.test",
            "null",
            "*",
            "",
        ] {
            assert!(cors.admit(&from(origin)).is_none(), "{origin}");
            assert!(!cors.vouches_for(&from(origin)), "{origin}");
        }
        let twice = request(&[("origin", "https://b.test"), ("origin", "https://b.test")]);
        assert!(cors.admit(&twice.headers).is_none() && cors.admit(&HeaderMap::new()).is_none());
    }

    #[test]
    fn any_origin_is_a_star_and_never_comes_with_cookies() {
        assert!(Cors::new(CorsSettings { origins: None, ..settings() }).is_none());
        let any = CorsSettings { origins: None, credentials: false, ..settings() };
        let cors = Cors::new(any).unwrap();
        assert_eq!(cors.admit(&from("null")).unwrap(), "*");
        assert!(!cors.vouches_for(&from("https://b.test")));
        let mut response = HeaderMap::new();
        cors.write(cors.admit(&from("https://x.test")).as_ref(), &mut response);
        assert_eq!(response[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!response.contains_key(VARY));
        assert!(!response.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }

    #[test]
    fn an_answer_depends_on_the_origin_whether_it_is_allowed_or_not() {
        let cors = Cors::new(settings()).unwrap();
        let mut response = HeaderMap::new();
        cors.write(None, &mut response);
        assert_eq!(response.len(), 1);
        assert_eq!(response[VARY], "Origin");
        cors.write(Some(&HeaderValue::from_static("https://b.test")), &mut response);
        assert_eq!(response[ACCESS_CONTROL_ALLOW_ORIGIN], "https://b.test");
        assert_eq!(response[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(response[ACCESS_CONTROL_EXPOSE_HEADERS], "WWW-Authenticate");
        assert_eq!(response.get_all(VARY).iter().count(), 1, "once is enough");
    }

    #[test]
    fn a_preflight_names_one_page_and_one_method() {
        let origin = ("origin", "https://b.test");
        let method = ("access-control-request-method", "DELETE");
        assert_eq!(preflight(&request(&[origin, method])), Some(Method::DELETE));
        assert_eq!(preflight(&request(&[origin])), None);
        assert_eq!(preflight(&request(&[method])), None);
        assert_eq!(preflight(&request(&[origin, origin, method])), None);
        assert_eq!(preflight(&request(&[origin, method, method])), None);
        let nonsense = ("access-control-request-method", "a b");
        assert_eq!(preflight(&request(&[origin, nonsense])), None);
        let mut get = request(&[origin, method]);
        get.method = Method::GET;
        assert_eq!(preflight(&get), None);
    }

    #[test]
    fn a_preflight_is_told_what_is_allowed_and_nothing_where_the_page_is_not() {
        let answer = |settings: CorsSettings, lines: &[(&'static str, &'static str)]| {
            let mut response = HeaderMap::new();
            let cors = Cors::new(settings).unwrap();
            cors.write_preflight(&Method::DELETE, &request(lines).headers, &mut response);
            response
        };
        let origin = ("origin", "https://b.test");
        let told = answer(settings(), &[origin, ("access-control-request-headers", "x-evil")]);
        assert_eq!(told[ACCESS_CONTROL_ALLOW_METHODS], "DELETE");
        assert_eq!(told[ACCESS_CONTROL_ALLOW_HEADERS], "Authorization, X-A");
        assert_eq!(told[ACCESS_CONTROL_MAX_AGE], "600");

        let methods = Some(vec!["GET".to_owned(), "POST".to_owned()]);
        let open = CorsSettings { methods, headers: None, ..settings() };
        let told = answer(open.clone(), &[origin, ("access-control-request-headers", "x-a,x-b")]);
        assert_eq!(told[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST");
        assert_eq!(told[ACCESS_CONTROL_ALLOW_HEADERS], "x-a,x-b");
        let told = answer(open, &[origin, ("access-control-request-headers", "x a\", y")]);
        assert!(!told.contains_key(ACCESS_CONTROL_ALLOW_HEADERS), "no names, no echo");

        let told = answer(settings(), &[("origin", "https://evil.test")]);
        assert_eq!(told.len(), 1);
        assert!(told[VARY].to_str().unwrap().contains("Access-Control-Request-Method"));
    }

    #[test]
    fn what_an_application_says_is_dropped() {
        let mut response = HeaderMap::new();
        for name in ANSWERS {
            response.append(&name, HeaderValue::from_static("*"));
            response.append(name, HeaderValue::from_static("evil"));
        }
        response.insert(VARY, HeaderValue::from_static("Cookie"));
        strip(&mut response);
        assert_eq!(response.len(), 1);
    }
}
