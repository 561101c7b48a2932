//! The request that is explained, made of what was typed.

use std::net::{IpAddr, Ipv4Addr};

use hyper::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Uri};

use crate::cli::Failure;
use crate::cli::token::read_token;
use crate::http::Scheme;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The method, such as GET
    method: String,
    /// The whole URL, such as `https://example.com/api/orders/`
    url: String,
    /// A request header, `Name: value`; may be repeated. `Host` takes the place of the URL's
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// The bearer token; `-` reads it from standard input
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// The address that the request comes from [default: 192.0.2.1, which is nobody's]
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
}

/// A request as a client would send it.
pub(super) struct Asked {
    pub(super) parts: Parts,
    pub(super) scheme: Scheme,
    /// What a client of TLS asks for; addresses are not asked for (RFC 6066 section 3).
    pub(super) server_name: Option<String>,
    /// Of the URL, or its scheme's.
    pub(super) port: u16,
    pub(super) from: IpAddr,
    /// Whether `from` was typed.
    pub(super) from_is_given: bool,
    pub(super) token: Option<String>,
}

/// RFC 5737: an address of documents, which nobody has.
const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Asked {
    pub(super) fn of(arguments: &Arguments) -> Result<Self, Failure> {
        let usage = Failure::Usage;
        let uri: Uri = arguments.url.parse().map_err(|error| usage(format!("URL: {error}")))?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            Some(_) | None => return Err(usage("URL: begins with https:// or http://".to_owned())),
        };
        let method = Method::from_bytes(arguments.method.as_bytes())
            .map_err(|error| usage(format!("method: {error}")))?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
        request.headers_mut().extend(host.map(|host| (HOST, host)));
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        *request.uri_mut() = target.parse().map_err(|error| usage(format!("URL: {error}")))?;
        let mut hosts = Vec::new();
        for header in &arguments.headers {
            let (name, value) = written(header)?;
            if name == HOST {
                hosts.push(value);
            } else {
                request.headers_mut().append(name, value);
            }
        }
        if !hosts.is_empty() {
            request.headers_mut().remove(HOST);
            hosts.into_iter().for_each(|host| {
                request.headers_mut().append(HOST, host);
            });
        }
        let token = match &arguments.token {
            Some(token) => Some(read_token(token)?.trim().to_owned()),
            None => None,
        };
        if let Some(token) = &token {
            let value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| usage("the token holds a character that no header may".to_owned()))?;
            request.headers_mut().append(AUTHORIZATION, value);
        }
        let name = uri.host().unwrap_or_default();
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        Ok(Self {
            parts: request.into_parts().0,
            scheme,
            server_name: (!is_address).then(|| name.to_owned()),
            port: uri.port_u16().unwrap_or(scheme.default_port()),
            from: arguments.from.unwrap_or(NOBODY),
            from_is_given: arguments.from.is_some(),
            token,
        })
    }
}

fn written(header: &str) -> Result<(HeaderName, HeaderValue), Failure> {
    let usage = |message: String| Failure::Usage(message);
    let (name, value) = header
        .split_once(':')
        .ok_or_else(|| usage(format!("header `{header}`: written `Name: value`")))?;
    let name = HeaderName::try_from(name.trim()).map_err(|e| usage(format!("header: {e}")))?;
    let value = HeaderValue::try_from(value.trim()).map_err(|e| usage(format!("header: {e}")))?;
    Ok((name, value))
}
